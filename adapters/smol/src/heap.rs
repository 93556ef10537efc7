//! Memory that grows, for machines with a heap.

use core::marker::PhantomData;
use wslink_core::{Blob, Buffer, Memory, Table};

/// Memory of a connection and a hub that grows as far as
/// [`Limits`](wslink_core::Limits) and [`HubLimits`](wslink_core::HubLimits) allow, and shrinks
/// when it is idle.
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

/// Bytes that grow by doubling.
#[derive(Debug, Default)]
pub struct HeapBuffer(Vec<u8>);

impl HeapBuffer {
    /// What an idle buffer may keep, so that small messages do not allocate anew.
    const KEPT: usize = 1 << 10;
    /// The first allocation.
    const SMALLEST: usize = 128;
}

impl AsRef<[u8]> for HeapBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for HeapBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Buffer for HeapBuffer {
    fn capacity(&self) -> usize {
        isize::MAX as usize
    }

    fn grow(&mut self, len: usize) {
        if len > self.0.len() {
            let len = len.max(2 * self.0.len()).max(Self::SMALLEST);
            if self.0.is_empty() {
                // Zeros that nobody has looked at yet cost the system nothing.
                self.0 = vec![0; len];
            } else {
                self.0.reserve_exact(len - self.0.len());
                self.0.resize(len, 0);
            }
        }
    }

    fn release(&mut self) {
        if self.0.len() > Self::KEPT {
            self.0 = Vec::new();
        }
    }
}

/// A list that grows.
#[derive(Debug)]
pub struct HeapTable<T>(Vec<T>);

impl<T> HeapTable<T> {
    /// An idle connection has many empty tables, and keeps nothing for them.
    fn shrink(&mut self) {
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }
}

impl<T> Default for HeapTable<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> From<Vec<T>> for HeapTable<T> {
    fn from(items: Vec<T>) -> Self {
        Self(items)
    }
}

impl<T> From<HeapTable<T>> for Vec<T> {
    fn from(table: HeapTable<T>) -> Self {
        table.0
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
        isize::MAX as usize
    }

    fn push(&mut self, item: T) -> Result<(), T> {
        self.0.push(item);
        Ok(())
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        let item = (index < self.0.len()).then(|| self.0.remove(index));
        self.shrink();
        item
    }

    fn swap_remove(&mut self, index: usize) -> Option<T> {
        let item = (index < self.0.len()).then(|| self.0.swap_remove(index));
        self.shrink();
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_in_steps_and_gives_back() {
        let mut buffer = HeapBuffer::default();
        buffer.grow(1);
        assert_eq!(buffer.as_ref().len(), HeapBuffer::SMALLEST);
        buffer.as_mut()[0] = 7;
        buffer.grow(HeapBuffer::SMALLEST + 1);
        assert_eq!(buffer.as_ref().len(), 2 * HeapBuffer::SMALLEST);
        buffer.grow(10_000);
        assert_eq!((buffer.as_ref().len(), buffer.as_ref()[0]), (10_000, 7));
        buffer.release();
        assert!(buffer.as_ref().is_empty());
    }
}
