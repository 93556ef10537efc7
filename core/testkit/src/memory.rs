//! Memory for tests: grows as asked and panics if it is asked for more than was agreed.

use core::marker::PhantomData;
use wslink_core::{Blob, Buffer, Memory, Table};

/// Memory on the heap, with blobs `B`. Tables grow without end: the counts are bounded by the
/// limits of the [`Config`](wslink_core::Config).
#[derive(Debug)]
pub struct Heap<B>(PhantomData<B>);

impl<B: Blob> Memory for Heap<B> {
    type Buffer = HeapBuffer;
    type Blob = B;
    type Calls<T> = HeapTable<T>;
    type Messages<T> = HeapTable<T>;
    type Blobs = HeapTable<B>;
    type Topics<T> = HeapTable<T>;
    type Publications<T> = HeapTable<T>;
    type Peers<T> = HeapTable<T>;
}

/// Bytes on the heap: all of them from the start, as on a device, or growing as on a desktop.
#[derive(Debug)]
pub struct HeapBuffer {
    bytes: Vec<u8>,
    capacity: usize,
    growing: bool,
}

impl HeapBuffer {
    /// A buffer that is there as a whole.
    pub fn fixed(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity], capacity, growing: false }
    }

    /// A buffer that begins empty and grows up to `capacity`.
    pub const fn growing(capacity: usize) -> Self {
        Self { bytes: Vec::new(), capacity, growing: true }
    }
}

impl AsRef<[u8]> for HeapBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for HeapBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Buffer for HeapBuffer {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn grow(&mut self, len: usize) {
        let most = self.capacity;
        assert!(len <= most, "the engine asked for {len} bytes of a buffer of at most {most}");
        if self.growing && len > self.bytes.len() {
            self.bytes.resize(len, 0);
        }
    }

    fn release(&mut self) {
        if self.growing {
            self.bytes = Vec::new();
        }
    }
}

/// A list on the heap.
#[derive(Debug)]
pub struct HeapTable<T>(Vec<T>);

impl<T> Default for HeapTable<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> AsRef<[T]> for HeapTable<T> {
    fn as_ref(&self) -> &[T] {
        &self.0
    }
}

impl<T> AsMut<[T]> for HeapTable<T> {
    fn as_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> Table<T> for HeapTable<T> {
    fn capacity(&self) -> usize {
        usize::MAX
    }

    fn push(&mut self, item: T) -> Result<(), T> {
        self.0.push(item);
        Ok(())
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        (index < self.0.len()).then(|| self.0.remove(index))
    }

    fn swap_remove(&mut self, index: usize) -> Option<T> {
        (index < self.0.len()).then(|| self.0.swap_remove(index))
    }
}
