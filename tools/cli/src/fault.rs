//! What ends the command early: what is wrong, what to do about it, and the exit code.

use core::fmt::Display;
use serde_json::json;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The exit codes, as `wslink --help` and docs/cli.md list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Answered = 1,
    Usage = 2,
    NoConnection = 3,
    Refused = 4,
    Foreign = 5,
    Lost = 6,
    File = 7,
    Interrupted = 130,
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) exit: Exit,
    text: String,
    hint: Option<String>,
    broken_pipe: bool,
    /// What the server said.
    answer: Option<Box<serde_json::Value>>,
}

impl Fault {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), hint: None, broken_pipe: false, answer: None }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    pub(crate) fn file(path: &Path, why: impl Display) -> Self {
        Self::new(Exit::File, format!("{}: {why}", path.display()))
    }

    pub(crate) fn stdout(error: io::Error) -> Self {
        let broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { broken_pipe, ..Self::new(Exit::File, format!("standard output: {error}")) }
    }

    /// Whether nobody reads standard output any more.
    pub(crate) const fn is_broken_pipe(&self) -> bool {
        self.broken_pipe
    }

    /// What to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error that a server answered.
    pub(crate) fn about(mut self, answer: serde_json::Value) -> Self {
        self.answer = Some(Box::new(answer));
        self
    }

    /// What is wrong.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Tells it on standard error, for people or as JSON.
    pub(crate) fn tell(&self, json: bool) -> ExitCode {
        let Self { exit, text, hint, answer, .. } = self;
        if json {
            let mut object = json!({ "error": text, "exit": *exit as u8 });
            if let Some(hint) = hint {
                object["hint"] = hint.as_str().into();
            }
            if let Some(answer) = answer {
                object["answer"] = (**answer).clone();
            }
            eprintln!("{object}");
            return ExitCode::from(*exit as u8);
        }
        let text = crate::style::harmless(text);
        anstream::eprintln!("{0}error:{0:#} {text}", crate::style::ERROR);
        if let Some(hint) = hint {
            anstream::eprintln!("{0}hint:{0:#} {hint}", crate::style::HINT);
        }
        ExitCode::from(*exit as u8)
    }
}
