//! Completions and the manual page, from the definition of the command line. They are part of the
//! binary (`wslink completions`, `wslink man`), and are also written into the directory that
//! `WSLINK_ASSETS` names, for those who make packages.

#[allow(dead_code, reason = "the command reads them")]
#[path = "src/args.rs"]
mod args;

use clap::CommandFactory as _;
use clap_complete::Shell;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/args.rs");
    println!("cargo::rerun-if-env-changed=WSLINK_ASSETS");
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?;
    write(&out)?;
    match env::var_os("WSLINK_ASSETS") {
        Some(directory) => {
            fs::create_dir_all(&directory)?;
            write(Path::new(&directory))
        }
        None => Ok(()),
    }
}

fn write(into: &Path) -> io::Result<()> {
    let mut command = args::Arguments::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "wslink", into)?;
    }
    // No pages of `wslink help`, which has the same to say.
    clap_mangen::generate_to(command.disable_help_subcommand(true), into)
}
