//! What all connections of a server share: publications, encoded once, in a ring.

use crate::envelope::write_publication;
use crate::wire::{Dialect, Encoded, Segments, Writer};
use crate::{
    Audience, Blob, Buffer, Encode, Limit, LimitExceeded, Memory, PeerId, PublishError, Table,
};
use core::fmt;

/// What a [`Hub`] may hold; at least one of the three makes it pass over the oldest publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubLimits {
    /// Encoded bytes, at most what the buffer holds.
    pub bytes: u32,
    /// Bytes of attached blobs.
    pub blob_bytes: u64,
    /// Publications, at most what the memory's tables hold.
    pub publications: u16,
}

impl HubLimits {
    /// For hosts with a heap.
    pub const fn desktop() -> Self {
        Self { bytes: 4 << 20, blob_bytes: 64 << 20, publications: 1024 }
    }

    /// For devices; blobs there are mostly flash or made on the fly, and cost nothing.
    pub const fn device() -> Self {
        Self { bytes: 4096, blob_bytes: u64::MAX, publications: 8 }
    }
}

/// The publications of a server.
///
/// Each is encoded once for each dialect that an authenticated peer speaks, and kept until newer
/// ones need its place. A connection holds a position in the ring and pulls when it can send, so a
/// peer that reads slowly costs nothing and delays nobody; what the ring passed over in the
/// meantime is reported ([`Event::Lagged`](crate::Event::Lagged)).
pub struct Hub<M: Memory> {
    limits: HubLimits,
    buffer: M::Buffer,
    /// Publication `n` is at `n % capacity`.
    entries: M::Table<Entry<M>>,
    /// Number of the oldest one that is kept, and of the next one.
    first: u64,
    next: u64,
    /// Where the next one is written.
    head: u32,
    blob_bytes: u64,
    /// Number of the next 1.x attachment key, counting over the server's life as upstream.
    next_key: u64,
    next_peer: u64,
    listeners: [u32; 2],
}

struct Entry<M: Memory> {
    audience: Audience,
    encodings: [Option<Encoding>; 2],
    blobs: M::Table<M::Blob>,
    blob_bytes: u64,
}

#[derive(Clone, Copy)]
struct Encoding {
    start: u32,
    encoded: Encoded,
}

const DIALECTS: [Dialect; 2] = [Dialect::V1, Dialect::V2];

const fn slot(dialect: Dialect) -> usize {
    match dialect {
        Dialect::V1 => 0,
        Dialect::V2 => 1,
    }
}

impl<M: Memory> Hub<M> {
    /// An empty hub that keeps publications in `buffer`.
    pub fn new(limits: HubLimits, buffer: M::Buffer) -> Self {
        Self {
            limits,
            buffer,
            entries: M::Table::default(),
            first: 0,
            next: 0,
            head: 0,
            blob_bytes: 0,
            next_key: 0,
            next_peer: 0,
            listeners: [0; 2],
        }
    }

    /// A name for a new connection.
    pub fn next_peer(&mut self) -> PeerId {
        self.next_peer = self.next_peer.wrapping_add(1);
        PeerId(self.next_peer)
    }

    /// How many peers are authenticated.
    pub fn peers(&self) -> usize {
        self.listeners.iter().map(|count| *count as usize).sum()
    }

    /// Publishes what `encode` writes: it is called once for each dialect in use, and again when
    /// room had to be made first. Older publications are passed over as far as needed.
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
        if self.peers() == 0 {
            return Ok(());
        }
        let mut kept = M::Table::<M::Blob>::default();
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

        let encodings = match self.encode_all(topic, blobs, encode) {
            // The first encoding may have come to lie where it leaves no room for the second.
            Err(PublishError::TooLarge(_)) if self.first == self.next && self.head != 0 => {
                self.head = 0;
                self.encode_all(topic, blobs, encode)
            }
            result => result,
        }?;

        self.blob_bytes = self.blob_bytes.saturating_add(blob_bytes);
        let entry = Entry { audience, encodings, blobs: kept, blob_bytes };
        let index = self.index(self.next);
        match self.entries.as_mut().get_mut(index) {
            Some(old) => *old = entry,
            // The table has room: `capacity` is at most its own.
            None => _ = self.entries.push(entry),
        }
        self.next += 1;
        Ok(())
    }

    /// Writes one encoding for each dialect in use.
    fn encode_all(
        &mut self,
        topic: &str,
        blobs: &[M::Blob],
        encode: &Encode<'_>,
    ) -> Result<[Option<Encoding>; 2], PublishError> {
        let before = self.head;
        let mut encodings: [Option<Encoding>; 2] = [None; 2];
        for dialect in DIALECTS {
            if self.listeners[slot(dialect)] == 0 {
                continue;
            }
            let staged = encodings.iter().flatten().next().map(|it| it.start);
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
            write_publication(&mut writer, topic, encode).map_err(PublishError::Unserializable)?;
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
                    return Ok(Encoding { start: start as u32, encoded });
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
        let Some(tail) = oldest.map(|it| it.start).or(staged) else { return (0, most) };
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
            entry.blobs = M::Table::default();
            entry.encodings = [None; 2];
        }
        self.first += 1;
        true
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

    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Publication `number` for `peer`: `None` if it is gone, not for this peer, or older than the
    /// first peer of this dialect.
    pub(crate) fn publication(
        &self,
        number: u64,
        dialect: Dialect,
        peer: PeerId,
    ) -> Option<(Segments<'_>, &[M::Blob])> {
        let entry = self.entry(number).filter(|entry| entry.audience.includes(peer))?;
        let Encoding { start, encoded } = entry.encodings[slot(dialect)]?;
        let end = start.saturating_add(encoded.len);
        let bytes = self.buffer.as_ref().get(start as usize..end as usize)?;
        Some((Segments::new(dialect, encoded, bytes), entry.blobs.as_ref()))
    }

    pub(crate) const fn next_key(&self) -> u64 {
        self.next_key
    }

    /// Takes `count` keys.
    pub(crate) const fn use_keys(&mut self, count: u32) {
        self.next_key += count as u64;
    }

    /// A peer was authenticated.
    pub(crate) const fn join(&mut self, dialect: Dialect) {
        self.listeners[slot(dialect)] += 1;
    }

    /// An authenticated peer is gone.
    pub(crate) const fn leave(&mut self, dialect: Dialect) {
        self.listeners[slot(dialect)] = self.listeners[slot(dialect)].saturating_sub(1);
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
