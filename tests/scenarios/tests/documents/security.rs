//! The tests that `docs/security.md` names are there.

use std::path::Path;

const PAGE: &str = include_str!("../../../../docs/security.md");

/// The parts that say behind each line which test shows it.
const SHOWN: [&str; 2] = ["Attacks", "Faults"];

/// Where the scenarios are listed that are a test of each adapter.
const BOTH_ADAPTERS: &str = include_str!("../../../adapters/tests/scenarios/main.rs");

/// Each link of a line: its text and where it leads.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split('[').skip(1).filter_map(|rest| {
        let (text, rest) = rest.split_once("](")?;
        Some((text, rest.split_once(')')?.0))
    })
}

#[test]
fn what_shows_it_is_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut missing = Vec::new();
    for (_, to) in PAGE.lines().flat_map(links) {
        let path = to.split('#').next().unwrap_or_default();
        if !to.contains("://") && !docs.join(path).exists() {
            missing.push(format!("no {to}"));
        }
    }
    let parts = PAGE.split("\n## ").filter(|it| SHOWN.iter().any(|name| it.starts_with(name)));
    let rows = parts.flat_map(|part| part.lines().filter(|line| line.starts_with("| ")));
    let mut shown = 0;
    for row in rows.filter(|row| !row.ends_with("| Shown by |")) {
        shown += 1;
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        if links(last).next().is_none() {
            missing.push(format!("nothing that shows it: {row}"));
        }
        for (text, to) in links(last) {
            // What is in code is a test; the rest are files and folders.
            let Some(name) = text.strip_prefix('`').map(|text| text.trim_end_matches('`')) else {
                continue;
            };
            let source = std::fs::read_to_string(docs.join(to)).unwrap_or_default();
            let is_test = source.contains(&format!("fn {name}()"))
                || source.contains(&format!("fn {name}(stage: &Stage)"))
                    && BOTH_ADAPTERS.contains(&format!("\n    {name}: |"));
            if !name.ends_with(".rs") && !is_test {
                missing.push(format!("no test {name} in {to}"));
            }
        }
    }
    assert!(missing.is_empty(), "docs/security.md:\n{}", missing.join("\n"));
    assert!(shown > 30, "{shown} rows");
}
