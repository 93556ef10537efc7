//! Completions and manual pages, as `build.rs` made them.

use crate::args::{Completions, Man, Shell};
use crate::fault::Fault;
use std::io::Write as _;

const COMMANDS: &str = "call, watch, describe, bench, proxy, completions, man";

pub(crate) fn completions(options: &Completions) -> Result<(), Fault> {
    print(match options.shell {
        Shell::Bash => include_str!(concat!(env!("OUT_DIR"), "/wslink.bash")),
        Shell::Zsh => include_str!(concat!(env!("OUT_DIR"), "/_wslink")),
        Shell::Fish => include_str!(concat!(env!("OUT_DIR"), "/wslink.fish")),
    })
}

pub(crate) fn man(options: &Man) -> Result<(), Fault> {
    print(match options.command.as_deref() {
        None => include_str!(concat!(env!("OUT_DIR"), "/wslink.1")),
        Some("call") => include_str!(concat!(env!("OUT_DIR"), "/wslink-call.1")),
        Some("watch") => include_str!(concat!(env!("OUT_DIR"), "/wslink-watch.1")),
        Some("describe") => include_str!(concat!(env!("OUT_DIR"), "/wslink-describe.1")),
        Some("bench") => include_str!(concat!(env!("OUT_DIR"), "/wslink-bench.1")),
        Some("proxy") => include_str!(concat!(env!("OUT_DIR"), "/wslink-proxy.1")),
        Some("completions") => include_str!(concat!(env!("OUT_DIR"), "/wslink-completions.1")),
        Some("man") => include_str!(concat!(env!("OUT_DIR"), "/wslink-man.1")),
        Some(other) => {
            return Err(Fault::usage(format!("there is no page of `{other}`"))
                .hint(format!("there are: {COMMANDS}")));
        }
    })
}

fn print(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Fault::stdout)
}
