//! What all connections of a server share: publications, encoded once, in a ring.

mod members;

pub(crate) use members::Tally;

use crate::arena::{Arena, Span, Spans};
use crate::envelope::write_publication;
use crate::wire::{Dialect, Segments, Writer};
use crate::{
    Audience, Blob, Buffer, Encode, Entropy, Limit, LimitExceeded, Memory, PeerId, Policy,
    PublishError, Table, TopicInfo,
};
use core::fmt;
use members::{Count, Members};

/// What a [`Hub`] may hold. The first three make it pass over the oldest publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct HubLimits {
    /// Encoded bytes, at most what the buffer holds.
    pub bytes: u32,
    /// Bytes of attached blobs.
    pub blob_bytes: u64,
    /// Publications, at most what the memory's tables hold.
    pub publications: u16,
    /// Encoded bytes of the retained values, at most what their buffer holds.
    pub retained_bytes: u32,
}

impl HubLimits {
    /// For hosts with a heap.
    pub const fn desktop() -> Self {
        Self { bytes: 4 << 20, blob_bytes: 64 << 20, publications: 1024, retained_bytes: 16 << 20 }
    }

    /// For devices; blobs there are mostly flash or made on the fly, and cost nothing.
    pub const fn device() -> Self {
        Self { bytes: 4096, blob_bytes: u64::MAX, publications: 8, retained_bytes: 1024 }
    }
}

/// The memory that a hub is lent.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HubBuffers<B> {
    /// The ring of publications.
    pub publications: B,
    /// The last values of retained topics.
    pub retained: B,
}

/// The publications of a server.
///
/// Each is encoded once for each dialect that an authenticated peer speaks, and kept until newer
/// ones need its place. A connection holds a position in the ring and pulls when it can send, so a
/// peer that reads slowly costs nothing and delays nobody; what the ring or a topic's [`Policy`]
/// passed over in the meantime is reported ([`Event::Lagged`](crate::Event::Lagged)).
pub struct Hub<M: Memory> {
    limits: HubLimits,
    session: Entropy,
    topics: &'static [TopicInfo],
    /// One for each topic, and one for all that were not declared.
    states: M::Topics<TopicState>,
    buffer: M::Buffer,
    /// Publication `n` is at `n % capacity`.
    entries: M::Publications<Entry<M>>,
    /// Number of the oldest one that is kept, and of the next one.
    first: u64,
    next: u64,
    /// Where the next one is written.
    head: u32,
    blob_bytes: u64,
    retained: Retained<M>,
    /// Number of the next 1.x attachment key, counting over the server's life as upstream.
    next_key: u64,
    next_peer: u64,
    members: Members<M>,
    /// How many of them speak each dialect.
    peers: [u32; 2],
}

/// What has become of a topic.
#[derive(Clone, Copy, Debug, Default)]
struct TopicState {
    /// Of what is for all, or for all but one.
    tally: Tally,
    /// Number of the newest publication.
    newest: u64,
    /// Peers that want this topic, and whether the service has been told of that.
    listeners: u32,
    told: bool,
}

/// A message that is shared by all its readers.
struct Entry<M: Memory> {
    topic: u16,
    number: u64,
    audience: Audience,
    encodings: [Option<Encoding>; 2],
    blobs: M::Blobs,
    blob_bytes: u64,
}

#[derive(Clone, Copy)]
struct Encoding {
    span: Span,
    text_len: u32,
    /// Where the digit of the id stands that tells a retained value.
    mark: u32,
}

/// The last values of retained topics, each in both dialects.
struct Retained<M: Memory> {
    arena: Arena<M::Buffer>,
    values: Values<M>,
}

struct Values<M: Memory>(M::Topics<Entry<M>>);

impl<M: Memory> Spans for Values<M> {
    fn each(&mut self, look: &mut dyn FnMut(&mut Span)) {
        let encodings = self.0.as_mut().iter_mut().flat_map(|it| it.encodings.iter_mut());
        encodings.flatten().for_each(|encoding| look(&mut encoding.span));
    }
}

/// Names a publication for a connection that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the ring.
    Ring(u64),
    /// The retained value of a topic, as long as it has this number.
    Retained { topic: u16, number: u64 },
}

/// Whether a publication is for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    No,
    IfWanted,
    /// For this peer alone, under a topic that it cannot subscribe to.
    InAnyCase,
}

/// A publication as a connection sees it.
pub(crate) struct View<'a, B> {
    pub(crate) message: Segments<'a>,
    pub(crate) blobs: &'a [B],
    pub(crate) mark: u32,
}

const DIALECTS: [Dialect; 2] = [Dialect::V1, Dialect::V2];

const fn slot(dialect: Dialect) -> usize {
    match dialect {
        Dialect::V1 => 0,
        Dialect::V2 => 1,
    }
}

impl<M: Memory> Hub<M> {
    /// An empty hub for the topics of a service. `session` tells this start of the server from
    /// others ([`describe`](crate#built-in-methods)).
    ///
    /// # Errors
    /// If the memory's tables cannot hold a state for each topic and one more.
    pub fn new(
        limits: HubLimits,
        topics: &'static [TopicInfo],
        session: Entropy,
        buffers: HubBuffers<M::Buffer>,
    ) -> Result<Self, LimitExceeded> {
        let mut states = M::Topics::<TopicState>::default();
        for _ in 0..=topics.len() {
            states.push(TopicState::default()).map_err(|_| {
                let (needed, available) = (topics.len() as u64 + 1, states.capacity() as u64);
                LimitExceeded::new(Limit::Topics, needed, available)
            })?;
        }
        Ok(Self {
            limits,
            session,
            topics,
            states,
            buffer: buffers.publications,
            entries: M::Publications::default(),
            first: 0,
            next: 0,
            head: 0,
            blob_bytes: 0,
            retained: Retained {
                arena: Arena::new(buffers.retained, limits.retained_bytes),
                values: Values(M::Topics::default()),
            },
            next_key: 0,
            next_peer: 0,
            members: Members::default(),
            peers: [0; 2],
        })
    }

    /// A name for a new connection.
    pub fn next_peer(&mut self) -> PeerId {
        self.next_peer = self.next_peer.wrapping_add(1);
        PeerId(self.next_peer)
    }

    /// How many peers are authenticated.
    pub fn peers(&self) -> usize {
        self.peers.iter().map(|count| *count as usize).sum()
    }

    /// A topic that has got its first listener (true) or lost its last one (false) since the last
    /// call. Peers that never subscribe listen to everything.
    pub fn poll_listened(&mut self) -> Option<(&'static str, bool)> {
        for (info, state) in self.topics.iter().zip(self.states.as_mut()) {
            let listened = state.listeners > 0;
            if state.told != listened {
                state.told = listened;
                return Some((info.name, listened));
            }
        }
        None
    }

    /// Publishes what `encode` writes: it is called once for each dialect in use, and again when
    /// room had to be made first. Older publications are passed over as far as needed. What is for
    /// one peer is not retained, and dropped if that peer is not there.
    ///
    /// # Errors
    /// If the value cannot be serialized, or would not fit the empty hub; nothing is published,
    /// though older publications may be gone.
    pub fn publish(
        &mut self,
        topic: &'static str,
        audience: Audience,
        blobs: &[M::Blob],
        encode: &Encode<'_>,
    ) -> Result<(), PublishError> {
        let index = self.topic(topic);
        let declared = self.info(index);
        let retained = match audience {
            Audience::Only(peer) if self.members.get(peer).is_none() => return Ok(()),
            Audience::Only(_) => false,
            _ => declared.is_some_and(|info| info.retained),
        };
        if self.peers() == 0 && !retained {
            return Ok(());
        }
        let mut kept = M::Blobs::default();
        for blob in blobs {
            kept.push(blob.clone()).map_err(|_| {
                let (needed, available) = (blobs.len() as u64, kept.capacity() as u64);
                PublishError::TooLarge(LimitExceeded::new(Limit::Attachments, needed, available))
            })?;
        }
        let blob_bytes = blobs.iter().map(Blob::len).fold(0, u64::saturating_add);
        let available = self.limits.blob_bytes;
        if blob_bytes > available {
            let exceeded = LimitExceeded::new(Limit::HubBlobBytes, blob_bytes, available);
            return Err(PublishError::TooLarge(exceeded));
        }
        while self.blob_bytes.saturating_add(blob_bytes) > available {
            self.evict();
        }
        while self.next - self.first >= self.capacity() {
            self.evict();
        }
        let before = self.head;
        let mut encodings = self.encode_all(topic, retained, blobs, encode);
        // The first encoding may have come to lie where it leaves no room for the second.
        if matches!(encodings, Err(PublishError::TooLarge(_))) && self.first == self.next {
            self.head = 0;
            encodings = self.encode_all(topic, retained, blobs, encode);
        }
        let mut entry = Entry {
            topic: index,
            number: self.next,
            audience,
            encodings: encodings?,
            blobs: kept,
            blob_bytes,
        };
        if retained && let Err(exceeded) = self.retain(&entry) {
            self.head = before;
            return Err(PublishError::TooLarge(exceeded));
        }
        // Whoever joins later is not sent what is in the ring by then; it would be counted wrongly.
        if matches!(audience, Audience::Except(peer) if self.members.get(peer).is_none()) {
            entry.audience = Audience::All;
        }
        self.append(entry);
        Ok(())
    }

    fn append(&mut self, entry: Entry<M>) {
        self.blob_bytes = self.blob_bytes.saturating_add(entry.blob_bytes);
        self.states.as_mut()[usize::from(entry.topic)].newest = self.next;
        self.count(entry.topic, entry.audience, |tally| &mut tally.published);
        let index = self.index(self.next);
        match self.entries.as_mut().get_mut(index) {
            Some(old) => *old = entry,
            // The table has room: `capacity` is at most its own.
            None => _ = self.entries.push(entry),
        }
        self.next += 1;
    }

    /// Keeps a copy for those who join later, in place of the topic's last.
    fn retain(&mut self, entry: &Entry<M>) -> Result<(), LimitExceeded> {
        let Retained { arena, values } = &mut self.retained;
        let old = values.0.as_ref().iter().position(|it| it.topic == entry.topic);
        let len = |it: &Entry<M>| -> usize {
            it.encodings.iter().flatten().map(|encoding| encoding.span.len as usize).sum()
        };
        let others: usize =
            values.0.as_ref().iter().filter(|it| it.topic != entry.topic).map(len).sum();
        let needed = others + len(entry);
        if needed > arena.capacity() {
            let (needed, available) = (needed as u64, arena.capacity() as u64);
            return Err(LimitExceeded::new(Limit::HubRetainedBytes, needed, available));
        }
        let mut copy = Entry {
            encodings: [None; 2],
            blobs: M::Blobs::default(),
            audience: entry.audience,
            ..*entry
        };
        for blob in entry.blobs.as_ref() {
            // As many as the entry has.
            _ = copy.blobs.push(blob.clone());
        }
        let full = LimitExceeded::new(Limit::Topics, 1, 0);
        let place = match old {
            Some(place) => {
                values.0.as_mut()[place] = copy;
                place
            }
            None => {
                values.0.push(copy).map_err(|_| full)?;
                values.0.as_ref().len() - 1
            }
        };
        for (dialect, encoding) in entry.encodings.iter().enumerate() {
            let Some(encoding) = encoding else { continue };
            // It fits: that was checked for both.
            let span = arena.alloc(encoding.span.len as usize, values).ok_or(full)?;
            let bytes = encoding.span.of(self.buffer.as_ref());
            span.of_mut(arena.bytes_mut()).copy_from_slice(bytes);
            values.0.as_mut()[place].encodings[dialect] = Some(Encoding { span, ..*encoding });
        }
        Ok(())
    }

    /// Writes one encoding for each dialect in use.
    fn encode_all(
        &mut self,
        topic: &str,
        retained: bool,
        blobs: &[M::Blob],
        encode: &Encode<'_>,
    ) -> Result<[Option<Encoding>; 2], PublishError> {
        let before = self.head;
        let mut encodings: [Option<Encoding>; 2] = [None; 2];
        for dialect in DIALECTS {
            if self.peers[slot(dialect)] == 0 && !retained {
                continue;
            }
            let staged = encodings.iter().flatten().next().map(|it| it.span.start);
            match self.encode(dialect, staged, topic, blobs, encode) {
                Ok(encoding) => encodings[slot(dialect)] = Some(encoding),
                Err(error) => {
                    self.head = before;
                    return Err(error);
                }
            }
        }
        Ok(encodings)
    }

    /// Writes one encoding into the ring, passing over old publications until it fits.
    fn encode(
        &mut self,
        dialect: Dialect,
        staged: Option<u32>,
        topic: &str,
        blobs: &[M::Blob],
        encode: &Encode<'_>,
    ) -> Result<Encoding, PublishError> {
        let most = (self.limits.bytes as usize).min(self.buffer.capacity());
        if self.buffer.as_ref().len() < most {
            self.buffer.grow(most);
        }
        let most = most.min(self.buffer.as_ref().len());
        let lens = |index: u32| Some(blobs.get(index as usize)?.len());
        // Try what room there is; the writer then knows how much it takes.
        let mut needed = 0;
        loop {
            let (start, end) = self.gap(needed, staged, most);
            let room = self.buffer.as_mut().get_mut(start..end).unwrap_or(&mut []);
            let mut writer = Writer::new(dialect, room, self.next_key, &lens);
            let mark = write_publication(&mut writer, topic, encode)
                .map_err(PublishError::Unserializable)?;
            match writer.finish() {
                Ok(encoded) => {
                    let total = u64::from(encoded.text_len) + encoded.blob_bytes;
                    if dialect == Dialect::V2 && u32::try_from(total).is_err() {
                        let exceeded = LimitExceeded::new(Limit::Total, total, u32::MAX.into());
                        return Err(PublishError::TooLarge(exceeded));
                    }
                    self.head = (start as u32).saturating_add(encoded.len);
                    if dialect == Dialect::V1 {
                        self.next_key += u64::from(encoded.places);
                    }
                    let span = Span { start: start as u32, len: encoded.len };
                    return Ok(Encoding { span, text_len: encoded.text_len, mark });
                }
                Err(overflow) => {
                    needed = overflow.needed;
                    while {
                        let (start, end) = self.gap(needed, staged, most);
                        end - start < needed
                    } {
                        if !self.evict() {
                            return Err(PublishError::TooLarge(LimitExceeded::new(
                                Limit::HubBytes,
                                needed as u64,
                                most as u64,
                            )));
                        }
                    }
                }
            }
        }
    }

    /// The stretch of the ring in which `needed` bytes fit, or else the one behind the newest.
    fn gap(&self, needed: usize, staged: Option<u32>, most: usize) -> (usize, usize) {
        let oldest =
            self.entry(self.first).and_then(|entry| entry.encodings.iter().flatten().next());
        let Some(tail) = oldest.map(|it| it.span.start).or(staged) else { return (0, most) };
        let (head, tail) = (self.head as usize, tail as usize);
        if head <= tail {
            (head, tail)
        } else if most - head < needed && tail >= needed {
            (0, tail)
        } else {
            (head, most)
        }
    }

    /// Passes over the oldest publication; false if there is none.
    fn evict(&mut self) -> bool {
        if self.first == self.next {
            return false;
        }
        let index = self.index(self.first);
        if let Some(entry) = self.entries.as_mut().get_mut(index) {
            self.blob_bytes = self.blob_bytes.saturating_sub(entry.blob_bytes);
            entry.blobs = M::Blobs::default();
            entry.encodings = [None; 2];
            let (topic, audience) = (entry.topic, entry.audience);
            self.count(topic, audience, |tally| &mut tally.evicted);
        }
        self.first += 1;
        true
    }

    /// Counts a publication for all whom it concerns.
    fn count(&mut self, topic: u16, audience: Audience, count: Count) {
        let undeclared = self.info(topic).is_none();
        let state = &mut self.states.as_mut()[usize::from(topic)];
        // Where it does not count for the topic it counts for the peer, and the other way round.
        let (peer, personal, more) = match audience {
            Audience::All => return state.tally.add(count, 1),
            Audience::Only(peer) => (peer, undeclared, 1),
            Audience::Except(peer) => {
                state.tally.add(count, 1);
                (peer, false, u32::MAX)
            }
        };
        let Some(member) = self.members.get_mut(peer) else { return };
        let tally = if personal { Some(&mut member.personal) } else { member.apart_mut(topic) };
        if let Some(tally) = tally {
            tally.add(count, more);
        }
    }

    fn capacity(&self) -> u64 {
        u64::from(self.limits.publications).min(self.entries.capacity() as u64).max(1)
    }

    fn index(&self, number: u64) -> usize {
        (number % self.capacity()) as usize
    }

    fn entry(&self, number: u64) -> Option<&Entry<M>> {
        (self.first..self.next).contains(&number).then(|| self.index(number))?;
        self.entries.as_ref().get(self.index(number))
    }

    /// Number of the oldest publication in the ring, and of the next one.
    pub(crate) const fn range(&self) -> (u64, u64) {
        (self.first, self.next)
    }

    /// The topic of a publication in the ring, and whether it is for `peer`.
    pub(crate) fn heading(&self, number: u64, peer: PeerId) -> Option<(u16, Due)> {
        let Entry { topic, audience, .. } = *self.entry(number)?;
        let due = match audience {
            _ if !audience.includes(peer) => Due::No,
            Audience::Only(_) if self.info(topic).is_none() => Due::InAnyCase,
            _ => Due::IfWanted,
        };
        Some((topic, due))
    }

    /// Number of the newest publication of a topic for `peer`, if it is in the ring and not older
    /// than `since`. Looks at the ring from behind: at one publication, unless newer ones of the
    /// topic are for others.
    pub(crate) fn newest(&self, topic: u16, peer: PeerId, since: u64) -> Option<u64> {
        let newest = self.states.as_ref().get(usize::from(topic))?.newest;
        let mine = |number: &u64| self.heading(*number, peer) == Some((topic, Due::IfWanted));
        (since.max(self.first)..=newest).rev().find(mine)
    }

    /// Number of the retained value of a topic, if it is for `peer`.
    pub(crate) fn retained(&self, topic: u16, peer: PeerId) -> Option<u64> {
        let mut values = self.retained.values.0.as_ref().iter();
        let entry = values.find(|entry| entry.topic == topic)?;
        entry.audience.includes(peer).then_some(entry.number)
    }

    /// How many publications of a topic were for `peer`, those aside that it is sent in any case.
    pub(crate) fn tally(&self, topic: u16, peer: PeerId) -> Tally {
        let state = self.states.as_ref().get(usize::from(topic)).copied().unwrap_or_default();
        let member = self.members.get(peer);
        state.tally.plus(member.map_or_else(Tally::default, |member| member.apart(topic)))
    }

    /// How many publications `peer` is sent in any case.
    pub(crate) fn personal(&self, peer: PeerId) -> Tally {
        self.members.get(peer).map_or_else(Tally::default, |member| member.personal)
    }

    /// A publication for `peer`: `None` if it is gone, not for this peer, or older than the first
    /// peer of this dialect.
    pub(crate) fn view(
        &self,
        place: Place,
        dialect: Dialect,
        peer: PeerId,
    ) -> Option<View<'_, M::Blob>> {
        let (entry, bytes) = match place {
            Place::Ring(number) => (self.entry(number)?, self.buffer.as_ref()),
            Place::Retained { topic, number } => {
                let mut values = self.retained.values.0.as_ref().iter();
                let entry = values.find(|it| it.topic == topic && it.number == number)?;
                (entry, self.retained.arena.bytes())
            }
        };
        let Encoding { span, text_len, mark } =
            entry.encodings[slot(dialect)].filter(|_| entry.audience.includes(peer))?;
        let message = Segments::new(dialect, text_len, span.of(bytes));
        Some(View { message, blobs: entry.blobs.as_ref(), mark })
    }

    /// How many topics there are; the undeclared ones are the last.
    pub(crate) fn topics(&self) -> u16 {
        self.states.as_ref().len() as u16
    }

    /// The topic of that index; `None` for the undeclared ones.
    pub(crate) fn info(&self, topic: u16) -> Option<&'static TopicInfo> {
        self.topics.get(usize::from(topic))
    }

    pub(crate) fn policy(&self, topic: u16) -> Policy {
        self.info(topic).map(|info| info.policy).unwrap_or_default()
    }

    fn topic(&self, name: &str) -> u16 {
        let index = self.topics.iter().position(|info| info.name == name);
        index.unwrap_or(self.topics.len()) as u16
    }

    pub(crate) const fn session(&self) -> Entropy {
        self.session
    }

    /// A peer wants a topic, or does not any more.
    pub(crate) fn listen(&mut self, topic: usize, wanted: bool) {
        if let Some(state) = self.states.as_mut().get_mut(topic) {
            state.listeners = if wanted {
                state.listeners.saturating_add(1)
            } else {
                state.listeners.saturating_sub(1)
            };
        }
    }

    pub(crate) const fn next_key(&self) -> u64 {
        self.next_key
    }

    /// Takes `count` keys.
    pub(crate) const fn use_keys(&mut self, count: u32) {
        self.next_key += count as u64;
    }

    /// # Errors
    /// There are as many peers as the memory's table of them holds.
    pub(crate) fn has_place(&self) -> Result<(), LimitExceeded> {
        self.members.has_place()
    }

    /// A peer was authenticated, for which there is a place.
    pub(crate) fn join(&mut self, peer: PeerId, dialect: Dialect) {
        if self.members.join(peer) {
            self.peers[slot(dialect)] += 1;
        }
    }

    /// An authenticated peer is gone.
    pub(crate) fn leave(&mut self, peer: PeerId, dialect: Dialect) {
        if self.members.leave(peer) {
            self.peers[slot(dialect)] = self.peers[slot(dialect)].saturating_sub(1);
        }
    }
}

impl<M: Memory> fmt::Debug for Hub<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("peers", &self.peers())
            .field("publications", &(self.next - self.first))
            .finish_non_exhaustive()
    }
}
