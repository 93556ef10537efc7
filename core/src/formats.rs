//! What defmt prints of the types whose `Debug` is written by hand: the same text, made on the
//! device; and names, short enough for lines of a log. The others derive it.

use crate::client::{Caller, Client, TypedCall};
use crate::wire::ser::Compound;
use crate::wire::{Reader, Reason, Value, Writer};
use crate::{
    CallId, Connection, Cx, Entropy, Hello, Hub, Instant, Memory, PeerId, Publications, Secret,
    Topic,
};
use defmt::{Debug2Format, Format, Formatter, write};

macro_rules! like_debug {
    ($([$($generics:tt)*] $type:ty,)*) => {$(
        impl<$($generics)*> Format for $type {
            fn format(&self, fmt: Formatter<'_>) {
                write!(fmt, "{}", Debug2Format(self));
            }
        }
    )*};
}

like_debug! {
    [M: Memory] Connection<M>,
    [M: Memory] Client<M>,
    [M: Memory] Hub<M>,
    [B] Cx<'_, B>,
    [B] Publications<'_, B>,
    [B: core::fmt::Debug] crate::Pipe<B>,
    [] crate::Upload<'_>,
    [T: ?Sized] Topic<T>,
    [] Entropy,
    [] Hello<'_>,
    [] Instant,
    [] Reader<'_>,
    [] Reason,
    [] Secret<'_>,
    [] Value<'_>,
    [C: Caller + ?Sized, A, K, T] TypedCall<'_, C, A, K, T>,
}

impl Format for PeerId {
    fn format(&self, fmt: Formatter<'_>) {
        write!(fmt, "peer {}", self.0);
    }
}

impl Format for CallId {
    fn format(&self, fmt: Formatter<'_>) {
        write!(fmt, "call {}", self.0);
    }
}

impl Format for Writer<'_> {
    fn format(&self, fmt: Formatter<'_>) {
        write!(fmt, "Writer({})", self.dialect());
    }
}

impl Format for Compound<'_, '_> {
    fn format(&self, fmt: Formatter<'_>) {
        write!(fmt, "Compound");
    }
}
