//! Starting other programs from the root of the checkout.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What a step ends with; the text says what is wrong and what to do about it.
pub(crate) type Outcome = Result<(), String>;

/// A command line that is shown before it runs.
pub(crate) struct Run(Command);

pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Run {
    Run::new("cargo").args(args)
}

/// Cargo of the nightly toolchain. What `cargo run` told this process about the stable one is
/// taken away, or it would decide about the inner build too.
pub(crate) fn nightly_cargo<const N: usize>(args: [&str; N]) -> Run {
    let mut run = Run::new("cargo").args(["+nightly"]).args(args);
    for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC"] {
        run.0.env_remove(name);
    }
    run
}

/// What `rustc +nightly` prints.
pub(crate) fn nightly_rustc<const N: usize>(args: [&str; N]) -> Result<String, String> {
    let output = Command::new("rustc")
        .arg("+nightly")
        .args(args)
        .output()
        .map_err(|error| format!("rustc did not start: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "{}the nightly toolchain is needed: rustup toolchain install nightly",
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

impl Run {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.current_dir(root()).stdin(Stdio::null());
        Self(command)
    }

    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.0.args(args);
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn dir(mut self, path: &Path) -> Self {
        self.0.current_dir(path);
        self
    }

    /// Runs it to its end, its output going to ours.
    pub(crate) fn run(mut self) -> Outcome {
        let line = self.line();
        println!("$ {line}");
        let status = self.0.status().map_err(|error| format!("`{line}` did not start: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("`{line}` failed: {status}")) }
    }

    fn line(&self) -> String {
        let mut line = self.0.get_program().to_string_lossy().into_owned();
        for arg in self.0.get_args() {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        line
    }
}

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// Where cargo builds, so that what it built can be found.
pub(crate) fn target_dir() -> PathBuf {
    // `join` keeps an absolute path as it is.
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
