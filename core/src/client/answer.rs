//! Reading what a server sends: answers, publications and attachment headers.

use super::event::Failure;
use crate::arena::Span;
use crate::envelope::Field;
use crate::wire::{Dialect, Left, Malformed, MalformedKind, Token, Value};

pub(super) const ATTACHMENT_HEADER: &str = "wslink.binary.attachment";

/// Where the fields of a checked message lie. Of a field given twice the last counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) id: Field,
    pub(super) method: Field,
    pub(super) args: Option<Span>,
    pub(super) result: Option<Span>,
    pub(super) error: Option<Span>,
}

impl Answer {
    /// # Errors
    /// The message is not a map.
    pub(super) fn read(dialect: Dialect, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Value::new(dialect, bytes, &[]).reader();
        let Token::Map(count) = reader.next()? else {
            return Err(Malformed { at: 0, kind: MalformedKind::Unexpected });
        };
        let missing = Field::Missing;
        let mut answer =
            Self { id: missing, method: missing, args: None, result: None, error: None };
        let mut left = Left(count);
        while reader.has_next(&mut left)? {
            let key = reader.next()?;
            let value = reader.value()?;
            let len = value.bytes().len();
            let start = reader.offset().saturating_sub(len);
            // A message is below 4 GiB: its limit is a u32.
            let span = Span { start: start as u32, len: len as u32 };
            let text = if value.as_str().is_some() { Field::Text(span) } else { Field::Other };
            match key {
                Token::Str("id") => answer.id = text,
                Token::Str("method") => answer.method = text,
                Token::Str("args") => answer.args = value.is_seq().then_some(span),
                Token::Str("result") => answer.result = Some(span),
                Token::Str("error") => answer.error = Some(span),
                _ => {}
            }
        }
        Ok(answer)
    }
}

/// Whom an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address<'a> {
    Call(u32),
    Publication { topic: &'a str, retained: bool },
    Nobody,
}

impl<'a> Address<'a> {
    /// `client_id` is the one with which this client writes its calls.
    pub(super) fn read(id: &'a str, client_id: &str) -> Self {
        if let Some(rest) = id.strip_prefix("publish:") {
            let Some((topic, number)) = rest.rsplit_once(':') else { return Self::Nobody };
            return Self::Publication { topic, retained: number == "1" };
        }
        let number = id
            .strip_prefix("rpc:")
            .and_then(|rest| rest.strip_prefix(client_id)?.strip_prefix(':'));
        match number.map(str::parse) {
            Some(Ok(number)) => Self::Call(number),
            _ => Self::Nobody,
        }
    }
}

/// Reads an `error`.
pub(super) fn failure(error: Value<'_>) -> Failure<'_> {
    let mut failure = Failure { code: 0, message: "", data: None };
    for (key, value) in error.entries() {
        match key {
            "code" => failure.code = value.as_i64().unwrap_or_default(),
            "message" => failure.message = value.as_str().unwrap_or_default(),
            "data" => failure.data = Some(value),
            _ => {}
        }
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_a_call_of_this_client_a_topic_or_nobody() {
        let topic = |topic, retained| Address::Publication { topic, retained };
        let cases = [
            ("rpc:c1:7", Address::Call(7)),
            ("rpc:c1:4294967295", Address::Call(u32::MAX)),
            ("rpc:c1:4294967296", Address::Nobody),
            ("rpc:c1:", Address::Nobody),
            ("rpc:c17", Address::Nobody),
            ("rpc:c2:7", Address::Nobody),
            ("rpc:7", Address::Nobody),
            ("publish:a.b:0", topic("a.b", false)),
            ("publish:a:b:1", topic("a:b", true)),
            ("publish::0", topic("", false)),
            ("publish:", Address::Nobody),
            ("system:c0:0", Address::Nobody),
            ("", Address::Nobody),
        ];
        for (id, address) in cases {
            assert_eq!(Address::read(id, "c1"), address, "{id}");
        }
    }
}
