//! What people are told of their mistakes: on their own line, in words of services.

use std::process::Command;

/// The compiler whose words are in `mistakes/rustc`. With another they may differ.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn mistakes_are_told_where_they_are() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/mistakes/ours/*.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap().stdout;
    if version.starts_with(COMPILER.as_bytes()) {
        cases.compile_fail("tests/mistakes/rustc/*.rs");
    } else {
        println!("not tried: what is said by {COMPILER}x alone");
    }
}
