//! `wslink describe`.

use crate::args::{Describe, Global};
use crate::connection::{no_answer, seconds, with_client};
use crate::fault::Fault;
use crate::style::harmless;
use core::fmt::{self, Write as _};
use core::time::Duration;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use smol::future;
use std::collections::BTreeSet;
use std::io::Write as _;
use wslink_core::Policy;
use wslink_core::wire::Dialect;
use wslink_smol::client::{Client, Error, Value};

const DESCRIBE: &str = "wslink.describe";
/// A server that never ends is not followed further.
const PAGES: usize = 10_000;

/// What there is, of a server that tells.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Description {
    session: String,
    hash: String,
    methods: Vec<Method>,
    topics: Vec<Topic>,
    /// In the first page.
    limits: Option<std::collections::BTreeMap<String, u64>>,
    #[serde(skip_serializing)]
    next: Option<u64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Method {
    name: String,
    doc: String,
    params: Vec<Param>,
    returns: String,
    /// Seconds.
    deadline: Option<f64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Param {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    optional: bool,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Topic {
    name: String,
    doc: String,
    #[serde(rename = "type")]
    kind: String,
    policy: String,
    retained: bool,
}

/// What can be told of any server.
#[derive(Debug, Serialize)]
struct Known {
    dialect: &'static str,
    /// `None`: it does not describe itself.
    #[serde(flatten)]
    description: Option<Description>,
    /// Topics that were published meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    heard: Option<BTreeSet<String>>,
}

pub(crate) async fn run(global: &Global, options: Describe) -> Result<(), Fault> {
    let patience = seconds(options.listen)?;
    let settings = options.connection.options(false)?;
    let known = with_client(&options.url, settings, async |client| look(client, patience).await);
    let known = known.await?;
    let text = if global.json {
        let object = serde_json::to_string(&known);
        object.map_err(|error| Fault::stdout(error.into()))? + "\n"
    } else {
        known.table()
    };
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Fault::stdout)
}

async fn look(client: &Client, patience: Duration) -> Result<Known, Fault> {
    let dialect = match client.dialect() {
        Some(Dialect::V1) => "1.x",
        _ => "2.x",
    };
    let description = describe(client).await?;
    let heard = match description {
        Some(_) => None,
        None => Some(hear(client, patience).await),
    };
    Ok(Known { dialect, description, heard })
}

async fn describe(client: &Client) -> Result<Option<Description>, Fault> {
    let mut whole = Description::default();
    let mut page = 0_u64;
    for _ in 0..PAGES {
        let answer = client.call(DESCRIBE).arg(page).send::<Description>().await;
        let part = match answer {
            Ok(part) => part,
            Err(Error::Server(error)) if error.is_unknown_method() => return Ok(None),
            Err(error) => return Err(no_answer(DESCRIBE, &error)),
        };
        (whole.session, whole.hash) = (part.session, part.hash);
        whole.limits = whole.limits.or(part.limits);
        whole.methods.extend(part.methods);
        whole.topics.extend(part.topics);
        match part.next {
            Some(next) => page = next,
            None => break,
        }
    }
    Ok(Some(whole))
}

async fn hear(client: &Client, patience: Duration) -> BTreeSet<String> {
    let mut heard = BTreeSet::new();
    let mut publications = client.subscribe_with::<Value>(&["*"], Policy::DropOldest(1024));
    let listening = async {
        while let Some(publication) = publications.next().await {
            heard.extend(publication.map(|it| it.topic.to_string()));
        }
    };
    let late = async {
        smol::Timer::after(patience).await;
    };
    future::or(listening, late).await;
    heard
}

impl Known {
    fn table(&self) -> String {
        let mut text = format!("wslink {}", self.dialect);
        let Some(description) = &self.description else {
            text += ", does not describe itself\n";
            heading(&mut text, "Topics that were published meanwhile");
            for topic in self.heard.iter().flatten() {
                line(&mut text, format_args!("  {}", harmless(topic)));
            }
            if self.heard.iter().flatten().next().is_none() {
                text += "  none; see --listen\n";
            }
            return text;
        };
        let Description { session, methods, topics, limits, .. } = description;
        line(&mut text, format_args!(", session {session}"));
        heading(&mut text, "Methods");
        methods.iter().for_each(|method| method.table(&mut text));
        heading(&mut text, "Topics");
        topics.iter().for_each(|topic| topic.table(&mut text));
        heading(&mut text, "Limits");
        let limits: Vec<_> = limits
            .iter()
            .flatten()
            .map(|(name, limit)| (name.clone(), limit.to_string()))
            .collect();
        columns(&mut text, "  ", &limits);
        text
    }
}

impl Method {
    fn table(&self, text: &mut String) {
        let Self { name, doc, params, returns, deadline } = self;
        let name = harmless(name);
        let optional = |param: &Param| {
            format!("{}{}", harmless(&param.name), if param.optional { "?" } else { "" })
        };
        let names: Vec<String> = params.iter().map(optional).collect();
        let style = crate::style::NAME;
        line(text, format_args!("  {style}{name}{style:#}({})", names.join(", ")));
        about(text, doc);
        let kind = |param: &Param| (optional(param), param.kind.clone());
        let mut rows: Vec<_> = params.iter().map(kind).collect();
        if !returns.is_empty() {
            rows.push(("->".to_owned(), returns.clone()));
        }
        if let Some(deadline) = deadline {
            rows.push(("takes".to_owned(), format!("at most {deadline} s")));
        }
        rows.retain(|(_, what)| !what.is_empty());
        columns(text, "        ", &rows);
    }
}

impl Topic {
    fn table(&self, text: &mut String) {
        let Self { name, doc, kind, policy, retained } = self;
        let (name, kind, policy) = (harmless(name), harmless(kind), harmless(policy));
        let retained = if *retained { ", retained" } else { "" };
        let style = crate::style::NAME;
        line(text, format_args!("  {style}{name}{style:#}  {policy}{retained}"));
        about(text, doc);
        if !kind.is_empty() {
            line(text, format_args!("        {kind}"));
        }
    }
}

fn heading(text: &mut String, name: &str) {
    let style = crate::style::HEADING;
    line(text, format_args!("\n{style}{name}{style:#}"));
}

fn about(text: &mut String, doc: &str) {
    for part in harmless(doc).lines().filter(|part| !part.is_empty()) {
        line(text, format_args!("      {part}"));
    }
}

fn columns(text: &mut String, indent: &str, rows: &[(String, String)]) {
    let widest = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or_default();
    for (left, right) in rows {
        let right = harmless(right);
        line(text, format_args!("{indent}{left:widest$}  {right}"));
    }
}

fn line(text: &mut String, what: fmt::Arguments<'_>) {
    // A string takes all that is written.
    _ = writeln!(text, "{what}");
}
