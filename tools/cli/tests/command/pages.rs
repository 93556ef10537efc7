//! Help, completions and manual pages, the real binary.

use crate::common::wslink;
#[cfg(unix)]
use std::process::Command;

fn printed(args: &[&str]) -> String {
    let output = wslink(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help() {
    insta::assert_snapshot!("help", printed(&["--help"]));
    for command in ["call", "watch", "describe", "bench", "proxy"] {
        insta::assert_snapshot!(format!("help_{command}"), printed(&[command, "--help"]));
    }
}

/// As if Tab were pressed.
#[test]
#[cfg(unix)]
fn bash_completes_commands_options_and_their_values() {
    let script = printed(&["completions", "bash"]);
    for (before, word, expected) in [
        ("wslink", "pr", "proxy"),
        ("proxy", "--tr", "--transcript"),
        ("call", "--secret", "--secret-file"),
    ] {
        let words = if before == "wslink" { word.to_owned() } else { format!("{before} {word}") };
        let tab = format!(
            "{script}\nCOMP_WORDS=(wslink {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _wslink wslink {word} {before}; printf '%s ' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &tab]).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), expected);
    }
}

#[test]
fn every_command_has_completions_and_a_page() {
    for (shell, begins) in
        [("bash", "_wslink() {"), ("zsh", "#compdef wslink"), ("fish", "# Print")]
    {
        let script = printed(&["completions", shell]);
        assert!(script.starts_with(begins), "{shell}: {}", script.lines().next().unwrap());
        for command in ["call", "watch", "bench", "proxy", "--transcript", "--json"] {
            let word = command.trim_start_matches('-');
            assert!(script.contains(word), "{shell} knows no {command}");
        }
    }
    assert!(printed(&["man"]).contains("Exit codes"));
    for command in ["call", "watch", "describe", "bench", "proxy", "completions", "man"] {
        let page = printed(&["man", command]);
        assert!(page.contains(&format!(".TH wslink-{command} 1")), "{page}");
    }
}
