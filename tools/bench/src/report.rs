//! Medians, ratios and their spread, as tables and as JSON.

use crate::Outcome;
use crate::count::Count;
use crate::growth::Curve;
use crate::measure::Figures;
use core::fmt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// What a ratio to the bare server shall be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Of interest, without a bound.
    Shown,
}

impl Goal {
    pub(crate) fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
            Self::Shown => true,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::Shown => f.write_str("–"),
        }
    }
}

/// One kind of work, all servers, all rounds.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) goals: &'static [(&'static str, Goal)],
    /// By server, in the order of the first round, and by round.
    pub(crate) rows: Vec<(&'static str, BTreeMap<usize, Figures>)>,
}

/// A figure of a server over all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    /// To the bare server in the same round: the median, the least and the greatest.
    pub(crate) ratio: [f64; 3],
}

impl Table {
    pub(crate) const fn new(name: &'static str, goals: &'static [(&'static str, Goal)]) -> Self {
        Self { name, goals, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, peer: &'static str, round: usize, figures: Figures) {
        match self.rows.iter_mut().find(|(name, _)| *name == peer) {
            Some((_, rounds)) => _ = rounds.insert(round, figures),
            None => self.rows.push((peer, BTreeMap::from([(round, figures)]))),
        }
    }

    pub(crate) fn figures(&self) -> Vec<&'static str> {
        let first = self.rows.first().and_then(|(_, rounds)| rounds.values().next());
        first.into_iter().flat_map(|figures| figures.keys().copied()).collect()
    }

    pub(crate) fn summary(&self, peer: &str, figure: &str) -> Option<Summary> {
        let of = |name: &str| self.rows.iter().find(|(peer, _)| *peer == name);
        let ((_, bare), (_, rounds)) = (of("bare")?, of(peer)?);
        let mut values: Vec<f64> = rounds.values().map(|figures| figures[figure]).collect();
        let ratio = |(round, figures): (&usize, &Figures)| {
            bare.get(round).map(|bare| figures[figure] / bare[figure])
        };
        let mut ratios: Vec<f64> = rounds.iter().filter_map(ratio).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = ratios.iter().copied().fold(0.0, f64::max);
        let ratio = [median(&mut ratios), least, greatest];
        Some(Summary { median: median(&mut values), ratio })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.name)?;
        let figures = self.figures();
        write!(f, "| server |")?;
        figures.iter().try_for_each(|figure| write!(f, " {figure} | x bare |"))?;
        write!(f, " goal |\n|---|")?;
        figures.iter().try_for_each(|_| write!(f, "---:|---:|"))?;
        writeln!(f, "---|")?;
        for (peer, _) in &self.rows {
            write!(f, "| {peer} |")?;
            for figure in &figures {
                let Some(Summary { median, ratio: [ratio, least, greatest] }) =
                    self.summary(peer, figure)
                else {
                    continue;
                };
                write!(f, " {} | {ratio:.2} ({least:.2}–{greatest:.2}) |", rounded(median))?;
            }
            let mut verdicts = Vec::new();
            for (figure, goal) in self.goals.iter().filter(|_| peer.starts_with("ours")) {
                let Some(summary) = self.summary(peer, figure) else { continue };
                let met = if goal.is_met(summary.ratio[0]) { "met" } else { "**missed**" };
                verdicts.push(format!("{figure} {goal}: {met}"));
            }
            writeln!(f, " {} |", verdicts.join(", "))?;
        }
        Ok(())
    }
}

/// All results.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) tables: Vec<Table>,
    /// Server, connections, bytes for each.
    pub(crate) idle: Vec<(&'static str, usize, f64)>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) counts: Vec<Count>,
    pub(crate) machine: String,
}

impl Report {
    /// Notes on what it was measured.
    pub(crate) fn finish(&mut self) {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.and_then(|line| line.split(':').nth(1)).unwrap_or("?").trim();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        self.machine = format!("{cores} x {model}, Linux {}", kernel.trim());
    }

    /// All that were measured but the measure itself.
    pub(crate) fn servers(&self) -> Vec<&'static str> {
        let mut servers = Vec::new();
        for (server, _) in self.tables.iter().flat_map(|table| &table.rows) {
            if *server != "bare" && !servers.contains(server) {
                servers.push(*server);
            }
        }
        servers
    }

    pub(crate) fn to_json(&self) -> Outcome<String> {
        let tables: Vec<Value> = self.tables.iter().map(table_json).collect();
        let idle = |(server, connections, bytes): &(&str, usize, f64)| json!({"server": server, "connections": connections, "bytes": bytes.round()});
        let curve = |curve: &Curve| json!({"name": curve.name, "points": curve.points});
        let report = json!({
            "machine": self.machine,
            "work": tables,
            "idle": self.idle.iter().map(idle).collect::<Vec<_>>(),
            "instructions": self.counts.iter().cloned().collect::<BTreeMap<_, _>>(),
            "growth": self.curves.iter().map(curve).collect::<Vec<_>>(),
        });
        Ok(serde_json::to_string_pretty(&report)? + "\n")
    }
}

fn table_json(table: &Table) -> Value {
    let mut servers = serde_json::Map::new();
    for (peer, _) in &table.rows {
        let mut row = serde_json::Map::new();
        for figure in table.figures() {
            if let Some(Summary { median, ratio }) = table.summary(peer, figure) {
                let value = json!({"median": median, "to_bare": ratio[0], "spread": ratio[1..]});
                row.insert(figure.to_owned(), value);
            }
        }
        servers.insert((*peer).to_owned(), row.into());
    }
    json!({"name": table.name, "servers": servers})
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tables.iter().try_for_each(|table| writeln!(f, "{table}"))?;
        if !self.idle.is_empty() {
            writeln!(f, "### idle clients\n")?;
            writeln!(f, "| server | connections | bytes each |\n|---|---:|---:|")?;
        }
        for (server, connections, bytes) in &self.idle {
            writeln!(f, "| {server} | {connections} | {bytes:.0} |")?;
        }
        if !self.counts.is_empty() {
            writeln!(f, "\n### instructions of the engine\n\n| path | |\n|---|---:|")?;
        }
        for (path, count) in &self.counts {
            writeln!(f, "| {path} | {count} |")?;
        }
        for Curve { name, points } in &self.curves {
            writeln!(f, "\n### {name}\n\n| | |\n|---:|---:|")?;
            points.iter().try_for_each(|(x, y)| writeln!(f, "| {x} | {} |", rounded(*y)))?;
        }
        Ok(())
    }
}

/// The middle one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rounded(value: f64) -> String {
    match value {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
