//! The command `wslink`: see docs/cli.md.

mod args;
mod arguments;
mod bench;
mod call;
mod connection;
mod describe;
mod fault;
mod json;
mod pages;
mod proxy;
mod signals;
mod style;
mod target;
mod template;
mod watch;

use args::{Arguments, Command};
use clap::{ColorChoice, Parser as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Arguments { global, command } = Arguments::parse();
    choose_colors(global.color);
    let outcome = match command {
        Command::Call(options) => smol::block_on(call::run(&global, options)),
        Command::Watch(options) => smol::block_on(watch::run(&global, options)),
        Command::Describe(options) => smol::block_on(describe::run(&global, options)),
        Command::Bench(options) => smol::block_on(bench::run(&global, options)),
        Command::Proxy(options) => smol::block_on(proxy::run(&global, options)),
        Command::Completions(options) => pages::completions(&options),
        Command::Man(options) => pages::man(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has enough of it: `wslink .. | head`.
        Err(fault) if fault.is_broken_pipe() => ExitCode::SUCCESS,
        Err(fault) => fault.tell(global.json),
    }
}

fn choose_colors(choice: ColorChoice) {
    match choice {
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
        ColorChoice::Auto => return,
    }
    .write_global();
}
