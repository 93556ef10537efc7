//! What `wslink watch --template` prints of a publication.

use crate::fault::Fault;
use serde_json::Value;

/// Text with places in braces.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Topic,
    Number,
    Seconds,
    /// The value, or what stands in it under these keys and indices.
    Value(Vec<String>),
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = rest.get(c.len_utf8()..).unwrap_or_default();
            let next = after.chars().next();
            rest = match (c, next) {
                ('{', Some('{')) | ('}', Some('}')) | ('\\', Some('\\')) => {
                    plain.push(c);
                    after.get(1..).unwrap_or_default()
                }
                ('\\', Some(letter @ ('t' | 'n'))) => {
                    plain.push(if letter == 't' { '\t' } else { '\n' });
                    after.get(1..).unwrap_or_default()
                }
                ('{', _) => {
                    let (name, after) = after.split_once('}').unwrap_or((after, ""));
                    parts.push(Part::Text(core::mem::take(&mut plain)));
                    parts.push(Part::named(name)?);
                    after
                }
                _ => {
                    plain.push(c);
                    after
                }
            };
        }
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    pub(crate) fn fill(&self, topic: &str, value: &Value, number: u64, seconds: f64) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text += plain,
                Part::Topic => text += topic,
                Part::Number => text += &number.to_string(),
                Part::Seconds => text += &format!("{seconds:.3}"),
                Part::Value(path) => text += &plain(find(value, path)),
            }
        }
        text
    }
}

impl Part {
    fn named(name: &str) -> Result<Self, Fault> {
        let mut path = name.split('.').map(str::to_owned);
        Ok(match (path.next().as_deref(), path) {
            (Some("value"), path) => Self::Value(path.collect()),
            _ if name == "topic" => Self::Topic,
            _ if name == "nth" => Self::Number,
            _ if name == "seconds" => Self::Seconds,
            _ => {
                let known = "{topic}, {value}, {value.KEY}, {nth} and {seconds}";
                return Err(Fault::usage(format!("nothing is called {{{name}}}"))
                    .hint(format!("there are {known}; a brace is {{{{")));
            }
        })
    }
}

fn find<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        value => value.get(key),
    })
}

/// Text without quotes; nothing for what is not there.
fn plain(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_filled() {
        let fill = |template: &str| {
            let value = json!({ "a": [1, "x"], "b": { "c": null } });
            Template::parse(template).map(|it| it.fill("some.topic", &value, 7, 1.25))
        };
        for (template, filled) in [
            ("", ""),
            ("{nth}: {topic}\\t{seconds}", "7: some.topic\t1.250"),
            ("{value}", r#"{"a":[1,"x"],"b":{"c":null}}"#),
            ("{value.a.0}{value.a.1}{value.b.c}", "1xnull"),
            ("<{value.a.2}{value.d}{value.a.x}{value.a.0.0}>", "<>"),
            ("{{{value.a.1}}} }", "{x} }"),
        ] {
            assert_eq!(fill(template).unwrap(), filled, "{template}");
        }
        for template in ["{}", "{values}", "{topic.x}", "{ n }", "{"] {
            assert!(fill(template).is_err(), "{template}");
        }
    }
}
