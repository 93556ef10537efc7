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
use fault::Fault;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Arguments { global, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misunderstood(&error),
    };
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

/// Help and versions are asked for in this way, too.
fn misunderstood(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().take_while(|it| it != "--").any(|it| it == "--json");
    if json && error.use_stderr() {
        let text = error.render().to_string();
        let text = text.trim_start_matches("error: ").trim_end();
        return Fault::usage(text).tell(true);
    }
    // Whoever does not read it does not want it.
    _ = error.print();
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn choose_colors(choice: ColorChoice) {
    match choice {
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
        ColorChoice::Auto => return,
    }
    .write_global();
}
