//! What happened, line by line.

use core::fmt;
use core::str::FromStr;
use wslink_core::Instant;

/// Which way something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a client to the server.
    Up,
    /// From the server to a client.
    Down,
    /// Something that happened within the server.
    Event,
    /// A remark of the test.
    Note,
}

/// A frame or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Instant,
    /// At which client's connection, by the order of connecting.
    pub client: usize,
    /// Which way.
    pub way: Way,
    /// The frame with what is in it, or the event.
    pub text: String,
}

/// What passed between the ends of a [`Pair`](crate::Pair) and what happened in the server: one
/// line each. Its `Display` is made for snapshots: the time in milliseconds, the client if there
/// are several, `>` for frames to the server, `<` for frames from it, `*` for events.
///
/// ```text
///     0 > text {"wslink": "1.0", "id": "system:c0:0", ..}
///     0 * hello accepted
///     0 < text {"wslink": "1.0", "id": "system:c0:0", "result": {"clientID": "c00.."}}
/// ```
/// A line about one of several clients has their name before the sign: `A` to `Z`, then `AA`.
///
/// A frame that is not the last of its message has `..` behind its opcode. A 2.x chunk is shown as
/// `#message offset/total`, with messages numbered as they come in each direction, and what is in a
/// message at the chunk that completes it. Binary data is `bin(length, digest)`, the digest being
/// the first 8 hex digits of its SHA-256. Text of more than 200 bytes is `str("beginning".., length,
/// digest)`, an extension of MessagePack `ext(type, length, digest)`.
///
/// What is written so can be read again ([`FromStr`](core::str::FromStr), then [`Line::message`]). Bytes of which only
/// length and digest are told have to be kept elsewhere: [`Val::visit_kept`](crate::Val::visit_kept) names them.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    lines: Vec<Line>,
    several: bool,
}

impl Transcript {
    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The texts of the events of a connection, in order.
    pub fn events(&self, client: usize) -> impl Iterator<Item = &str> {
        let of_client = move |line: &&Line| line.client == client && line.way == Way::Event;
        self.lines.iter().filter(of_client).map(|line| line.text.as_str())
    }

    /// From now on lines tell which client they are about.
    pub(crate) const fn name_clients(&mut self) {
        self.several = true;
    }

    pub(crate) fn clear(&mut self) {
        self.lines.clear();
    }

    pub(crate) fn push(&mut self, at: Instant, client: usize, way: Way, text: String) {
        self.lines.push(Line { at, client, way, text });
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{}", line.shown(self.several)))
    }
}

impl Line {
    /// The line as it stands in a transcript, without its end; with the client's name if there
    /// are `several`.
    #[must_use]
    pub const fn shown(&self, several: bool) -> Shown<'_> {
        Shown { line: self, several }
    }
}

/// See [`Line::shown`].
#[derive(Debug)]
pub struct Shown<'a> {
    line: &'a Line,
    several: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { at, client, way, text } = self.line;
        let sign = match way {
            Way::Note => return write!(f, "-- {text}"),
            Way::Up => '>',
            Way::Down => '<',
            Way::Event => '*',
        };
        write!(f, "{:>6} ", at.as_millis())?;
        if self.several {
            write!(f, "{} ", client_name(*client))?;
        }
        write!(f, "{sign} {text}")
    }
}

/// What a client is called in a transcript of several, by the order of connecting from 0.
#[must_use]
pub fn client_name(client: usize) -> String {
    let last = char::from(b'A' + (client % 26) as u8);
    match client / 26 {
        0 => last.to_string(),
        more => client_name(more - 1) + &last.to_string(),
    }
}

fn client_number(name: &str) -> Option<usize> {
    let digit = |c: char| c.is_ascii_uppercase().then(|| c as usize - 'A' as usize + 1);
    let number = name
        .chars()
        .try_fold(0_usize, |number, c| number.checked_mul(26)?.checked_add(digit(c)?))?;
    number.checked_sub(1)
}

/// A line that no [`Transcript`] has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotALine {
    /// Which, counted from 1.
    pub number: usize,
}

impl fmt::Display for NotALine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is no line of a transcript", self.number)
    }
}

impl core::error::Error for NotALine {}

impl FromStr for Transcript {
    type Err = NotALine;

    fn from_str(text: &str) -> Result<Self, NotALine> {
        let mut transcript = Self::default();
        for (nth, line) in text.lines().enumerate() {
            let (line, named) = read_line(line).ok_or(NotALine { number: nth + 1 })?;
            transcript.several |= named;
            transcript.lines.push(line);
        }
        Ok(transcript)
    }
}

/// The line, and whether it names its client.
fn read_line(line: &str) -> Option<(Line, bool)> {
    if let Some(text) = line.strip_prefix("-- ") {
        let line =
            Line { at: Instant::from_millis(0), client: 0, way: Way::Note, text: text.into() };
        return Some((line, false));
    }
    let (at, rest) = line.trim_start().split_once(' ')?;
    let at = Instant::from_millis(at.parse().ok()?);
    let (name, rest) = match rest.split_once(' ')? {
        (name, rest) if name.starts_with(|c: char| c.is_ascii_uppercase()) => (Some(name), rest),
        _ => (None, rest),
    };
    let client = name.map_or(Some(0), client_number)?;
    let (sign, text) = rest.split_once(' ')?;
    let way = match sign {
        ">" => Way::Up,
        "<" => Way::Down,
        "*" => Way::Event,
        _ => return None,
    };
    Some((Line { at, client, way, text: text.to_owned() }, name.is_some()))
}
