//! What happened, line by line.

use core::fmt::{self, Write as _};
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
/// A frame that is not the last of its message has `..` behind its opcode. A 2.x chunk is shown as
/// `#message offset/total`, with messages numbered as they come in each direction, and what is in a
/// message at the chunk that completes it. Binary data is `bin(length, digest)`, the digest being
/// the first 8 hex digits of its SHA-256.
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
        for Line { at, client, way, text } in &self.lines {
            if *way == Way::Note {
                writeln!(f, "-- {text}")?;
                continue;
            }
            let sign = match way {
                Way::Up => '>',
                Way::Down => '<',
                _ => '*',
            };
            write!(f, "{:>6} ", at.as_millis())?;
            if self.several {
                write!(f, "{} ", char::from(b'A' + *client as u8 % 26))?;
            }
            f.write_char(sign)?;
            writeln!(f, " {text}")?;
        }
        Ok(())
    }
}
