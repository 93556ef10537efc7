//! Reading a transcript again.

use crate::val::Kept;
use crate::{Line, Message, Val, Way};
use core::fmt;

/// Deeper nesting is not followed.
const MAX_DEPTH: usize = 600;

/// Why the message of a [`Line`] cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRead {
    /// The line is not written as a transcript's are; with the rest that was not understood.
    Malformed(String),
    /// The bytes of which the line tells length and digest were not found.
    Missing(Kept),
}

impl fmt::Display for NotRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(rest) => write!(f, "not understood from here on: {rest}"),
            Self::Missing(kept) => write!(f, "the bytes of {kept} are missing"),
        }
    }
}

impl core::error::Error for NotRead {}

impl Line {
    /// The message that the frame of this line completed. `find` is asked for the bytes of which
    /// the line tells only length and digest.
    ///
    /// ```
    /// use wslink_testkit::{Message, Transcript, val};
    ///
    /// let transcript: Transcript = "    12 < binary #4 0/30 {\"id\": \"x\", \"result\": -2.5}".parse()?;
    /// let message = transcript.lines()[0].message(&mut |_| None)?;
    /// assert_eq!(message, Message::Envelope(val!({"id": "x", "result": (-2.5)})));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`NotRead`].
    pub fn message(
        &self,
        find: &mut dyn FnMut(&Kept) -> Option<Vec<u8>>,
    ) -> Result<Message, NotRead> {
        if !matches!(self.way, Way::Up | Way::Down) {
            return Ok(Message::Control);
        }
        let (name, shown) = self.text.split_once(' ').unwrap_or((&self.text, ""));
        match name {
            "text" | "binary" | "continuation" => {}
            "text.." | "binary.." | "continuation.." => return Ok(Message::Part),
            _ => return Ok(Message::Control),
        }
        let shown = match shown.strip_prefix('#') {
            // Number of the message, offset and total.
            Some(chunk) => chunk.splitn(3, ' ').nth(2).unwrap_or_default(),
            None => shown,
        };
        if shown.starts_with('(') {
            return Ok(Message::Part);
        }
        if ["malformed", "not UTF-8", "short"].iter().any(|word| shown.starts_with(word)) {
            return Ok(Message::Foreign);
        }
        let mut reader = Reader { rest: shown, find };
        let value = reader.value(MAX_DEPTH)?;
        match value {
            _ if !reader.rest.is_empty() => Err(reader.malformed()),
            Val::Bin(bytes) => Ok(Message::Attachment(bytes)),
            value => Ok(Message::Envelope(value)),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    find: &'a mut dyn FnMut(&Kept) -> Option<Vec<u8>>,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Val, NotRead> {
        const WORDS: [(&str, Val); 6] = [
            ("null", Val::Null),
            ("true", Val::Bool(true)),
            ("false", Val::Bool(false)),
            ("NaN", Val::Float(f64::NAN)),
            ("inf", Val::Float(f64::INFINITY)),
            ("-inf", Val::Float(f64::NEG_INFINITY)),
        ];
        let Some(depth) = depth.checked_sub(1) else { return Err(self.malformed()) };
        for (word, value) in WORDS {
            if self.take(word) {
                return Ok(value);
            }
        }
        if self.take("[") {
            return self.items("]", |it| it.value(depth)).map(Val::Seq);
        }
        if self.take("{") {
            let entries = self.items("}", |it| {
                let key = it.value(depth)?;
                it.expect(": ")?;
                Ok((key, it.value(depth)?))
            });
            return entries.map(Val::Map);
        }
        if self.take("bin(") {
            return self.kept().map(Val::Bin);
        }
        if self.take("ext(") {
            let kind = self.number(", ")?;
            return Ok(Val::Ext(kind, self.kept()?));
        }
        if self.take("str(") {
            self.text()?;
            self.expect(".., ")?;
            let text = String::from_utf8(self.kept()?);
            return text.map(Val::Str).map_err(|_| self.malformed());
        }
        if self.rest.starts_with('"') {
            return self.text().map(Val::Str);
        }
        let end = self.rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e'));
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let integer = number.parse().map(Val::Int).ok();
        let number = integer.or_else(|| number.parse().map(Val::Float).ok());
        let number = number.ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(number)
    }

    fn items<T>(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Self) -> Result<T, NotRead>,
    ) -> Result<Vec<T>, NotRead> {
        let mut items = Vec::new();
        while !self.take(end) {
            if !items.is_empty() {
                self.expect(", ")?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Length and digest, and the bytes that have them.
    fn kept(&mut self) -> Result<Vec<u8>, NotRead> {
        let len = self.number(", ")?;
        let (digest, rest) = self.rest.split_once(')').ok_or_else(|| self.malformed())?;
        // It becomes part of the name of a file.
        if digest.len() != 8 || !digest.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(self.malformed());
        }
        self.rest = rest;
        let kept = Kept { len, digest: digest.to_owned() };
        (self.find)(&kept).ok_or(NotRead::Missing(kept))
    }

    fn number<T: core::str::FromStr>(&mut self, end: &str) -> Result<T, NotRead> {
        let (number, rest) = self.rest.split_once(end).ok_or_else(|| self.malformed())?;
        let number = number.parse().map_err(|_| self.malformed())?;
        self.rest = rest;
        Ok(number)
    }

    /// A string as `Debug` writes it.
    fn text(&mut self) -> Result<String, NotRead> {
        self.expect("\"")?;
        let mut text = String::new();
        let mut chars = self.rest.chars();
        loop {
            let c = chars.next().ok_or_else(|| self.malformed())?;
            text.push(match c {
                '"' => break,
                '\\' => match chars.next().ok_or_else(|| self.malformed())? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    'u' => {
                        let code = chars.as_str().strip_prefix('{');
                        let code = code.and_then(|code| code.split_once('}'));
                        let (code, rest) = code.ok_or_else(|| self.malformed())?;
                        chars = rest.chars();
                        let code = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
                        code.ok_or_else(|| self.malformed())?
                    }
                    c => c,
                },
                c => c,
            });
        }
        self.rest = chars.as_str();
        Ok(text)
    }

    fn take(&mut self, token: &str) -> bool {
        let taken = self.rest.strip_prefix(token);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), NotRead> {
        if self.take(token) { Ok(()) } else { Err(self.malformed()) }
    }

    fn malformed(&self) -> NotRead {
        NotRead::Malformed(self.rest.chars().take(40).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Decoder, Frame, Line, Message, Transcript, Val, Way, val};
    use std::collections::HashMap;
    use wslink_core::Instant;
    use wslink_core::wire::Dialect;

    fn all_kinds() -> Val {
        let long = "é\"\\\n".repeat(60);
        let numbers = val!([0, (-1), (u64::MAX), 1.0, (-0.5), (1e300), (f64::NEG_INFINITY)]);
        val!({
            "method": "a.b",
            "kwargs": {},
            "words": [null, true, false, "", "a\u{7f}\0\t\r\n'\"\\é\u{202e}", (long)],
            "numbers": (numbers),
            "bytes": [(Val::Bin(vec![])), (Val::Bin(vec![7; 300])), (Val::Ext(-3, vec![1]))],
        })
    }

    #[test]
    fn what_is_written_is_read_again() {
        let value = all_kinds();
        let mut kept = HashMap::new();
        value.visit_kept(&mut |name, bytes| {
            kept.insert(name, bytes.to_vec());
        });
        assert_eq!(kept.len(), 4, "three byte strings and a long text");

        let (text, message) = Decoder::new(Dialect::V2).frame(&Frame::message(9, &value));
        assert_eq!(message, Message::Envelope(value.clone()));
        let line = Line { at: Instant::from_millis(1_234_567), client: 27, way: Way::Up, text };
        let transcript: Transcript = line.shown(true).to_string().parse().unwrap();
        assert_eq!(transcript.lines(), core::slice::from_ref(&line));
        assert_eq!(transcript.to_string(), format!("{}\n", line.shown(true)));

        let read = transcript.lines()[0].message(&mut |name| kept.get(name).cloned());
        assert_eq!(read, Ok(Message::Envelope(value)));
        let missing = line.message(&mut |_| None).unwrap_err().to_string();
        insta::assert_snapshot!(missing, @"the bytes of 300-byte string 0fb528f7 are missing");
    }

    #[test]
    fn what_is_no_transcript_is_said_so() {
        let read = |text: &str| text.parse::<Transcript>().map(|_| ()).map_err(|it| it.to_string());
        assert_eq!(read("     0 > ping\n-- note\n     3 AB * connected"), Ok(()));
        for text in ["0", "0 >", "x > ping", "0 a > ping", "0 = ping", "0 A ping pong"] {
            let wrong = format!("     0 > ping\n{text}");
            assert_eq!(read(&wrong), Err("line 2 is no line of a transcript".to_owned()), "{text}");
        }
        let line = |text: &str| {
            let line =
                Line { at: Instant::from_millis(0), client: 0, way: Way::Up, text: text.into() };
            line.message(&mut |_| None)
        };
        for text in [
            "text",
            "text {",
            "text {1}",
            "text [1 2]",
            "text \"x",
            "text x",
            "text bin(1, ../../x)",
        ] {
            assert!(line(text).is_err(), "{text}");
        }
        assert!(line(&format!("text {}", "[".repeat(100_000))).is_err());
        for text in ["text malformed (3, 12345678)", "binary #1 0/5 malformed (5, 12345678)"] {
            assert_eq!(line(text), Ok(Message::Foreign), "{text}");
        }
        for text in ["text.. (3)", "binary #1 0/5 (2)", "binary (100)"] {
            assert_eq!(line(text), Ok(Message::Part), "{text}");
        }
    }
}
