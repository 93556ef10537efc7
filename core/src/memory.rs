//! What a connection's memory is made of: the caller decides, once, by a type.

use crate::Blob;
use core::marker::PhantomData;

/// Bytes that the caller lends to a connection or a hub.
///
/// A device lends a `&'static mut [u8]` or an array; a desktop a buffer that grows when the
/// engine asks. The engine asks only for bytes that it is about to fill, never for what a peer
/// merely claims.
pub trait Buffer: AsRef<[u8]> + AsMut<[u8]> {
    /// The length that [`grow`](Self::grow) can reach; by default what there is.
    fn capacity(&self) -> usize {
        self.as_ref().len()
    }

    /// Makes the buffer at least `len` bytes long, keeping its content. The engine never asks for
    /// more than [`capacity`](Self::capacity), nor for more than
    /// [`Limits::receive_bytes`](crate::Limits::receive_bytes) or
    /// [`transmit_bytes`](crate::Limits::transmit_bytes).
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

impl<T, const N: usize> Table<T> for heapless::Vec<T, N> {
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
/// caller: there is one engine, whoever owns the memory.
pub trait Memory {
    /// Bytes under reassembly and bytes waiting to be sent.
    type Buffer: Buffer;
    /// What an outgoing attachment is.
    type Blob: Blob;
    /// Calls, pending messages, publications and the attachments of one message.
    type Table<T>: Table<T>;
}

/// Memory of fixed size, for devices: buffers `B`, blobs `A`, and `N` entries in each table.
///
/// ```
/// use wslink_core::{Connection, Fixed, Hub};
///
/// type Device = Fixed<&'static mut [u8], &'static [u8], 4>;
/// type Peer = Connection<Device>;
/// type Shared = Hub<Device>;
/// ```
#[derive(Debug)]
pub struct Fixed<B, A, const N: usize>(PhantomData<(B, A)>);

impl<B: Buffer, A: Blob, const N: usize> Memory for Fixed<B, A, N> {
    type Buffer = B;
    type Blob = A;
    type Table<T> = heapless::Vec<T, N>;
}
