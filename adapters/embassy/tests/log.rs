//! What is logged with the feature `defmt`. Its text stays in the firmware's file; the snapshot of
//! `cargo xtask firmware --log` has it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::path::Path;

#[cfg(feature = "defmt")]
mod common;

/// `DEFMT_LOG=debug` when this is compiled: else most lines are left out.
#[cfg(feature = "defmt")]
#[test]
fn a_secret_is_not_logged() {
    use common::client::{BOTH, Client, Raw};
    use common::{SECRET, options, with_scope};

    for dialect in BOTH {
        defmt::export::fetch_bytes();
        with_scope(async |net| {
            defmt::println!("{} {}", options(), net.server);
            let mut client = Client::new(Raw::connect(net).await, dialect);
            client.hello("rotten-guess").await.unwrap_err();
            client.hello(SECRET).await.unwrap();
            client.call("scope.settings.get", vec![]).await.unwrap();
            client.call("scope.calibrate", vec!["quoted".into()]).await.unwrap_err();
        });
        let logged = defmt::export::fetch_bytes();
        let says = |text: &str| logged.windows(text.len()).any(|it| it == text.as_bytes());
        // This is logged by the test, and that by the adapter.
        assert!(says("Options {"));
        if option_env!("DEFMT_LOG") == Some("debug") {
            assert!(says("scope.settings.get"));
        }
        for private in [SECRET, "rotten-guess", "quoted"] {
            assert!(!says(private), "{private}");
        }
    }
}

/// A type that is public and has no `defmt::Format` is found here, also without the feature.
#[test]
fn every_public_type_can_be_logged() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for directory in ["src", "../../core/src"] {
        read(&here.join(directory), &mut sources);
    }
    let written_by_hand = |name: &str| {
        let is_named =
            |line: &str| line.split(|it: char| !it.is_alphanumeric()).any(|it| it == name);
        sources.iter().flat_map(|source| source.lines()).any(|line| {
            let line = line.trim();
            (line.starts_with('[') || line.contains("Format for")) && is_named(line)
                || line.starts_with("] ") && is_named(line)
        })
    };
    let mut count = 0;
    for source in &sources {
        let mut derives = false;
        for line in source.lines() {
            derives |= line.contains("derive(defmt::Format)");
            let item = ["pub struct ", "pub enum "].iter().find_map(|it| line.strip_prefix(it));
            if let Some(item) = item {
                let name = item.split(|it: char| !it.is_alphanumeric()).next().unwrap();
                assert!(derives || written_by_hand(name), "`{name}` has no `defmt::Format`");
                count += 1;
            }
            derives &= line.starts_with('#') || line.starts_with("///");
        }
    }
    assert!(count > 60, "{count}");
}

fn read(directory: &Path, sources: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|it| it == "rs") {
            sources.push(std::fs::read_to_string(path).unwrap());
        }
    }
}
