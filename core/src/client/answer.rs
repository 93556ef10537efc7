//! Reading what a server sends: answers, publications and attachment headers.

use super::event::Failure;
use crate::arena::Span;
use crate::envelope::Field;
use crate::wire::{Entry, Shape, Value};

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
    /// Without any field.
    pub(super) const EMPTY: Self =
        Self { id: Field::Missing, method: Field::Missing, args: None, result: None, error: None };

    /// Takes in what the check of the message found.
    pub(super) fn take(&mut self, key: &[u8], &Entry { value, shape }: &Entry) {
        match key {
            b"id" => self.id = shape.into(),
            b"method" => self.method = shape.into(),
            b"args" => self.args = matches!(shape, Shape::List(_)).then_some(value),
            b"result" => self.result = Some(value),
            b"error" => self.error = Some(value),
            _ => {}
        }
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
