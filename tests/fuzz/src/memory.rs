//! Memory that watches what is asked of it.

use core::cell::Cell;
use core::marker::PhantomData;
use std::rc::Rc;
use wslink_core::{Blob, Buffer, Memory};
use wslink_testkit::HeapTable;

/// What became of a buffer that a connection owns.
#[derive(Debug, Default)]
pub struct Meter {
    /// How long it is.
    pub len: Cell<usize>,
    /// The most by which it grew at once since this was last taken.
    pub grown: Cell<usize>,
}

/// Bytes, all of them from the start or growing up to a capacity.
#[derive(Debug)]
pub struct Buf {
    bytes: Vec<u8>,
    capacity: usize,
    /// The engine's own limit.
    limit: usize,
    growing: bool,
    meter: Rc<Meter>,
}

impl Buf {
    pub fn new(growing: bool, capacity: usize, limit: usize) -> Self {
        let bytes = if growing { Vec::new() } else { vec![0xaa; capacity] };
        let meter = Meter { len: Cell::new(bytes.len()), grown: Cell::new(0) };
        Self { bytes, capacity, limit, growing, meter: Rc::new(meter) }
    }

    pub fn meter(&self) -> Rc<Meter> {
        self.meter.clone()
    }
}

impl AsRef<[u8]> for Buf {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Buf {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Buffer for Buf {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn grow(&mut self, len: usize) {
        let most = self.capacity.min(self.limit);
        assert!(len <= most, "the engine asked for {len} bytes, {most} were agreed");
        let before = self.bytes.len();
        if self.growing && len > before {
            self.meter.grown.set(self.meter.grown.get().max(len - before));
            self.meter.len.set(len);
            self.bytes.resize(len, 0xaa);
        }
    }

    fn release(&mut self) {
        if self.growing {
            self.bytes = Vec::new();
            self.meter.len.set(0);
        }
    }
}

/// Memory with lists without end; `wslink_core::Fixed` is the other kind.
#[derive(Debug)]
pub struct Vecs<B>(PhantomData<B>);

impl<B: Blob> Memory for Vecs<B> {
    type Buffer = Buf;
    type Blob = B;
    type Calls<T> = HeapTable<T>;
    type Messages<T> = HeapTable<T>;
    type Blobs = HeapTable<B>;
    type Topics<T> = HeapTable<T>;
    type Publications<T> = HeapTable<T>;
    type Peers<T> = HeapTable<T>;
}
