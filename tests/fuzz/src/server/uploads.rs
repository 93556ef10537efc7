//! An upload as a call reads it, and what has to be true of it.

use super::{Kind, Sent, Server, Tag};
use crate::request::pattern;
use std::collections::HashSet;
use wslink_core::{CallId, OpCode};

/// The call that reads, and what it has read.
#[derive(Debug)]
struct Reading {
    call: CallId,
    /// What the engine has said that there is.
    len: Option<u32>,
    bytes: Vec<u8>,
    /// It was answered before its request came, so that the rest is passed over.
    answered: bool,
}

#[derive(Debug, Default)]
pub(super) struct Uploads {
    reading: Option<Reading>,
    /// Lengths that well-behaved clients have sent.
    sent: HashSet<u32>,
}

/// What an upload of this length has: at each place another than one of another length.
pub(crate) fn content(len: u32) -> Vec<u8> {
    (0..len).map(|at| pattern(len, at.into())).collect()
}

impl<M: Kind> Server<M> {
    pub(crate) fn will_upload(&mut self, len: u32) {
        self.uploads.sent.insert(len);
    }

    /// A call has come that takes an upload.
    pub(super) fn begin_upload(&mut self, call: CallId, len: Option<u32>) {
        if let Some(before) = &self.uploads.reading {
            assert!(!self.connection.is_running(before.call), "two uploads at a time");
        }
        self.uploads.reading = Some(Reading { call, len, bytes: Vec::new(), answered: false });
    }

    /// The next piece of a frame, where the engine asks for pieces and the transport has them.
    pub(super) fn cut(&mut self, mut sent: Sent) -> Sent {
        let most = self.connection.piece_limit(sent.payload.len() as u64);
        let pieces = matches!(sent.opcode, OpCode::Binary | OpCode::Continuation);
        if !pieces || !self.setup.flowing || sent.payload.len() <= most {
            return sent;
        }
        let payload = sent.payload.split_off(most);
        let (opcode, tag) = (OpCode::Continuation, core::mem::take(&mut sent.tag));
        self.queue.push_front(Sent { opcode, fin: sent.fin, payload, tag });
        Sent { fin: false, tag: Tag::Part, ..sent }
    }

    /// Reads an upload, if there is one; some bytes of it, or all that are there.
    pub(crate) fn take_upload(&mut self, most: Option<u8>) {
        let mut buffer = vec![0; most.map_or(100, |most| usize::from(most) + 1)];
        while let Some((call, count)) = self.connection.poll_upload(&mut buffer) {
            assert!(self.connection.is_running(call), "bytes for a call that is over");
            let reading = self.uploads.reading.as_mut().expect("bytes that no call reads");
            assert_eq!(reading.call, call, "bytes of another call");
            reading.bytes.extend(&buffer[..count]);
            trace!("  read {count} bytes of {:?}", reading.len);
            if count == 0 {
                self.end_upload();
            }
            if most.is_some() {
                return;
            }
        }
    }

    /// A call was answered before its request came.
    pub(super) fn answered_early(&mut self, call: CallId) {
        if let Some(reading) = self.uploads.reading.as_mut().filter(|it| it.call == call) {
            reading.answered = true;
        }
    }

    fn end_upload(&mut self) {
        let Some(Reading { call, len, bytes, answered }) = self.uploads.reading.take() else {
            return;
        };
        if answered {
            return;
        }
        let got = bytes.len() as u32;
        assert!(len.is_none_or(|len| len == got), "{got} bytes of {len:?}");
        if self.tame {
            assert!(self.uploads.sent.contains(&got), "{got} bytes that nobody has sent");
            assert_eq!(bytes, content(got), "an upload with other bytes");
        }
        let held = self.held.iter_mut().find(|held| held.id == call);
        held.expect("it runs").ready = true;
    }
}
