//! What `wslink.describe` tells of the scope: a change of what it offers is a change of this
//! snapshot.
#![expect(clippy::unwrap_used, reason = "test code")]

use core::future::ready;
use core::time::Duration;
use wslink_core::wire::Dialect;
use wslink_scope::{Scope, Timer};
use wslink_testkit::{Clock, Options, Pair, Val};

/// Nothing waits here.
struct Unused;

impl Timer for Unused {
    fn after(&self, _: Duration) -> impl Future<Output = ()> {
        ready(())
    }
}

/// On a device, where it takes several pages, and what a desktop says in one is the same.
#[test]
fn the_scope_describes_itself() {
    let (device, pages) = described(Options::device());
    assert!(pages > 1);
    let (desktop, pages) = described(Options::desktop());
    assert_eq!(pages, 1);
    for part in ["session", "hash", "methods", "topics"] {
        assert_eq!(device.field(part), desktop.field(part));
    }
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(pretty(&device, 0));
    });
}

/// All pages as one, and how many there were.
fn described(options: Options) -> (Val, usize) {
    let mut pair = Pair::with(Scope::new(Unused), Clock::new(), options);
    let client = pair.connected(Dialect::V2);
    let (mut whole, mut page, mut pages) = (Vec::new(), Val::from(0), 0);
    while page != Val::Null {
        let answer = pair.ask(client, "wslink.describe", Val::Seq(vec![page])).unwrap();
        page = answer.field("next").unwrap().clone();
        pages += 1;
        let Val::Map(entries) = answer else { panic!("{answer}") };
        if pages == 1 {
            whole = entries;
            continue;
        }
        for ((name, value), (_, more)) in whole.iter_mut().zip(entries) {
            match (value, more) {
                // The first page has them.
                (_, more) if *name == Val::from("limits") => assert_eq!(more, Val::Null),
                (Val::Seq(items), Val::Seq(more)) => items.extend(more),
                (value, more) => *value = more,
            }
        }
    }
    (Val::Map(whole), pages)
}

/// What is short on a line, and else a line for each part.
fn pretty(value: &Val, indent: usize) -> String {
    let line = value.to_string();
    let (brackets, items): (_, Vec<_>) = match value {
        Val::Map(entries) if line.len() > 80 => {
            let entry = |(key, value): &(Val, Val)| format!("{key}: {}", pretty(value, indent + 2));
            ("{}", entries.iter().map(entry).collect())
        }
        Val::Seq(items) if line.len() > 80 => {
            ("[]", items.iter().map(|item| pretty(item, indent + 2)).collect())
        }
        _ => return line,
    };
    let (open, close) = brackets.split_at(1);
    let [out, within] = [indent, indent + 2].map(|width| " ".repeat(width));
    let items = items.join(&format!("\n{within}"));
    format!("{open}\n{within}{items}\n{out}{close}")
}
