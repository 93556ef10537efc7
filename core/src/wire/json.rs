//! JSON text (dialect 1.x), checked and unescaped in place.
//!
//! [`clean`] is the only code that looks at what a peer sent; all that read later rely on the
//! *clean form* it leaves behind:
//!
//! - A string is `"`, its content as plain UTF-8, the byte `0xFF`, and spaces up to and including
//!   the place where its closing quote was. Neither `0xFF` nor `0xFE` occurs in UTF-8, so nothing
//!   that a peer sends can be taken for either, and a string can be borrowed as it stands.
//! - An attachment that was named by a string and has arrived is `0xFE`, then offset and length of
//!   its bytes as two little-endian `u32`, then spaces.
//! - All else is as it was sent.

use super::value::Token;
use super::{Entry, MAX_DEPTH, Malformed, MalformedKind, OnEntry, Shape, begins_with};
use crate::arena::Span;

/// Ends the content of a string in the clean form.
const STRING_END: u8 = 0xFF;
/// Begins an attachment in the clean form.
const ATTACHMENT: u8 = 0xFE;
/// `0xFE`, offset, length.
const ATTACHMENT_LEN: usize = 9;
/// What the strings begin with that name an attachment (`protocol.md` §5).
const ATTACHMENT_PREFIX: &str = "wslink_bin";

/// Checks that `bytes` are one JSON value and brings them into the clean form, in one pass.
///
/// The grammar is RFC 8259, strictly, and the bare words `NaN`, `Infinity` and `-Infinity`, which
/// upstream's Python servers write (`protocol.md` §5). Whitespace may stand around the value.
/// `max_depth` is how many lists and maps may stand inside each other: 0 allows scalars only, and
/// more than [`MAX_DEPTH`] means [`MAX_DEPTH`].
///
/// # Errors
/// The first fault, with its offset in bytes. The strings that end before that offset are in the
/// clean form already, so a request's `id` can still be read from there.
pub fn clean(bytes: &mut [u8], max_depth: usize) -> Result<(), Malformed> {
    entries(bytes, max_depth, &mut |_, _| {}).map(drop)
}

/// The same, and shows each entry of the map that the value is; gives whether it is one.
///
/// What follows an entry may turn out to be malformed.
pub(crate) fn entries(
    bytes: &mut [u8],
    max_depth: usize,
    each: OnEntry<'_>,
) -> Result<bool, Malformed> {
    let valid = match core::str::from_utf8(bytes) {
        Ok(text) => text.len(),
        Err(fault) => fault.valid_up_to(),
    };
    let not_utf8 = valid < bytes.len();
    let text = bytes.get_mut(..valid).unwrap_or_default();
    let outcome = run(text, max_depth.min(MAX_DEPTH), each);
    match outcome {
        Err(fault) if fault.at < valid => Err(fault),
        _ if not_utf8 => Err(Malformed { at: valid, kind: MalformedKind::NotUtf8 }),
        other => other,
    }
}

/// Puts attachments into the clean form: each string that names one, unless it is the key of a
/// map, is given to `lookup`, and replaced if that knows the attachment's offset and length.
///
/// `bytes` hold whole values in the clean form. Where `lookup` gives `None` the string stays.
pub(crate) fn resolve(bytes: &mut [u8], lookup: &mut dyn FnMut(u64) -> Option<(u32, u32)>) {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let Some(content) = bytes.get(at + 1..).and_then(until_string_end) else { return };
                let end = at + 1 + content.len() + 1;
                let number = core::str::from_utf8(content).ok().and_then(attachment_key);
                if let Some(number) = number
                    && !bytes.get(end..).is_some_and(begins_with_colon)
                    && let Some((offset, len)) = lookup(number)
                    && let Some(place) = bytes.get_mut(at..end)
                {
                    place.fill(b' ');
                    write_attachment(place, offset, len);
                }
                at = end;
            }
            ATTACHMENT => at += ATTACHMENT_LEN,
            _ => at += 1,
        }
    }
}

/// The number of the attachment that a string names: `wslink_bin` and a decimal number without
/// leading zeros. Any other string is just a string.
pub(crate) fn attachment_key(text: &str) -> Option<u64> {
    let digits = text.strip_prefix(ATTACHMENT_PREFIX)?;
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

/// Takes the token at or after `*at` from the clean form.
///
/// Whitespace, commas and colons are skipped: [`clean`] has seen to it that they stand where they
/// belong. Bytes that never were cleaned give a fault or an odd token, but no more than that.
pub(crate) fn token<'a>(
    bytes: &'a [u8],
    at: &mut usize,
    attachments: &'a [u8],
) -> Result<Token<'a>, Malformed> {
    skip_separators(bytes, at);
    let (token, len) = token_in(bytes.get(*at..).unwrap_or_default(), attachments)
        .map_err(|kind| Malformed { at: *at, kind })?;
    *at += len;
    Ok(token)
}

/// The token that `bytes` begin with, and its length.
fn token_in<'a>(
    bytes: &'a [u8],
    attachments: &'a [u8],
) -> Result<(Token<'a>, usize), MalformedKind> {
    let (&first, rest) = bytes.split_first().ok_or(MalformedKind::Truncated)?;
    Ok(match first {
        b'"' => {
            let content = until_string_end(rest).ok_or(MalformedKind::Truncated)?;
            let text = core::str::from_utf8(content).map_err(|_| MalformedKind::NotUtf8)?;
            (Token::Str(text), content.len() + 2)
        }
        b'{' => (Token::Map(None), 1),
        b'[' => (Token::Seq(None), 1),
        b'}' | b']' => (Token::End, 1),
        b'-' if rest.starts_with(b"Infinity") => (Token::Float(f64::NEG_INFINITY), 9),
        b'-' | b'0'..=b'9' => {
            let len = number_in(bytes).map_err(|(_, kind)| kind)?;
            let number = bytes.get(..len).and_then(number_value);
            (number.ok_or(MalformedKind::Unexpected)?, len)
        }
        ATTACHMENT => {
            let (offset, len) = read_attachment(rest).ok_or(MalformedKind::Truncated)?;
            let content = attachments.get(offset..).and_then(|from| from.get(..len));
            (Token::Bytes(content.ok_or(MalformedKind::Unexpected)?), ATTACHMENT_LEN)
        }
        _ if bytes.starts_with(b"null") => (Token::Null, 4),
        _ if bytes.starts_with(b"true") => (Token::Bool(true), 4),
        _ if bytes.starts_with(b"false") => (Token::Bool(false), 5),
        _ if bytes.starts_with(b"NaN") => (Token::Float(f64::NAN), 3),
        _ if bytes.starts_with(b"Infinity") => (Token::Float(f64::INFINITY), 8),
        _ => return Err(MalformedKind::Unexpected),
    })
}

/// Whether the list or map that is being read ends here; takes its closing bracket if so.
pub(crate) fn take_end(bytes: &[u8], at: &mut usize) -> Result<bool, Malformed> {
    skip_separators(bytes, at);
    match bytes.get(*at) {
        Some(b']' | b'}') => {
            *at += 1;
            Ok(true)
        }
        Some(_) => Ok(false),
        None => Err(Malformed { at: *at, kind: MalformedKind::Truncated }),
    }
}

/// Moves `*at` over all that may stand between two tokens of the clean form.
pub(crate) fn skip_separators(bytes: &[u8], at: &mut usize) {
    while matches!(bytes.get(*at), Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')) {
        *at += 1;
    }
}

/// The value of a text that is a JSON number and nothing else.
pub(crate) fn number<'a>(text: &[u8]) -> Option<Token<'a>> {
    if number_in(text) == Ok(text.len()) { number_value(text) } else { None }
}

/// The value of a JSON number: an integer where it is written as one and fits 64 bits, and the
/// nearest float otherwise.
fn number_value<'a>(text: &[u8]) -> Option<Token<'a>> {
    let text = core::str::from_utf8(text).ok()?;
    let integer = !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    if integer {
        if let Ok(small) = text.parse() {
            return Some(Token::Int(small));
        }
        if let Ok(big) = text.parse() {
            return Some(Token::Uint(big));
        }
    }
    text.parse().ok().map(Token::Float)
}

/// What messages mostly begin with; it need not be looked at byte by byte.
const BEGINNING: &[u8] = br#"{"wslink":"1.0","id":"#;

/// The pass of [`clean`] over bytes that are UTF-8.
fn run(bytes: &mut [u8], limit: usize, each: OnEntry<'_>) -> Result<bool, Malformed> {
    // Of the lists and maps around the current place, whether they are maps.
    let mut maps = 0_u64;
    let mut depth = 0_usize;
    let mut at = 0;
    let mut key = Span::default();
    let mut entry = Entry::default();
    let mut items = 0;
    let mut is_map = false;
    let mut is_key = false;
    if limit > 0 && begins_with(bytes, BEGINNING) {
        for end in [8, 14, 19] {
            if let Some(quote) = bytes.get_mut(end) {
                *quote = STRING_END;
            }
        }
        (maps, depth, is_map) = (1, 1, true);
        key = Span { start: 17, len: 2 };
        at = BEGINNING.len();
    }
    'next: loop {
        let Some(first) = next(bytes, &mut at) else {
            return Err(fault(at, MalformedKind::Truncated));
        };
        let start = at;
        let mut shape = Shape::Other;
        if first == b'"' {
            let mut end = start + 1 + plain_run(bytes.get(start + 1..).unwrap_or_default());
            at = end + 1;
            match bytes.get_mut(end) {
                Some(quote @ b'"') => *quote = STRING_END,
                _ => (end, at) = unescape(bytes, end)?,
            }
            let content = Span { start: start as u32 + 1, len: (end - start) as u32 - 1 };
            if is_key {
                match next(bytes, &mut at) {
                    Some(b':') => at += 1,
                    Some(_) => return Err(fault(at, MalformedKind::Unexpected)),
                    None => return Err(fault(at, MalformedKind::Truncated)),
                }
                if depth == 1 {
                    key = content;
                }
                is_key = false;
                continue;
            }
            shape = Shape::Text(content);
        } else if is_key {
            let kind = match begins_value(first) {
                true => MalformedKind::KeyNotString,
                false => MalformedKind::Unexpected,
            };
            return Err(fault(at, kind));
        } else if let b'[' | b'{' = first {
            if depth >= limit {
                return Err(fault(at, MalformedKind::TooDeep));
            }
            let map = first == b'{';
            is_map |= map && depth == 0;
            at += 1;
            // The two brackets are two apart in ASCII.
            if next(bytes, &mut at) == Some(first + 2) {
                at += 1;
                shape = if map { Shape::Map(0) } else { Shape::List(0) };
            } else {
                if depth == 1 {
                    items = 0;
                    entry.value.start = start as u32;
                }
                maps = maps << 1 | u64::from(map);
                depth += 1;
                is_key = map;
                continue;
            }
        } else {
            at = scalar(bytes, at, first)?;
        }
        if depth == 1 {
            entry = Entry { value: Span { start: start as u32, len: 0 }, shape };
        }
        // A value ends here, and all those of which it is the last one.
        loop {
            if depth == 1 && is_map {
                entry.value.len = at as u32 - entry.value.start;
                each(key.of(bytes), &entry);
            }
            let found = next(bytes, &mut at);
            if depth == 0 {
                return match found {
                    None => Ok(is_map),
                    Some(_) => Err(fault(at, MalformedKind::Trailing)),
                };
            }
            items += u32::from(depth == 2);
            let map = maps & 1 == 1;
            match found {
                Some(b',') => {
                    at += 1;
                    is_key = map;
                    continue 'next;
                }
                Some(b'}') if map => entry.shape = Shape::Map(items),
                Some(b']') if !map => entry.shape = Shape::List(items),
                Some(_) => return Err(fault(at, MalformedKind::Unexpected)),
                None => return Err(fault(at, MalformedKind::Truncated)),
            }
            at += 1;
            maps >>= 1;
            depth -= 1;
        }
    }
}

/// Passes over a number or a word.
fn scalar(bytes: &[u8], at: usize, first: u8) -> Result<usize, Malformed> {
    let rest = bytes.get(at..).unwrap_or_default();
    let word: &[u8] = match first {
        b'-' if rest.get(1) == Some(&b'I') => b"-Infinity",
        b'-' | b'0'..=b'9' => {
            return number_in(rest)
                .map(|len| at + len)
                .map_err(|(len, kind)| fault(at + len, kind));
        }
        b'n' => b"null",
        b't' => b"true",
        b'f' => b"false",
        b'N' => b"NaN",
        b'I' => b"Infinity",
        _ => return Err(fault(at, MalformedKind::Unexpected)),
    };
    let same = rest.iter().zip(word).take_while(|(found, wanted)| found == wanted).count();
    if same == word.len() {
        Ok(at + same)
    } else if same == rest.len() {
        Err(fault(at + same, MalformedKind::Truncated))
    } else {
        Err(fault(at + same, MalformedKind::Unexpected))
    }
}

/// Brings a string into the clean form, from its first escape at `at` on; gives where its content
/// ends, and where it does. What is written never overtakes what is read: each escape is longer
/// than the character it stands for.
fn unescape(bytes: &mut [u8], mut at: usize) -> Result<(usize, usize), Malformed> {
    let mut write = at;
    loop {
        match bytes.get(at) {
            Some(b'"') => {
                at += 1;
                if let Some((end, rest)) =
                    bytes.get_mut(write..at).and_then(|unused| unused.split_first_mut())
                {
                    *end = STRING_END;
                    rest.fill(b' ');
                }
                return Ok((write, at));
            }
            Some(b'\\') => {
                let (character, len) = escape(bytes.get(at..).unwrap_or_default())
                    .map_err(|(len, kind)| fault(at + len, kind))?;
                at += len;
                let mut utf8 = [0; 4];
                let utf8 = character.encode_utf8(&mut utf8).as_bytes();
                if let Some(place) = bytes.get_mut(write..write + utf8.len()) {
                    place.copy_from_slice(utf8);
                }
                write += utf8.len();
            }
            Some(_) => return Err(fault(at, MalformedKind::Unexpected)),
            None => return Err(fault(at, MalformedKind::Truncated)),
        }
        let run = plain_run(bytes.get(at..).unwrap_or_default());
        bytes.copy_within(at..at + run, write);
        at += run;
        write += run;
    }
}

/// Moves over whitespace; gives the byte behind it.
fn next(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let byte = *bytes.get(*at)?;
        // Most bytes are told from whitespace by one look.
        if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return Some(byte);
        }
        *at += 1;
    }
}

const fn fault(at: usize, kind: MalformedKind) -> Malformed {
    Malformed { at, kind }
}

/// What is wrong, and how many bytes after the place one looks at.
type FaultAt = (usize, MalformedKind);

/// The character that the escape at the start of `bytes` stands for, and the escape's length.
fn escape(bytes: &[u8]) -> Result<(char, usize), FaultAt> {
    let character = match bytes.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(bytes),
        Some(_) => return Err((1, MalformedKind::Unexpected)),
        None => return Err((1, MalformedKind::Truncated)),
    };
    Ok((character, 2))
}

/// `\uXXXX`, or two of them that are a surrogate pair.
fn unicode_escape(bytes: &[u8]) -> Result<(char, usize), FaultAt> {
    let unit = code_unit(bytes, 2)?;
    if let Some(character) = char::from_u32(unit) {
        return Ok((character, 6));
    }
    let alone = Err((0, MalformedKind::NotUtf8));
    if unit >= 0xDC00 {
        return alone;
    }
    for (place, expected) in [(6, b'\\'), (7, b'u')] {
        match bytes.get(place) {
            Some(&byte) if byte == expected => {}
            Some(_) => return alone,
            None => return Err((place, MalformedKind::Truncated)),
        }
    }
    let low = code_unit(bytes, 8)?;
    if !(0xDC00..0xE000).contains(&low) {
        return alone;
    }
    let scalar = 0x1_0000 + ((unit & 0x3FF) << 10 | low & 0x3FF);
    char::from_u32(scalar).map_or(alone, |character| Ok((character, 12)))
}

/// The four hexadecimal digits at `place`.
fn code_unit(bytes: &[u8], place: usize) -> Result<u32, FaultAt> {
    let mut unit = 0;
    for place in place..place + 4 {
        let &byte = bytes.get(place).ok_or((place, MalformedKind::Truncated))?;
        let digit = char::from(byte).to_digit(16).ok_or((place, MalformedKind::Unexpected))?;
        unit = unit << 4 | digit;
    }
    Ok(unit)
}

/// The length of the number (RFC 8259 §6) that `bytes` begin with.
fn number_in(bytes: &[u8]) -> Result<usize, FaultAt> {
    let digits = |from: usize| {
        let len = bytes.get(from..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit());
        match len.count() {
            0 if from < bytes.len() => Err((from, MalformedKind::Unexpected)),
            0 => Err((from, MalformedKind::Truncated)),
            len => Ok(from + len),
        }
    };
    let mut end = usize::from(bytes.first() == Some(&b'-'));
    end = if bytes.get(end) == Some(&b'0') { end + 1 } else { digits(end)? };
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        end = digits(end + 1 + usize::from(signed))?;
    }
    Ok(end)
}

fn begins_value(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'[' | b'{' | b'n' | b't' | b'f' | b'N' | b'I')
}

fn begins_with_colon(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) == Some(&b':')
}

/// Offset and length of an attachment, from what follows [`ATTACHMENT`].
fn read_attachment(bytes: &[u8]) -> Option<(usize, usize)> {
    let (offset, rest) = bytes.split_first_chunk()?;
    let (len, _) = rest.split_first_chunk()?;
    let offset = usize::try_from(u32::from_le_bytes(*offset)).ok()?;
    Some((offset, usize::try_from(u32::from_le_bytes(*len)).ok()?))
}

/// Writes what [`read_attachment`] reads; the strings that name one are longer than it.
fn write_attachment(place: &mut [u8], offset: u32, len: u32) {
    let fields = [ATTACHMENT].into_iter().chain(offset.to_le_bytes()).chain(len.to_le_bytes());
    for (byte, field) in place.iter_mut().zip(fields) {
        *byte = field;
    }
}

/// The content of the string whose first byte `bytes` begin with.
fn until_string_end(bytes: &[u8]) -> Option<&[u8]> {
    let end = find(bytes, |word| zeros(!word), |byte| byte == STRING_END);
    bytes.get(..end?)
}

/// How many bytes stand for themselves in a JSON string.
pub(crate) fn plain_run(bytes: &[u8]) -> usize {
    let special = |word: usize| {
        let control = word.wrapping_sub(each(0x20)) & !word & each(0x80);
        zeros(word ^ each(b'"')) | zeros(word ^ each(b'\\')) | control
    };
    let found = find(bytes, special, |byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    found.unwrap_or(bytes.len())
}

/// Where the first byte is that is looked for. `in_word` marks the highest bit of such bytes, and
/// maybe of others above the first; so most of a message, which is text, is passed over by words.
fn find(bytes: &[u8], in_word: impl Fn(usize) -> usize, is: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<{ size_of::<usize>() }>();
    let mut at = 0;
    for word in words {
        let found = in_word(usize::from_le_bytes(*word));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += size_of::<usize>();
    }
    rest.iter().position(|byte| is(*byte)).map(|more| at + more)
}

/// A word of which each byte is `byte`.
const fn each(byte: u8) -> usize {
    usize::from_ne_bytes([byte; size_of::<usize>()])
}

/// The highest bit of each byte of a word that is zero, and maybe of others above the first.
const fn zeros(word: usize) -> usize {
    word.wrapping_sub(each(1)) & !word & each(0x80)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Dialect, Value};

    #[test]
    fn keys_of_attachments() {
        let cases = [
            ("wslink_bin0", Some(0)),
            ("wslink_bin42", Some(42)),
            ("wslink_bin18446744073709551615", Some(u64::MAX)),
            ("wslink_bin18446744073709551616", None),
            ("wslink_bin", None),
            ("wslink_bin01", None),
            ("wslink_bin00", None),
            ("wslink_bin+1", None),
            ("wslink_bin-1", None),
            ("wslink_bin1 ", None),
            (" wslink_bin1", None),
            ("wslink_bin1x", None),
            ("Wslink_bin1", None),
            ("wslink_bin\u{661}", None),
            ("", None),
        ];
        for (text, key) in cases {
            assert_eq!(attachment_key(text), key, "{text}");
        }
    }

    #[test]
    fn attachments_take_the_place_of_their_names() {
        let mut text = *br#"{"wslink_bin0" : "wslink_bin0","b":["wslink_bin7", "\u0077slink_bin1"
            ,"wslink_bin01",{"wslink_bin1":"wslink_bin1"},"wslink_bin18446744073709551615"] } "#;
        clean(&mut text, 8).unwrap();
        let mut asked = Vec::new();
        let mut lookup = |key| {
            asked.push(key);
            // Nothing in an attachment's place is taken for text: 0x22 is a quote.
            match key {
                0 => Some((0, 0x22)),
                1 => Some((0x22, 2)),
                u64::MAX => Some((0x24, 0)),
                _ => None,
            }
        };
        resolve(&mut text, &mut lookup);
        // What is resolved stays so, and what is not may be later.
        resolve(&mut text, &mut lookup);
        assert_eq!(asked, [0, 7, 1, 1, u64::MAX, 7]);

        let attachments: Vec<u8> = (0..0x24).collect();
        let value = Value::new(Dialect::V1, &text, &attachments);
        let entries: Vec<_> = value.entries().collect();
        assert_eq!(entries[0].0, "wslink_bin0");
        assert_eq!(entries[0].1.as_bytes(), Some(&attachments[..0x22]));
        let items: Vec<_> = entries[1].1.items().collect();
        assert_eq!(items[0].as_str(), Some("wslink_bin7"));
        assert_eq!(items[1].deserialize(), Ok(&[0x22_u8, 0x23][..]));
        assert_eq!(items[2].as_str(), Some("wslink_bin01"));
        let (key, last) = items[3].entries().next().unwrap();
        assert_eq!((key, last.as_bytes()), ("wslink_bin1", Some(&[0x22, 0x23][..])));
        assert_eq!(items[4].as_bytes(), Some(&[][..]));

        let value = Value::new(Dialect::V1, &text, &[]);
        assert_eq!(value.entries().count(), 0, "attachments that are not there");
    }

    #[test]
    fn a_bare_attachment() {
        let mut text = *b"\"wslink_bin3\"";
        clean(&mut text, 0).unwrap();
        resolve(&mut text, &mut |_| Some((1, 2)));
        assert_eq!(&text, b"\xfe\x01\0\0\0\x02\0\0\0    ");
        let value = Value::new(Dialect::V1, &text, b"abcd");
        assert_eq!(value.deserialize(), Ok(&b"bc"[..]));
    }

    proptest! {
        #[test]
        fn resolve_never_panics(
            mut bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), Just(b'"'), Just(STRING_END), Just(ATTACHMENT)], 0..64),
            place in 0_usize..64,
            offset in any::<u32>(),
        ) {
            let place = place.min(bytes.len());
            bytes.splice(place..place, *b"\"wslink_bin1\xff ");
            resolve(&mut bytes, &mut |_| Some((offset, offset)));
        }

        #[test]
        fn the_fast_scans_find_what_slow_ones_do(bytes in prop::collection::vec(
            prop_oneof![8 => 0x1E_u8..=0x80, 1 => any::<u8>(), 1 => Just(STRING_END)], 0..64)
        ) {
            let plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
            prop_assert_eq!(plain_run(&bytes), bytes.iter().take_while(plain).count());
            let end = bytes.iter().position(|byte| *byte == STRING_END);
            prop_assert_eq!(until_string_end(&bytes).map(<[u8]>::len), end);
        }
    }
}
