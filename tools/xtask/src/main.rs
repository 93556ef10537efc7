//! The project's chores: `cargo xtask <what>`. `help` lists them.

mod autobahn;
mod bench;
mod deny;
mod device;
mod firmware;
mod fuzz;
mod node;
mod panics;
mod proxy;
mod system;
mod tap;
mod tools;

use std::{env, process::ExitCode, time::Instant};

use tools::{Outcome, cargo, nightly_cargo, target_dir};

const HELP: &str = "\
usage: cargo xtask <what>

  test                     everything below but `speed`, then a summary of the steps
  fmt                      rustfmt, as a check
  lint                     clippy over the workspace, all its targets and the firmware, warnings
                           denied
  docs                     rustdoc of the workspace, warnings denied
  no-std                   the device side for thumbv7m-none-eabi with `core` alone
  unit                     cargo test of the workspace, doctests included, and with the feature defmt
  stock                    Kitware's JavaScript clients against the instrument, and through
                           `wslink proxy` against its Python servers
  browser                  the browser module in Node, the page in Chromium
  upstream                 the client and the command against upstream's Python servers, and against
                           the instrument
  proxy                    the instrument behind nginx, as docs/proxy.md says
  autobahn                 the Autobahn suite against the RFC 6455 layer of each adapter
  tap                      the embassy adapter on a TAP device, against the TCP of Linux
  firmware [--run]         the scope on a Cortex-M3 and on an RP2040: what it takes; or the first
                           in QEMU, at port 18080
  panics                   where the first one can panic, against the list in tests/panics/left.txt;
                           not a part of test, since each toolchain finds others to be impossible
  device                   the first in QEMU, with the stock clients, Chromium, scope-view, and the
                           client and the command against it
  device-log               what the first one logs by defmt during a session, in QEMU
  speed                    what wslink costs there beside a bare WebSocket; not a part of `test`,
                           since a busy machine changes it
  fuzz [seconds] [target]  each fuzz target (or one) for so many seconds, 20 unless told
  bench [args]             our servers beside others, under the same load: docs/performance.md;
                           not a part of test. `bench --help` tells what can be chosen
  miri                     the tests inside of the engine, interpreted by Miri; not a part of test,
                           since it takes minutes and a component of the nightly toolchain
  deny [checks]            cargo-deny on all workspaces, as deny.toml says; installs it, which takes
                           minutes, and fetches advisories, so not a part of test
  help                     this page";

/// What has to build where there is no allocator.
const NO_STD_PACKAGES: &[&str] =
    &["wslink-core", "wslink-no-std", "wslink-scope", "wslink-embassy"];
/// What has features of its own.
const FEATURED_PACKAGES: &[&str] = &["wslink-core", "wslink", "wslink-embassy"];
const NO_STD_TARGET: &str = "thumbv7m-none-eabi";

/// In `test`: enough to run the corpora and notice what is broken at once.
const SHORT_FUZZ_SECONDS: u64 = 10;
const FUZZ_SECONDS: u64 = 20;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["test"] => test(),
        ["fmt"] => fmt(),
        ["lint"] => lint(),
        ["docs"] => docs(),
        ["no-std"] => no_std(),
        ["unit"] => unit(),
        ["stock"] => node::stock(),
        ["browser"] => node::browser(),
        ["proxy"] => proxy::run(),
        ["upstream"] => upstream(),
        ["autobahn"] => autobahn::run(),
        ["tap"] => tap::run(),
        ["firmware"] => firmware::check(),
        ["firmware", "--run"] => device::run(),
        ["panics"] => panics::run(),
        ["device"] => device::test(),
        ["device-log"] => device::log(),
        ["speed"] => device::speed(),
        ["fuzz"] => fuzz::run(FUZZ_SECONDS, None),
        ["fuzz", seconds] => fuzz_for(seconds, None),
        ["fuzz", seconds, target] => fuzz_for(seconds, Some(target)),
        ["bench", args @ ..] => bench::run(args),
        ["miri"] => miri(),
        ["deny", checks @ ..] => deny::run(checks),
        ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        [] => Err(HELP.into()),
        _ => Err(format!("no such chore: {}\n\n{HELP}", args.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn fuzz_for(seconds: &str, target: Option<&str>) -> Outcome {
    let seconds = seconds.parse().map_err(|_| format!("`{seconds}` is not a number of seconds"))?;
    fuzz::run(seconds, target)
}

/// Runs every step, also after one failed, so that one run tells all that is wrong.
fn test() -> Outcome {
    type Step = (&'static str, fn() -> Outcome);
    let steps: &[Step] = &[
        ("fmt", fmt),
        ("lint", lint),
        ("docs", docs),
        ("no-std", no_std),
        ("unit", unit),
        ("stock", node::stock),
        ("browser", node::browser),
        ("proxy", proxy::run),
        ("upstream", upstream),
        ("autobahn", autobahn::run),
        ("tap", tap::run),
        ("firmware", firmware::check),
        ("device", device::test),
        ("device-log", device::log),
        ("fuzz", || fuzz::run(SHORT_FUZZ_SECONDS, None)),
    ];

    let mut summary = Vec::new();
    let mut failed = Vec::new();
    for (name, step) in steps {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = step();
        let seconds = start.elapsed().as_secs_f32();
        let word = match outcome {
            Ok(()) => "ok",
            Err(reason) => {
                eprintln!("{reason}");
                failed.push(*name);
                "FAILED"
            }
        };
        println!("== {name}: {word} ({seconds:.1} s)");
        summary.push(format!("  {name:<10} {word:<7} {seconds:7.1} s"));
    }

    println!("\nsteps:\n{}", summary.join("\n"));
    let result = format!("result: {} passed, {} failed", steps.len() - failed.len(), failed.len());
    if failed.is_empty() {
        println!("{result}");
        Ok(())
    } else {
        Err(format!("{result}: {}", failed.join(", ")))
    }
}

fn upstream() -> Outcome {
    system::python_venv()?;
    cargo(["build", "--package", "instrument"]).run()?;
    // What a server lacks of the list is printed.
    cargo(["test", "--package", "wslink-cli", "--test", "servers", "--"])
        .args(["--ignored", "--skip", "device", "--nocapture"])
        .run()
}

fn fmt() -> Outcome {
    cargo(["fmt", "--all", "--check"]).run()?;
    // Workspaces of their own, so `--all` leaves them out.
    firmware::fmt()?;
    for manifest in [bench::MANIFEST, device::LOG_MANIFEST, fuzz::MANIFEST, panics::MANIFEST] {
        cargo(["fmt", "--check", "--manifest-path", manifest]).run()?;
    }
    Ok(())
}

fn lint() -> Outcome {
    cargo(["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"]).run()?;
    cargo(["clippy", "--all-features", "--all-targets"])
        .args(FEATURED_PACKAGES.iter().flat_map(|it| ["--package", it]))
        .args(["--", "-Dwarnings"])
        .run()?;
    cargo(["clippy", "--all-targets", "--manifest-path", device::LOG_MANIFEST, "--target-dir"])
        .arg(target_dir().join("device-log"))
        .args(["--", "-Dwarnings"])
        .run()?;
    panics::lint()?;
    firmware::lint()
}

fn docs() -> Outcome {
    cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings").run()
}

/// With `core` alone built for the target, an `alloc` that slips in does not compile.
fn no_std() -> Outcome {
    let sysroot = tools::nightly_rustc(["--print", "sysroot"])?;
    let library = format!("{}/lib/rustlib/src/rust/library", sysroot.trim());
    if !std::path::Path::new(&library).join("core/src/lib.rs").exists() {
        return Err("the rust library source is missing from the nightly toolchain: \
             rustup +nightly component add rust-src, or run the embedded setup script"
            .into());
    }
    let target_dir = target_dir().join("no-std");
    for package in NO_STD_PACKAGES {
        nightly_cargo(["build", "-Zbuild-std=core", "--no-default-features"])
            .args(["--target", NO_STD_TARGET, "--package", package])
            .arg("--target-dir")
            .arg(&target_dir)
            .run()?;
    }
    Ok(())
}

/// Those of `core` alone: what runs them from outside takes hours here, and has no `unsafe` either.
fn miri() -> Outcome {
    nightly_cargo(["miri", "test", "--package", "wslink-core", "--lib"])
        .args(["--target-dir"])
        .arg(target_dir().join("miri"))
        // What tries many inputs takes too long here.
        .args(["--", "--skip", "never_panic", "--skip", "the_fast_scans"])
        // Snapshots are files, and insta would ask cargo where they are.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("INSTA_WORKSPACE_ROOT", tools::root())
        .run()
        .map_err(|reason| format!("{reason}\n(rustup +nightly component add miri rust-src)"))
}

fn unit() -> Outcome {
    cargo(["test", "--workspace", "--no-fail-fast"]).run()?;
    // The same transcripts where everything is logged: nothing else changes.
    cargo(["test", "--no-fail-fast", "--tests"])
        .args(["--package", "wslink-core", "--package", "wslink-embassy"])
        .args(["--package", "wslink-scenarios"])
        .args(["--features", "wslink-core/defmt,wslink-embassy/defmt"])
        .env("DEFMT_LOG", "debug")
        .run()
}
