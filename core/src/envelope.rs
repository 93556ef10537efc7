//! The envelope: reading where its fields lie, and writing answers and publications.

use crate::arena::Span;
use crate::error::{ErrorData, LimitExceeded};
use crate::wire::{
    Dialect, EncodeError, Left, Malformed, MalformedKind, Open, Token, Value, Writer,
};
use crate::{Encode, RpcError};
use serde::Serialize;

pub(crate) const HELLO: &str = "wslink.hello";
const ATTACHMENT_HEADER: &str = "wslink.binary.attachment";
/// Requests of the handshake have ids that begin so.
const SYSTEM: &str = "system:";

/// A field that must be a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Missing,
    Other,
    Text(Span),
}

impl Field {
    pub(crate) fn text(self, dialect: Dialect, bytes: &[u8]) -> Option<&str> {
        let Self::Text(span) = self else { return None };
        Value::new(dialect, span.of(bytes), &[]).as_str()
    }
}

/// Positional arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Args {
    /// Missing, or of a type that upstream takes for missing.
    Absent,
    /// Null, a number or a bool: upstream drops the connection.
    Invalid,
    List(Span),
}

/// Where the fields of a checked message lie. Of a field given twice the last counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) id: Field,
    pub(crate) method: Field,
    pub(crate) args: Args,
    pub(crate) kwargs: Option<Span>,
}

impl Envelope {
    /// # Errors
    /// The message is not a map.
    pub(crate) fn read(dialect: Dialect, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Value::new(dialect, bytes, &[]).reader();
        let Token::Map(count) = reader.next()? else {
            return Err(Malformed { at: 0, kind: MalformedKind::Unexpected });
        };
        let mut envelope =
            Self { id: Field::Missing, method: Field::Missing, args: Args::Absent, kwargs: None };
        let mut left = Left(count);
        while reader.has_next(&mut left)? {
            let key = reader.next()?;
            let value = reader.value()?;
            let len = value.bytes().len();
            let start = reader.offset().saturating_sub(len);
            // A frame is below 4 GiB: its limit is a u32.
            let span = Span { start: start as u32, len: len as u32 };
            let text = if value.as_str().is_some() { Field::Text(span) } else { Field::Other };
            match key {
                Token::Str("id") => envelope.id = text,
                Token::Str("method") => envelope.method = text,
                Token::Str("args") => {
                    envelope.args = match value.reader().next()? {
                        Token::Seq(_) => Args::List(span),
                        Token::Map(_) | Token::Str(_) | Token::Bytes(_) => Args::Absent,
                        _ => Args::Invalid,
                    };
                }
                Token::Str("kwargs") => envelope.kwargs = value.is_map().then_some(span),
                _ => {}
            }
        }
        Ok(envelope)
    }

    /// Whether this announces binary messages (1.x).
    pub(crate) fn is_attachment_header(&self, dialect: Dialect, bytes: &[u8]) -> bool {
        dialect == Dialect::V1
            && self.id == Field::Missing
            && self.method.text(dialect, bytes) == Some(ATTACHMENT_HEADER)
    }
}

pub(crate) fn is_system(id: &str) -> bool {
    id.starts_with(SYSTEM)
}

/// How long `id` is when it is written.
pub(crate) fn id_len(dialect: Dialect, id: &str) -> usize {
    match dialect {
        Dialect::V1 => {
            let mut writer = Writer::new(dialect, &mut [], 0, &|_| None);
            writer.str(id);
            // Without the two quotes.
            writer.finish().map_or_else(|overflow| overflow.needed.saturating_sub(2), |_| 0)
        }
        Dialect::V2 => id.len(),
    }
}

pub(crate) fn write_result<T: Serialize + ?Sized>(
    writer: &mut Writer<'_>,
    id: &str,
    result: &T,
) -> Result<(), EncodeError> {
    let envelope = begin_answer(writer, id)?;
    writer.key("result");
    writer.value(result)?;
    writer.end(envelope)
}

/// The answer to an accepted hello; `max_msg_size` in 2.x only.
pub(crate) fn write_welcome(
    writer: &mut Writer<'_>,
    id: &str,
    client_id: &str,
    max_msg_size: u32,
) -> Result<(), EncodeError> {
    let envelope = begin_answer(writer, id)?;
    writer.key("result");
    let chunked = writer.dialect() == Dialect::V2;
    let result = writer.begin_map(Some(if chunked { 2 } else { 1 }))?;
    writer.key("clientID");
    writer.str(client_id);
    if chunked {
        writer.key("maxMsgSize");
        writer.uint(max_msg_size.into());
    }
    writer.end(result)?;
    writer.end(envelope)
}

/// A publication; upstream never counts the number in its id up, here a 1 in place of the 0 tells
/// that the value is a retained one. Gives the position of that digit.
pub(crate) fn write_publication(
    writer: &mut Writer<'_>,
    topic: &str,
    encode: &Encode<'_>,
) -> Result<u32, EncodeError> {
    let envelope = writer.begin_map(Some(3))?;
    writer.key("wslink");
    writer.str("1.0");
    writer.key("id");
    writer.display(&format_args!("publish:{topic}:0"))?;
    let quote = usize::from(writer.dialect() == Dialect::V1);
    let mark = writer.position().saturating_sub(1 + quote);
    writer.key("result");
    encode(writer)?;
    writer.end(envelope)?;
    // What lies beyond a u32 does not fit any buffer of ours.
    Ok(u32::try_from(mark).unwrap_or(u32::MAX))
}

/// `data` of an error.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Data<'a> {
    /// Upstream leaves out whatever is empty.
    None,
    Text(&'a str),
    Exception {
        method: &'a str,
        exception: &'a str,
    },
    Limit(LimitExceeded),
}

impl<'a> Data<'a> {
    pub(crate) fn of(error: &'a RpcError, method: &'a str) -> Self {
        match error.data {
            ErrorData::None => Self::None,
            ErrorData::Method => Self::Text(method),
            ErrorData::Param(name) => Self::Text(name),
            ErrorData::Exception => Self::Exception { method, exception: error.text.as_str() },
            ErrorData::Limit(exceeded) => Self::Limit(exceeded),
        }
    }
}

pub(crate) fn write_error(
    writer: &mut Writer<'_>,
    id: &str,
    code: i32,
    message: &str,
    data: Data<'_>,
) -> Result<(), EncodeError> {
    let envelope = begin_answer(writer, id)?;
    writer.key("error");
    let has_data = !matches!(data, Data::None | Data::Text(""));
    let error = writer.begin_map(Some(if has_data { 3 } else { 2 }))?;
    writer.key("code");
    writer.int(code.into());
    writer.key("message");
    writer.str(message);
    if has_data {
        writer.key("data");
        match data {
            Data::None => {}
            Data::Text(text) => writer.str(text),
            Data::Exception { method, exception } => {
                let map = writer.begin_map(Some(2))?;
                writer.key("method");
                writer.str(method);
                writer.key("exception");
                writer.str(exception);
                writer.end(map)?;
            }
            Data::Limit(exceeded) => {
                let map = writer.begin_map(Some(3))?;
                writer.key("limit");
                writer.str(exceeded.limit.name());
                writer.key("needed");
                writer.uint(exceeded.needed);
                writer.key("available");
                writer.uint(exceeded.available);
                writer.end(map)?;
            }
        }
    }
    writer.end(error)?;
    writer.end(envelope)
}

/// The beginning of an answer: what follows is `result` or `error`.
pub(crate) fn begin_answer(writer: &mut Writer<'_>, id: &str) -> Result<Open, EncodeError> {
    let envelope = writer.begin_map(Some(3))?;
    writer.key("wslink");
    writer.str("1.0");
    writer.key("id");
    writer.str(id);
    Ok(envelope)
}
