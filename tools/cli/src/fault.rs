//! What ends the command early: what is wrong, what to do about it, and the exit code.

use core::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The exit codes, as `wslink --help` and docs/cli.md list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Usage = 2,
    NoConnection = 3,
    File = 7,
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) exit: Exit,
    text: String,
    hint: Option<String>,
    broken_pipe: bool,
}

impl Fault {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), hint: None, broken_pipe: false }
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

    /// What is wrong.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Tells it on standard error.
    pub(crate) fn tell(&self) -> ExitCode {
        let Self { exit, text, hint, .. } = self;
        anstream::eprintln!("{0}error:{0:#} {text}", crate::style::ERROR);
        if let Some(hint) = hint {
            anstream::eprintln!("{0}hint:{0:#} {hint}", crate::style::HINT);
        }
        ExitCode::from(*exit as u8)
    }
}
