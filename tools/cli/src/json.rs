//! Values of messages as JSON that every program can read.

use crate::fault::Fault;
use serde_json::{Map, Number, Value, json};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use wslink_smol::client::{self, ServerError};
use wslink_testkit::{Kept, Val};

/// Binary data is `{"$bin": length, "sha256": first 8 digits}`, what JSON has no number for
/// `{"$float": "NaN"}`, and an extension of MessagePack `{"$ext": type, ..}`.
pub(crate) fn of(value: &Val) -> Value {
    match value {
        Val::Null => Value::Null,
        Val::Bool(value) => Value::Bool(*value),
        Val::Int(value) => match Number::from_i128(*value) {
            Some(number) => Value::Number(number),
            None => float(*value as f64),
        },
        Val::Float(value) => float(*value),
        Val::Str(text) => Value::String(text.clone()),
        Val::Bin(bytes) => binary(bytes),
        Val::Ext(kind, bytes) => {
            json!({ "$ext": kind, "length": bytes.len(), "sha256": Kept::of(bytes).digest })
        }
        Val::Seq(items) => Value::Array(items.iter().map(of).collect()),
        Val::Map(entries) => {
            let name = |key: &Val| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            let entries = entries.iter().map(|(key, value)| (name(key), of(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

pub(crate) fn binary(bytes: &[u8]) -> Value {
    json!({ "$bin": bytes.len(), "sha256": Kept::of(bytes).digest })
}

fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None => json!({ "$float": value.to_string() }),
    }
}

/// The same of what a client was sent; binary data goes into `files`, if that is wanted, and is then
/// `{"$bin": length, "file": name}`.
pub(crate) fn of_value(value: &client::Value, files: &mut Files) -> Result<Value, Fault> {
    Ok(match value {
        client::Value::Null => Value::Null,
        client::Value::Bool(value) => Value::Bool(*value),
        client::Value::Int(value) => Value::from(*value),
        client::Value::Uint(value) => Value::from(*value),
        client::Value::Float(value) => float(*value),
        client::Value::Str(text) => Value::String(text.clone()),
        client::Value::Binary(bytes) => files.keep(bytes)?,
        client::Value::List(items) => {
            Value::Array(items.iter().map(|it| of_value(it, files)).collect::<Result<_, _>>()?)
        }
        client::Value::Map(entries) => {
            let entry =
                |(key, value): &(String, client::Value)| Ok((key.clone(), of_value(value, files)?));
            Value::Object(entries.iter().map(entry).collect::<Result<_, Fault>>()?)
        }
    })
}

/// An error that a server answered.
pub(crate) fn error(error: &ServerError) -> Value {
    let mut object = json!({ "code": error.code, "message": error.message });
    if let Some(data) = &error.data
        && let Ok(data) = of_value(data, &mut Files::new(None))
    {
        object["data"] = data;
    }
    object
}

/// Writes a file whole or not at all: whoever finds it there finds all of it.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Pipes and devices are written to as they are, and links are followed.
    let path = match fs::canonicalize(path) {
        Ok(path) if !path.is_file() => return fs::write(path, bytes),
        Ok(path) => path,
        Err(_) => path.to_owned(),
    };
    let mut part = path.clone().into_os_string();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, &path));
    if written.is_err() {
        // It may not even be there.
        _ = fs::remove_file(&part);
    }
    written
}

/// Where the binary data of a message goes.
pub(crate) struct Files {
    path: Option<PathBuf>,
    count: usize,
}

impl Files {
    pub(crate) const fn new(path: Option<PathBuf>) -> Self {
        Self { path, count: 0 }
    }

    pub(crate) const fn is_wanted(&self) -> bool {
        self.path.is_some()
    }

    /// Whether binary data was written to standard output.
    pub(crate) fn wrote_stdout(&self) -> bool {
        self.count > 0 && self.path.as_deref() == Some(Path::new("-"))
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<Value, Fault> {
        let Some(path) = &self.path else { return Ok(binary(bytes)) };
        let number = self.count;
        self.count += 1;
        if path == Path::new("-") {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush()).map_err(Fault::stdout)?;
            return Ok(binary(bytes));
        }
        let mut name = path.clone().into_os_string();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        let path = PathBuf::from(name);
        write(&path, bytes).map_err(|error| Fault::file(&path, error))?;
        Ok(json!({ "$bin": bytes.len(), "file": path.to_string_lossy() }))
    }
}
