//! Arguments of a method, as they are written on the command line.

use crate::connection::read;
use crate::fault::Fault;
use bytes::Bytes;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use wslink_smol::client::{Call, Client};

/// How much of a file is in memory at once.
const READ_AHEAD: usize = 256 << 10;

/// What stands for an argument.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Argument {
    Json(Value),
    Binary(Bytes),
    /// A file that is read as it is sent, and how long it is.
    File(PathBuf, u64),
}

/// All arguments of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Arguments {
    positional: Vec<Argument>,
    named: Vec<(String, Argument)>,
}

impl Arguments {
    pub(crate) fn parse(words: &[String]) -> Result<Self, Fault> {
        let mut arguments = Self::default();
        for word in words {
            match word.split_once('=') {
                Some((name, value)) if is_name(name) => {
                    if arguments.named.iter().any(|(known, _)| known == name) {
                        return Err(Fault::usage(format!("`{name}` is given twice")));
                    }
                    arguments.named.push((name.to_owned(), argument(value)?));
                }
                _ => arguments.positional.push(argument(word)?),
            }
        }
        Ok(arguments)
    }

    /// Reads all files, for those who make many calls.
    pub(crate) fn load(mut self) -> Result<Self, Fault> {
        let named = self.named.iter_mut().map(|(_, argument)| argument);
        for argument in self.positional.iter_mut().chain(named) {
            if let Argument::File(path, _) = argument {
                *argument = Argument::Binary(read(path)?.into());
            }
        }
        Ok(self)
    }

    /// A call with them.
    pub(crate) fn call<'a>(&'a self, client: &Client, method: &'a str) -> Result<Call<'a>, Fault> {
        let mut call = client.call(method);
        for argument in &self.positional {
            call = match argument {
                Argument::Json(value) => call.arg(value),
                Argument::Binary(bytes) => call.binary(bytes.clone()),
                Argument::File(path, len) => call.reader(open(path)?, *len),
            };
        }
        for (name, argument) in &self.named {
            call = match argument {
                Argument::Json(value) => call.kwarg(name, value),
                Argument::Binary(bytes) => call.kwarg_binary(name, bytes.clone()),
                Argument::File(path, len) => call.kwarg_reader(name, open(path)?, *len),
            };
        }
        Ok(call)
    }
}

fn open(path: &Path) -> Result<smol::Unblock<File>, Fault> {
    let file = File::open(path).map_err(|error| Fault::file(path, error))?;
    Ok(smol::Unblock::with_capacity(READ_AHEAD, file))
}

fn argument(word: &str) -> Result<Argument, Fault> {
    Ok(match word.strip_prefix('@') {
        // Of a pipe it is not known how long it is.
        Some(path) => match std::fs::metadata(path) {
            Ok(about) if about.is_file() => Argument::File(path.into(), about.len()),
            _ => Argument::Binary(read(Path::new(path))?.into()),
        },
        None => {
            let json = serde_json::from_str(word);
            Argument::Json(json.unwrap_or_else(|_| Value::String(word.to_owned())))
        }
    })
}

/// Whether this can be the name of a keyword argument, as Python and Rust have them.
fn is_name(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    starts && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_are_json_or_text_and_names_come_before_an_equals_sign() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Arguments::parse(&words)
        };
        let words =
            ["1", "-2.5", "true", "null", "hello", "[1, \"a\"]", "\"1\"", "", "[1", "a b=1"];
        let expected = json!([1, -2.5, true, null, "hello", [1, "a"], "1", "", "[1", "a b=1"]);
        let expected = expected.as_array().unwrap().iter().cloned().map(Argument::Json).collect();
        let arguments = parse(&words).unwrap();
        assert_eq!(arguments, Arguments { positional: expected, named: Vec::new() });

        let named = parse(&["a=1", "_b2=x=y", "c=", "\"d=4\"", "1=2"]).unwrap();
        let value = |value: Value| Argument::Json(value);
        let names = [("a", json!(1)), ("_b2", json!("x=y")), ("c", json!(""))];
        let names = names.map(|(name, it)| (name.to_owned(), value(it)));
        assert_eq!(named.named, names);
        assert_eq!(named.positional, [value(json!("d=4")), value(json!("1=2"))]);
        assert!(parse(&["a=1", "a=2"]).is_err());
        assert!(parse(&["@no such file"]).is_err());
    }
}
