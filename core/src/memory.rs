//! What a connection's memory is made of: the caller decides, once, by a type.

use crate::Blob;
use core::marker::PhantomData;

/// Bytes that the caller lends to a connection or a hub.
///
/// A device lends a `&'static mut [u8]` or an array; a desktop a buffer that grows when the
/// engine asks. A connection asks only for bytes that it is about to fill, never for what a peer
/// merely claims; a hub asks for its whole ring when it first publishes.
pub trait Buffer: AsRef<[u8]> + AsMut<[u8]> {
    /// The length that [`grow`](Self::grow) can reach; by default what there is.
    fn capacity(&self) -> usize {
        self.as_ref().len()
    }

    /// Makes the buffer at least `len` bytes long, keeping its content. The engine never asks for
    /// more than [`capacity`](Self::capacity), nor for more than the limit of that buffer:
    /// [`Limits::receive_bytes`](crate::Limits::receive_bytes),
    /// [`transmit_bytes`](crate::Limits::transmit_bytes),
    /// [`HubLimits::bytes`](crate::HubLimits::bytes) or
    /// [`retained_bytes`](crate::HubLimits::retained_bytes).
    fn grow(&mut self, len: usize) {
        let _ = len;
    }

    /// Tells that the content is no longer needed, so that memory may be given back.
    fn release(&mut self) {}
}

impl<const N: usize> Buffer for [u8; N] {}
impl Buffer for &mut [u8] {}

/// A list with a fixed or a growing capacity: `heapless::Vec` on devices, a `Vec` on desktops.
pub trait Table<T>: Default + AsRef<[T]> + AsMut<[T]> {
    /// How many items fit at most.
    fn capacity(&self) -> usize;

    /// Appends `item`, or gives it back when the table is full.
    ///
    /// # Errors
    /// The item, if the table is full.
    fn push(&mut self, item: T) -> Result<(), T>;

    /// Takes out the item at `index`, moving the later ones up; `None` past the end.
    fn remove(&mut self, index: usize) -> Option<T>;

    /// Takes out the item at `index`, putting the last in its place; `None` past the end.
    fn swap_remove(&mut self, index: usize) -> Option<T>;
}

impl<T, const N: usize, L: heapless::LenType> Table<T> for heapless::Vec<T, N, L> {
    fn capacity(&self) -> usize {
        N
    }

    fn push(&mut self, item: T) -> Result<(), T> {
        self.push(item)
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        (index < self.len()).then(|| self.remove(index))
    }

    fn swap_remove(&mut self, index: usize) -> Option<T> {
        (index < self.len()).then(|| self.swap_remove(index))
    }
}

/// The storage of a [`Connection`](crate::Connection) and of a [`Hub`](crate::Hub), chosen by the
/// caller: there is one engine, whoever owns the memory. Each pool has a table of its own kind, so
/// that each can have its own size.
pub trait Memory {
    /// Bytes under reassembly and bytes waiting to be sent.
    type Buffer: Buffer;
    /// What an outgoing attachment is.
    type Blob: Blob;
    /// Calls of a connection that run or whose answers are not yet sent.
    type Calls<T>: Table<T>;
    /// Incoming messages of a connection that are not complete, and attachments not yet called for.
    type Messages<T>: Table<T>;
    /// Attachments of one outgoing message.
    type Blobs: Table<Self::Blob>;
    /// Topics of a service, and one more for all that are not declared.
    type Topics<T>: Table<T>;
    /// Publications in the hub.
    type Publications<T>: Table<T>;
    /// Authenticated peers of the hub.
    type Peers<T>: Table<T>;
}

/// Memory of fixed size, for devices: buffers `B`, blobs `A`, and the size of each pool.
///
/// ```
/// use wslink_core::{Connection, Fixed, Hub};
///
/// // 2 calls side by side, 2 unfinished messages, 1 attachment, 3 topics, 8 publications, 3 peers.
/// type Device = Fixed<&'static mut [u8], &'static [u8], 2, 2, 1, 4, 8, 3>;
/// type Peer = Connection<Device>;
/// type Shared = Hub<Device>;
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Fixed<
    B,
    A,
    const CALLS: usize = 4,
    const MESSAGES: usize = 2,
    const BLOBS: usize = 1,
    const TOPICS: usize = 4,
    const PUBLICATIONS: usize = 8,
    const PEERS: usize = 4,
>(PhantomData<(B, A)>);

impl<
    B: Buffer,
    A: Blob,
    const CALLS: usize,
    const MESSAGES: usize,
    const BLOBS: usize,
    const TOPICS: usize,
    const PUBLICATIONS: usize,
    const PEERS: usize,
> Memory for Fixed<B, A, CALLS, MESSAGES, BLOBS, TOPICS, PUBLICATIONS, PEERS>
{
    type Buffer = B;
    type Blob = A;
    type Calls<T> = heapless::Vec<T, CALLS>;
    type Messages<T> = heapless::Vec<T, MESSAGES, u16>;
    type Blobs = heapless::Vec<A, BLOBS>;
    type Topics<T> = heapless::Vec<T, TOPICS>;
    type Publications<T> = heapless::Vec<T, PUBLICATIONS>;
    type Peers<T> = heapless::Vec<T, PEERS>;
}
