//! The real binary, as a process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

/// `wslink` with these arguments, without what the environment of the tests may say.
pub(crate) fn wslink(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wslink"));
    command.args(args).stdin(Stdio::null());
    for name in ["WSLINK_SECRET", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS"] {
        command.env_remove(name);
    }
    command
}

/// A transcript that was recorded between a stock client and a Python server.
pub(crate) fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name)
}

/// A `wslink proxy` that listens.
pub(crate) struct Proxy {
    child: Child,
    stderr: BufReader<ChildStderr>,
    stdout: Option<JoinHandle<String>>,
    pub(crate) said: String,
    /// Like `127.0.0.1:54321`.
    pub(crate) address: String,
}

impl Proxy {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = wslink(&["proxy", "0"]);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut stdout = child.stdout.take().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut shown = String::new();
            stdout.read_to_string(&mut shown).unwrap();
            shown
        });
        let mut said = String::new();
        stderr.read_line(&mut said).unwrap();
        let Some((_, rest)) = said.split_once("ws://") else { panic!("no address: {said}") };
        let address = rest.split('/').next().unwrap().to_owned();
        Self { child, stderr, stdout: Some(stdout), said, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// Ctrl-C. What it showed, and how it ended.
    pub(crate) fn stop(mut self) -> (String, ExitStatus) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.end()
    }

    /// The same, once it ends by itself.
    pub(crate) fn wait(mut self) -> (String, ExitStatus) {
        self.end()
    }

    fn end(&mut self) -> (String, ExitStatus) {
        let status = self.child.wait().unwrap();
        self.stderr.read_to_string(&mut self.said).unwrap();
        (self.stdout.take().unwrap().join().unwrap(), status)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
