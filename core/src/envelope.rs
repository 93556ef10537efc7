//! The envelope: reading where its fields lie, and writing answers and publications.

use crate::arena::Span;
use crate::error::{ErrorData, LimitExceeded};
use crate::wire::{Dialect, EncodeError, Entry, Literal, Shape, Writer, plain_run};
use crate::{Encode, RpcError};
use serde::Serialize;

pub(crate) const HELLO: &str = "wslink.hello";
pub(crate) const ATTACHMENT_HEADER: &[u8] = b"wslink.binary.attachment";
/// Requests of the handshake have ids that begin so.
const SYSTEM: &[u8] = b"system:";

/// What an answer is but for its id and its outcome.
const BEGINNING: Literal = [br#"{"wslink":"1.0","id":"#, b"\x83\xa6wslink\xa31.0\xa2id"];
const RESULT: Literal = [br#","result":"#, b"\xa6result"];
const ERROR: Literal = [br#","error":"#, b"\xa5error"];
const END: Literal = [b"}", b""];

/// A field that must be a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Missing,
    Other,
    /// Its content, which is UTF-8.
    Text(Span),
}

impl Field {
    pub(crate) fn bytes(self, message: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Text(span) => Some(span.of(message)),
            _ => None,
        }
    }

    pub(crate) fn text(self, message: &[u8]) -> Option<&str> {
        core::str::from_utf8(self.bytes(message)?).ok()
    }
}

impl From<Shape> for Field {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::Text(content) => Self::Text(content),
            _ => Self::Other,
        }
    }
}

/// Positional arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Args {
    /// Missing, or of a type that upstream takes for missing.
    Absent,
    /// Null, a number or a bool: upstream drops the connection.
    Invalid,
    /// The list, and how many there are.
    List(Span, u32),
}

/// Where the fields of a checked message lie. Of a field given twice the last counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) id: Field,
    pub(crate) method: Field,
    pub(crate) args: Args,
    /// If there are any.
    pub(crate) kwargs: Option<Span>,
}

impl Envelope {
    /// Without any field.
    pub(crate) fn empty() -> Self {
        Self { id: Field::Missing, method: Field::Missing, args: Args::Absent, kwargs: None }
    }

    /// Takes in what the check of the message found.
    pub(crate) fn take(&mut self, key: &[u8], &Entry { value, shape }: &Entry) {
        match key {
            b"id" => self.id = shape.into(),
            b"method" => self.method = shape.into(),
            b"args" => {
                self.args = match shape {
                    Shape::List(count) => Args::List(value, count),
                    Shape::Map(_) | Shape::Text(_) | Shape::Bytes => Args::Absent,
                    Shape::Other => Args::Invalid,
                };
            }
            b"kwargs" => self.kwargs = matches!(shape, Shape::Map(1..)).then_some(value),
            _ => {}
        }
    }

    /// The positional arguments, if there is a list of them.
    pub(crate) const fn list(&self) -> Option<Span> {
        match self.args {
            Args::List(span, _) => Some(span),
            _ => None,
        }
    }

    /// Whether this announces binary messages (1.x).
    pub(crate) fn is_attachment_header(&self, dialect: Dialect, bytes: &[u8]) -> bool {
        dialect == Dialect::V1
            && self.id == Field::Missing
            && self.method.bytes(bytes) == Some(ATTACHMENT_HEADER)
    }
}

pub(crate) fn is_system(id: &[u8]) -> bool {
    id.starts_with(SYSTEM)
}

/// How long `id` is when it is written.
pub(crate) fn id_len(dialect: Dialect, id: &[u8]) -> usize {
    if dialect == Dialect::V2 || plain_run(id) == id.len() {
        return id.len();
    }
    let mut writer = Writer::new(dialect, &mut [], 0, &|_| None);
    writer.text(id);
    // Without the two quotes.
    writer.finish().map_or_else(|overflow| overflow.needed.saturating_sub(2), |_| 0)
}

pub(crate) fn write_result<T: Serialize + ?Sized>(
    writer: &mut Writer<'_>,
    id: &[u8],
    result: &T,
) -> Result<(), EncodeError> {
    begin_result(writer, id);
    writer.value(result)?;
    end_answer(writer);
    Ok(())
}

/// The answer to an accepted hello; `max_msg_size` in 2.x only.
pub(crate) fn write_welcome(
    writer: &mut Writer<'_>,
    id: &[u8],
    client_id: &str,
    max_msg_size: u32,
) -> Result<(), EncodeError> {
    begin_result(writer, id);
    let chunked = writer.dialect() == Dialect::V2;
    let result = writer.begin_map(Some(if chunked { 2 } else { 1 }))?;
    writer.key("clientID");
    writer.str(client_id);
    if chunked {
        writer.key("maxMsgSize");
        writer.uint(max_msg_size.into());
    }
    writer.end(result)?;
    end_answer(writer);
    Ok(())
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
    id: &[u8],
    code: i32,
    message: &str,
    data: Data<'_>,
) -> Result<(), EncodeError> {
    writer.literal(BEGINNING);
    writer.text(id);
    writer.literal(ERROR);
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
    end_answer(writer);
    Ok(())
}

/// Begins an answer; what follows is its result, and [`end_answer`].
pub(crate) fn begin_result(writer: &mut Writer<'_>, id: &[u8]) {
    writer.literal(BEGINNING);
    writer.text(id);
    writer.literal(RESULT);
}

pub(crate) fn end_answer(writer: &mut Writer<'_>) {
    writer.literal(END);
}
