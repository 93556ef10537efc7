//! Binary data that is sent by reference, and how values name it.

use core::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// Name under which an [`Attachment`] passes through serde to the [`Writer`](crate::wire::Writer),
/// as a unit variant of this enum; no Rust type can be called so.
pub(crate) const ATTACHMENT: &str = "$wslink::Attachment";

/// Bytes that are sent by reference: flash, shared memory, or made on the fly.
///
/// A blob is never copied as a whole. It is asked for its length once, when the message that
/// names it is encoded, and for its bytes piece by piece, when the transport has room. Several
/// connections may read their clones at different paces, and a piece may be asked for again, so
/// the length and the bytes at an offset never change.
///
/// Everything that is already bytes is a blob. For the rest:
///
/// ```
/// use wslink_core::Blob;
///
/// /// A saw tooth that is longer than the memory of the device that sends it.
/// #[derive(Clone)]
/// struct Saw;
///
/// impl Blob for Saw {
///     fn len(&self) -> u64 {
///         1 << 20
///     }
///
///     fn read(&self, offset: u64, into: &mut [u8]) -> usize {
///         let rest = self.len().saturating_sub(offset);
///         let count = into.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
///         for (byte, at) in into.iter_mut().zip(offset..).take(count) {
///             *byte = at as u8;
///         }
///         count
///     }
/// }
///
/// let mut piece = [0; 4];
/// assert_eq!(Saw.read(254, &mut piece), 4);
/// assert_eq!(piece, [254, 255, 0, 1]);
/// assert_eq!(Saw.read(1 << 20, &mut piece), 0);
/// ```
pub trait Blob: Clone {
    /// How many bytes there are.
    fn len(&self) -> u64;

    /// Copies bytes from `offset` on into the front of `into` and says how many. Fewer than
    /// `into` has room for means the end; at or behind the end that is 0.
    fn read(&self, offset: u64, into: &mut [u8]) -> usize;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of the bytes, when they lie in memory: then they are sent without a copy.
    fn as_slice(&self) -> Option<&[u8]> {
        None
    }
}

impl<T: AsRef<[u8]> + Clone> Blob for T {
    fn len(&self) -> u64 {
        self.as_ref().len() as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.as_ref().get(offset..))
            .unwrap_or_default();
        let count = rest.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        count
    }

    fn as_slice(&self) -> Option<&[u8]> {
        Some(self.as_ref())
    }
}

/// The blob of services that attach nothing: there is no value of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NoBlob {}

impl Blob for NoBlob {
    fn len(&self) -> u64 {
        match *self {}
    }

    fn read(&self, _offset: u64, _into: &mut [u8]) -> usize {
        match *self {}
    }
}

/// The key that stands in a value for a blob that is attached to its message.
///
/// It serializes wherever a value may stand: in wslink 1.x as the string `wslink_bin<n>`, in 2.x
/// as a `bin`. The same key may stand in several places. It cannot be the key of a map.
///
/// ```
/// use serde::Serialize;
/// use wslink_core::Attachment;
/// use wslink_core::wire::{Dialect, Writer};
///
/// #[derive(Serialize)]
/// struct Trace {
///     rate: u32,
///     samples: Attachment,
/// }
///
/// let mut buffer = [0; 64];
/// let mut writer = Writer::new(Dialect::V1, &mut buffer, 7, &|_| Some(1024));
/// writer.value(&Trace { rate: 8, samples: Attachment::nth(0) }).unwrap();
/// let encoded = writer.finish().unwrap();
/// assert_eq!(&buffer[..encoded.text_len as usize], br#"{"rate":8,"samples":"wslink_bin7"}"#);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Attachment(u32);

impl Attachment {
    /// The key of the blob that was attached to this message as the `index`-th, from 0.
    pub const fn nth(index: u32) -> Self {
        Self(index)
    }

    /// Which blob of its message this is, from 0.
    pub const fn index(self) -> u32 {
        self.0
    }
}

impl Serialize for Attachment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit_variant(ATTACHMENT, self.0, "wslink_attachment")
    }
}

/// Bytes that stand in a value themselves, borrowed in both directions.
///
/// Written, they are copied into the message: what is small or short-lived goes best so, and
/// needs no blob. Read, they are the bytes of a 2.x `bin` or of a 1.x attachment.
///
/// ```
/// use wslink_core::Binary;
/// use wslink_core::wire::{Dialect, Writer};
///
/// let mut buffer = [0; 8];
/// let mut writer = Writer::new(Dialect::V2, &mut buffer, 0, &|_| None);
/// writer.value(&Binary(&[1, 2])).unwrap();
/// let encoded = writer.finish().unwrap();
/// assert_eq!(&buffer[..encoded.len as usize], [0xc4, 2, 1, 2]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Binary<'a>(pub &'a [u8]);

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Binary<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;

        impl<'de> Visitor<'de> for Borrowed {
            type Value = Binary<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("binary data")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Binary(bytes))
            }
        }

        deserializer.deserialize_bytes(Borrowed)
    }
}
