//! Readers of our own for both dialects, so that core is not held against itself.

use crate::value::Value;

type Result<T> = core::result::Result<T, String>;

/// JSON as upstream writes it: bare `NaN` and `Infinity`, integers of any size.
pub(crate) fn json(text: &str) -> Result<Value> {
    let mut reader = Json { rest: text };
    let value = reader.value()?;
    reader.space();
    if reader.rest.is_empty() { Ok(value) } else { Err(format!("{:?} behind it", reader.rest)) }
}

struct Json<'a> {
    rest: &'a str,
}

impl Json<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\n', '\r', '\t']);
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        let taken = self.rest.strip_prefix(token);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    fn value(&mut self) -> Result<Value> {
        const WORDS: [(&str, Value); 6] = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ];
        for (word, value) in WORDS {
            if self.take(word) {
                return Ok(value);
            }
        }
        if self.take("[") {
            let mut items = Vec::new();
            if self.take("]") {
                return Ok(Value::List(items));
            }
            loop {
                items.push(self.value()?);
                if self.take("]") {
                    return Ok(Value::List(items));
                }
                self.expect(",")?;
            }
        }
        if self.take("{") {
            let mut entries = Vec::new();
            if self.take("}") {
                return Ok(Value::Map(entries));
            }
            loop {
                self.expect("\"")?;
                let key = Value::Str(self.string()?);
                self.expect(":")?;
                entries.push((key, self.value()?));
                if self.take("}") {
                    return Ok(Value::Map(entries));
                }
                self.expect(",")?;
            }
        }
        if self.take("\"") {
            return self.string().map(Value::Str);
        }
        let end = self.rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if number.contains(['.', 'e', 'E']) {
            number.parse().map(Value::Float).map_err(|_| format!("{number:?} is no number"))
        } else if let Ok(number) = number.parse() {
            Ok(Value::Int(number))
        } else if !number.is_empty()
            && number.trim_start_matches('-').bytes().all(|c| c.is_ascii_digit())
        {
            Ok(Value::Digits(number.to_owned()))
        } else {
            Err(format!("unexpected {:?}", self.rest))
        }
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.take(token) { Ok(()) } else { Err(format!("{token} expected at {:?}", self.rest)) }
    }

    fn string(&mut self) -> Result<String> {
        let mut units = Vec::new();
        loop {
            let mut chars = self.rest.chars();
            let c = chars.next().ok_or("a string does not end")?;
            self.rest = chars.as_str();
            match c {
                '"' => return String::from_utf16(&units).map_err(|_| "a lone surrogate".into()),
                '\\' => {
                    let escaped = chars.next().ok_or("a string does not end")?;
                    self.rest = chars.as_str();
                    units.push(match escaped {
                        'b' => 8,
                        'f' => 12,
                        'n' => 10,
                        'r' => 13,
                        't' => 9,
                        'u' => {
                            let digits = self.rest.get(..4).ok_or("a short escape")?;
                            self.rest = &self.rest[4..];
                            u16::from_str_radix(digits, 16).map_err(|_| "a bad escape")?
                        }
                        '"' | '\\' | '/' => escaped as u16,
                        _ => return Err(format!("the escape {escaped:?}")),
                    });
                }
                c if c < ' ' => return Err(format!("{c:?} in a string")),
                c => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
            }
        }
    }
}

/// MessagePack. Extensions have not been seen in an answer.
pub(crate) fn msgpack(bytes: &[u8]) -> Result<Value> {
    let mut reader = MsgPack { rest: bytes };
    let value = reader.value()?;
    if reader.rest.is_empty() {
        Ok(value)
    } else {
        Err(format!("{} bytes behind it", reader.rest.len()))
    }
}

struct MsgPack<'a> {
    rest: &'a [u8],
}

impl<'a> MsgPack<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn uint(&mut self, len: usize) -> Result<u64> {
        Ok(self.take(len)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn value(&mut self) -> Result<Value> {
        let first = self.take(1)?[0];
        let bits = u32::from(first & 3);
        Ok(match first {
            0x00..=0x7f => Value::Int(first.into()),
            0x80..=0x8f => self.map((first & 15).into())?,
            0x90..=0x9f => self.list((first & 15).into())?,
            0xa0..=0xbf => self.str((first & 31).into())?,
            0xc0 => Value::Null,
            0xc2 | 0xc3 => Value::Bool(first == 0xc3),
            0xc4..=0xc6 => {
                let len = self.uint(1 << bits)?;
                Value::Bytes(self.take(len as usize)?.to_vec())
            }
            0xca => Value::Float(f32::from_bits(self.uint(4)? as u32).into()),
            0xcb => Value::Float(f64::from_bits(self.uint(8)?)),
            0xcc..=0xcf => Value::Int(self.uint(1 << bits)?.into()),
            0xd0..=0xd3 => {
                let unused = 64 - 8 * (1 << bits);
                Value::Int(i128::from((self.uint(1 << bits)? << unused).cast_signed() >> unused))
            }
            0xd9..=0xdb => {
                let len = self.uint(1 << (bits - 1))?;
                self.str(len)?
            }
            0xdc | 0xdd => {
                let len = self.uint(2 << (first & 1))?;
                self.list(len)?
            }
            0xde | 0xdf => {
                let len = self.uint(2 << (first & 1))?;
                self.map(len)?
            }
            0xe0.. => Value::Int(i128::from(first.cast_signed())),
            _ => return Err(format!("the byte {first:#x}")),
        })
    }

    fn str(&mut self, len: u64) -> Result<Value> {
        let bytes = self.take(len as usize)?;
        core::str::from_utf8(bytes).map(Value::str).map_err(|_| "a str that is not UTF-8".into())
    }

    fn list(&mut self, len: u64) -> Result<Value> {
        (0..len).map(|_| self.value()).collect::<Result<_>>().map(Value::List)
    }

    fn map(&mut self, len: u64) -> Result<Value> {
        (0..len).map(|_| Ok((self.value()?, self.value()?))).collect::<Result<_>>().map(Value::Map)
    }
}
