//! From the engine's frames to the transport.

use super::Peer;
use crate::Lent;
use crate::frame::{MAX_HEADER, header_len, write_header};
use crate::shared::now;
use core::future::poll_fn;
use core::mem::take;
use core::pin::pin;
use core::task::Poll;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embedded_io_async::Write;
use wslink_core::{Blob, Body, Memory, Service};

/// What the stage was filled with.
struct Filled<B> {
    /// Where it begins in the stage, and ends.
    start: usize,
    end: usize,
    /// That was all there is.
    all: bool,
    /// What follows it, and lies in memory.
    tail: Option<Tail<B>>,
}

/// Bytes of a blob that go to the transport from where they lie.
struct Tail<B> {
    blob: B,
    at: usize,
    len: usize,
}

impl<B: Blob> Tail<B> {
    fn new(blob: &B, offset: u64, len: usize) -> Option<Self> {
        let at = usize::try_from(offset).ok()?;
        blob.as_slice()?.get(at..)?.get(..len)?;
        Some(Self { blob: blob.clone(), at, len })
    }

    fn bytes(&self) -> Option<&[u8]> {
        self.blob.as_slice()?.get(self.at..)?.get(..self.len)
    }
}

impl<'m, S, M, const PEERS: usize, const CALLS: usize, R> Peer<'_, 'm, S, M, PEERS, CALLS, R>
where
    S: Service,
    M: Memory<Buffer = Lent<'m>, Blob = S::Blob>,
    R: RawMutex,
{
    /// Writes what the engine has to send, until it is over and all has left.
    pub(super) async fn write(&self, mut tx: impl Write, stage: &mut [u8]) {
        let mut filled = Filled { start: 0, end: 0, all: false, tail: None };
        loop {
            poll_fn(|_| {
                // Unless the engine was asked just now, and had nothing more.
                let drained = take(&mut filled.all);
                (filled.start, filled.end) = (0, 0);
                filled.tail = None;
                if !drained {
                    self.fill(stage, &mut filled);
                }
                if filled.end > 0 {
                    return Poll::Ready(());
                }
                filled.all = false;
                if self.is_over() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            if filled.end == 0 {
                return;
            }
            self.progress.set(true);
            let mut done = filled.start;
            loop {
                let rest = match &filled.tail {
                    _ if done < filled.end => stage.get(done..filled.end),
                    Some(tail) => tail.bytes().and_then(|bytes| bytes.get(done - filled.end..)),
                    None => break,
                };
                let rest = rest.unwrap_or_default();
                let written = {
                    let mut write = pin!(tx.write(rest));
                    let all = &mut filled.all;
                    poll_fn(|cx| {
                        let polled = write.as_mut().poll(cx);
                        let mut conn = self.conn.borrow_mut();
                        match polled {
                            Poll::Pending => {
                                conn.handle_blocked(now());
                                *all = false;
                            }
                            Poll::Ready(_) => conn.handle_written(),
                        }
                        polled
                    })
                    .await
                };
                match written {
                    Ok(count @ 1..) => done += count,
                    Ok(0) | Err(_) => {
                        self.conn.borrow_mut().handle_eof();
                        return;
                    }
                }
                if done >= filled.end + filled.tail.as_ref().map_or(0, |tail| tail.len) {
                    break;
                }
            }
        }
    }

    /// Copies frames to the stage, whole ones as long as they fit. Of one whose blob lies in memory
    /// only what stands before that.
    #[inline(never)]
    fn fill(&self, stage: &mut [u8], filled: &mut Filled<M::Blob>) {
        self.stirred.set(true);
        loop {
            // The lock is given back for blobs that are made on the fly: that is the user's code,
            // and may take its time.
            let mut later = None;
            let more = self.server.shared.hub(|hub| {
                let mut conn = self.conn.borrow_mut();
                while later.is_none() {
                    let is_empty = filled.end == 0;
                    if !is_empty && stage.len() - filled.end <= MAX_HEADER {
                        return false;
                    }
                    let now = now();
                    let Some(transmit) = conn.poll_transmit(now, hub) else {
                        filled.all = true;
                        return false;
                    };
                    let starts = transmit.taken == 0;
                    let header = if starts { header_len(transmit.len) } else { 0 };
                    let front = header + transmit.head.len();
                    if let Body::Bytes(bytes) = transmit.body
                        && is_empty
                    {
                        // Copies go by words where both ends are aligned alike.
                        let place = stage.as_ptr().addr() + front;
                        let shift = bytes.as_ptr().addr().wrapping_sub(place) % 4;
                        let fits = shift + header + transmit.len <= stage.len();
                        filled.start = if fits { shift } else { 0 };
                        filled.end = filled.start;
                    }
                    let room = stage.get_mut(filled.end..).unwrap_or_default();
                    let tail = match transmit.body {
                        Body::Blob { blob, offset, len } if front > 0 && front <= room.len() => {
                            Tail::new(blob, offset, len)
                        }
                        _ => None,
                    };
                    let fits = header + (transmit.len - transmit.taken) <= room.len();
                    // What does not fit waits until the stage is empty, and goes in pieces then.
                    if !is_empty && !fits && tail.is_none() || room.len() <= header {
                        return false;
                    }
                    if starts {
                        let mut bytes = [0; MAX_HEADER];
                        let (opcode, fin) = (transmit.opcode, transmit.fin);
                        let count = write_header(opcode, fin, transmit.len, &mut bytes);
                        room[..count].copy_from_slice(&bytes[..count]);
                    }
                    let room = &mut room[header..];
                    let mut count = copy(transmit.head, room);
                    filled.end += header + count;
                    if let Some(tail) = tail {
                        count += tail.len;
                        filled.tail = Some(tail);
                    } else if count == transmit.head.len() {
                        let room = &mut room[count..];
                        let part = match transmit.body {
                            Body::Bytes(bytes) => copy(bytes, room),
                            Body::Blob { blob, offset, len: most } => {
                                let part = most.min(room.len());
                                let at = filled.end;
                                later = (part > 0).then(|| (blob.clone(), offset, at..at + part));
                                part
                            }
                            _ => 0,
                        };
                        count += part;
                        filled.end += part;
                    }
                    if conn.advance(now, count).is_err() {
                        return false;
                    }
                    self.sent.set(self.sent.get().wrapping_add(1));
                    if filled.tail.is_some() {
                        return false;
                    }
                }
                true
            });
            if let Some((blob, offset, range)) = later {
                read_blob(&blob, offset, stage.get_mut(range).unwrap_or_default());
            }
            if !more {
                return;
            }
        }
    }
}

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let count = from.len().min(to.len());
    to[..count].copy_from_slice(&from[..count]);
    count
}

fn read_blob<B: Blob>(blob: &B, mut offset: u64, mut into: &mut [u8]) {
    while !into.is_empty() {
        let count = blob.read(offset, into).min(into.len());
        if count == 0 {
            // It is shorter than it said, and its length was announced.
            return into.fill(0);
        }
        offset += count as u64;
        into = into.split_at_mut(count).1;
    }
}
