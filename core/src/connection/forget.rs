//! What a client lets go of: upstream's servers, and ours, leave messages unfinished and
//! attachments unnamed, and such a remainder must not fill the memory for good.

use super::chunks::ChunkHeader;
use super::inbound::{AttachmentState, Inbound, position};
use crate::arena::Span;
use crate::{Instant, Limits, Memory};

impl<M: Memory> Inbound<M> {
    /// Forgets the unfinished 2.x messages whose last chunk came at or before `until`; gives how
    /// many they were.
    pub(crate) fn forget_pending(&mut self, until: Instant) -> usize {
        let mut count = 0;
        while let Some(index) = position(self.store.pending(), |it| it.touched() <= until) {
            self.forget_nth(index);
            count += 1;
        }
        count
    }

    /// Sees to it that a chunk finds a place in the table: if it begins a message and there are too
    /// many already, the one that has waited longest is forgotten. Tells whether one was.
    pub(crate) fn make_way(&mut self, chunk: &[u8], limits: &Limits) -> bool {
        let Some((header, content)) = ChunkHeader::read(chunk) else { return false };
        let pending = self.store.pending();
        let whole = header.offset == 0 && header.total as usize == content.len();
        let known = pending.iter().any(|it| it.id == header.id);
        if whole || known || !self.store.is_full_of_pending(limits.pending) {
            return false;
        }
        let oldest = (0..pending.len()).min_by_key(|index| pending[*index].touched());
        oldest.map(|index| self.forget_nth(index)).is_some()
    }

    /// Forgets the attachment that has waited longest to be named, and tells whether there was one.
    pub(crate) fn forget_attachment(&mut self) -> bool {
        let waiting = |it: &super::inbound::Attachment| {
            matches!(it.state, AttachmentState::Complete | AttachmentState::Refused(..))
        };
        let index = position(self.store.attachments(), waiting);
        index.and_then(|index| self.store.remove_attachment(index)).is_some()
    }

    /// Whether `len` more bytes find room.
    pub(crate) fn has_room_for(&mut self, len: usize) -> bool {
        self.arena.alloc(len, &mut self.store).is_some()
    }

    /// Of each 2.x message of which the beginning has come: what has come of it without a gap, how
    /// many bytes have come in all, and how many there are.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (&[u8], u32, u32)> {
        self.store.pending().iter().filter_map(|message| {
            let stretch = self.ranges.as_ref().iter().find(|it| it.begins(message.id))?;
            let span = Span { start: message.span.start, len: stretch.len() };
            Some((span.of(self.arena.bytes()), message.received, message.total))
        })
    }

    fn forget_nth(&mut self, index: usize) {
        if let Some(message) = self.store.remove_pending(index) {
            self.forget(message.id);
        }
    }
}
