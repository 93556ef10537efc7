//! The real binary, as a process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;

/// `wslink` with these arguments, without what the environment of the tests may say.
pub(crate) fn wslink(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wslink"));
    command.args(args).stdin(Stdio::null());
    for name in ["WSLINK_SECRET", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS"] {
        command.env_remove(name);
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
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

/// A directory for what commands write, and what they were told and said, made for snapshots.
pub(crate) struct Shell {
    pub(crate) directory: tempfile::TempDir,
    url: String,
    env: Vec<(&'static str, &'static str)>,
    log: String,
}

impl Shell {
    /// In whose command lines `URL` stands for this address.
    pub(crate) fn new(url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, url: url.to_owned(), env: Vec::new(), log: String::new() }
    }

    /// From now on with this variable.
    pub(crate) fn env(&mut self, name: &'static str, value: &'static str) {
        self.env.push((name, value));
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) {
        std::fs::write(self.directory.path().join(name), content).unwrap();
    }

    /// `wslink` with these words, which have no spaces in them.
    pub(crate) fn command(&self, line: &str) -> Command {
        let words: Vec<&str> = line.split(' ').collect();
        let words: Vec<&str> =
            words.into_iter().map(|word| if word == "URL" { &*self.url } else { word }).collect();
        let mut command = wslink(&words);
        command.current_dir(self.directory.path()).envs(self.env.iter().copied());
        command
    }

    /// Runs it and writes down what happened.
    pub(crate) fn run(&mut self, line: &str) -> Output {
        let output = self.command(line).output().unwrap();
        self.note(line, &output);
        output
    }

    /// Runs it and expects no fault.
    pub(crate) fn works(&mut self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{}", self.log);
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn note(&mut self, line: &str, output: &Output) {
        let code = match output.status.code() {
            Some(0) => String::new(),
            Some(code) => format!("[exit code {code}]\n"),
            None => "[killed]\n".to_owned(),
        };
        let out = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        let error: String = error.lines().map(|line| format!("! {line}\n")).collect();
        self.log += &format!("$ wslink {line}\n{out}{error}{code}\n").replace(&self.url, "URL");
    }

    /// All that happened, with ids that are not the same twice made so.
    pub(crate) fn log(&self) -> String {
        steady(&self.log)
    }
}

/// With each word of 32 hexadecimal digits made the same.
pub(crate) fn steady(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        // A client id has a letter in front that is a digit, too.
        let (len, put) = match digits {
            32 => (32, "0123456789abcdef0123456789abcdef"),
            33 => (33, "c0123456789abcdef0123456789abcdef"),
            0 => (c.len_utf8(), &rest[..c.len_utf8()]),
            other => (other, &rest[..other]),
        };
        out += put;
        rest = &rest[len..];
    }
    out
}
