//! The results in the documents, between two comments that mark their place.

use crate::Outcome;
use crate::plot;
use crate::report::{Report, Table};
use core::fmt::Write as _;
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- cargo xtask bench: begin -->\n";
const END: &str = "<!-- cargo xtask bench: end -->";

/// Writes `docs/bench`, and the tables of `docs/performance.md` and of `README.md`.
pub(crate) fn write(report: &Report, root: &Path) -> Outcome {
    let bench = root.join("docs/bench");
    fs::create_dir_all(&bench)?;
    fs::write(bench.join("results.json"), report.to_json()?)?;
    plot::all(report, &bench)?;
    put(&root.join("docs/performance.md"), &whole(report)?)?;
    put(&root.join("README.md"), &short(report)?)
}

fn put(page: &Path, text: &str) -> Outcome {
    let before = fs::read_to_string(page)?;
    let place = before.split_once(BEGIN).and_then(|(head, rest)| {
        let (_, tail) = rest.split_once(END)?;
        Some((head, tail))
    });
    let (head, tail) = place.ok_or_else(|| format!("{}: no marks", page.display()))?;
    Ok(fs::write(page, format!("{head}{BEGIN}\n{}\n\n{END}{tail}", text.trim()))?)
}

fn whole(report: &Report) -> Outcome<String> {
    let mut text = format!("Measured on {}.\n\n{}\n{report}", report.machine, goals(report)?);
    for (name, file) in plot::files(report) {
        write!(text, "\n![{name}](bench/{file})\n")?;
    }
    Ok(text)
}

fn short(report: &Report) -> Outcome<String> {
    let text = "as a ratio to a bare WebSocket server of the same round, the median of all rounds";
    let more = "[all figures, and how to get them](docs/performance.md)";
    Ok(format!("{}\nOn {}, {text}; {more}.\n", goals(report)?, report.machine))
}

/// What was aimed at, and what came of it.
fn goals(report: &Report) -> Outcome<String> {
    let servers: Vec<&str> = report.servers();
    let mut text = "| work | figure | goal |".to_owned();
    servers.iter().try_for_each(|server| write!(text, " {server} |"))?;
    text.push_str("\n|---|---|---|");
    text.push_str(&"---:|".repeat(servers.len()));
    text.push('\n');
    for table in &report.tables {
        for (figure, goal) in table.goals {
            write!(text, "| {} | {figure} | {goal} |", table.name)?;
            for server in &servers {
                let Some(summary) = table.summary(server, figure) else {
                    text.push_str(" – |");
                    continue;
                };
                let ratio = summary.ratio[0];
                let missed = server.starts_with("ours") && !goal.is_met(ratio);
                let mark = if missed { "**" } else { "" };
                write!(text, " {mark}{ratio:.2}{mark} |")?;
            }
            text.push('\n');
        }
    }
    if let Some(crowd) = report.tables.iter().find(|table| table.name.contains("in flight")) {
        write!(text, "\n{}", beside_python(crowd))?;
    }
    for (server, connections, bytes) in &report.idle {
        if server.starts_with("ours") {
            let kib = bytes / 1024.0;
            let verdict = if kib <= 10.0 { "at most 10 KiB: met" } else { "**more than 10 KiB**" };
            writeln!(
                text,
                "\n{connections} idle clients of {server}: {kib:.1} KiB each, {verdict}."
            )?;
        }
    }
    Ok(text)
}

/// Python's time for a call as a multiple of ours.
fn beside_python(crowd: &Table) -> String {
    let cost = |server| crowd.summary(server, crate::measure::CPU).map(|it| it.median);
    let pairs = [("1.x", "ours 1.x", "Python 1.12.4"), ("2.x", "ours 2.x", "Python 2.x")];
    let mut text = String::new();
    for (wire, ours, python) in pairs {
        if let (Some(ours), Some(theirs)) = (cost(ours), cost(python)) {
            let times = theirs / ours;
            let verdict = if times >= 15.0 { "met" } else { "**missed**" };
            text += &format!(
                "With many in flight a {wire} call takes Python {times:.0} times our CPU \
                 (at least 15: {verdict}).\n"
            );
        }
    }
    text
}
