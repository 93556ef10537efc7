//! Who is there, and by how much what was published to one peer differs from what was to all.

use crate::{Limit, LimitExceeded, Memory, PeerId, Table};

/// Publications of a topic, counted from the start. Both counts wrap: what matters is how far
/// they are apart, and from what a peer has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) published: u32,
    /// Those of them that the ring has passed over.
    pub(crate) evicted: u32,
}

/// One of the counts of a tally.
pub(super) type Count = fn(&mut Tally) -> &mut u32;

impl Tally {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            published: self.published.wrapping_add(other.published),
            evicted: self.evicted.wrapping_add(other.evicted),
        }
    }

    pub(super) fn add(&mut self, count: Count, more: u32) {
        let count = count(self);
        *count = count.wrapping_add(more);
    }
}

/// The authenticated peers, in the order of their names.
pub(super) struct Members<M: Memory>(M::Peers<Member<M>>);

pub(super) struct Member<M: Memory> {
    peer: PeerId,
    /// By how much its tallies differ from those of the topics; as many as were needed so far.
    apart: M::Topics<Tally>,
    /// Of what was for this peer alone under topics that were not declared: it is sent in any case,
    /// so it is counted on its own.
    pub(super) personal: Tally,
}

impl<M: Memory> Default for Members<M> {
    fn default() -> Self {
        Self(M::Peers::default())
    }
}

impl<M: Memory> Members<M> {
    pub(super) fn has_place(&self) -> Result<(), LimitExceeded> {
        let (peers, available) = (self.0.as_ref().len(), self.0.capacity());
        if peers < available {
            return Ok(());
        }
        Err(LimitExceeded::new(Limit::Peers, peers as u64 + 1, available as u64))
    }

    /// Whether it was not there, and there was a place.
    pub(super) fn join(&mut self, peer: PeerId) -> bool {
        let Err(place) = self.find(peer) else { return false };
        let member = Member { peer, apart: M::Topics::default(), personal: Tally::default() };
        let joined = self.0.push(member).is_ok();
        if joined {
            self.0.as_mut()[place..].rotate_right(1);
        }
        joined
    }

    /// Whether it was there.
    pub(super) fn leave(&mut self, peer: PeerId) -> bool {
        self.find(peer).is_ok_and(|place| self.0.remove(place).is_some())
    }

    pub(super) fn get(&self, peer: PeerId) -> Option<&Member<M>> {
        self.0.as_ref().get(self.find(peer).ok()?)
    }

    pub(super) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Member<M>> {
        let place = self.find(peer).ok()?;
        self.0.as_mut().get_mut(place)
    }

    fn find(&self, peer: PeerId) -> Result<usize, usize> {
        self.0.as_ref().binary_search_by_key(&peer, |member| member.peer)
    }
}

impl<M: Memory> Member<M> {
    pub(super) fn apart(&self, topic: u16) -> Tally {
        self.apart.as_ref().get(usize::from(topic)).copied().unwrap_or_default()
    }

    pub(super) fn apart_mut(&mut self, topic: u16) -> Option<&mut Tally> {
        let topic = usize::from(topic);
        // The hub's own table, of the same memory, holds as many.
        while self.apart.as_ref().len() <= topic && self.apart.push(Tally::default()).is_ok() {}
        self.apart.as_mut().get_mut(topic)
    }
}
