//! Any value of either dialect, owned, and binary data that shares the message's bytes.

use bytes::Bytes;
use core::cell::RefCell;
use core::fmt;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

std::thread_local! {
    /// The frame that is being read.
    static FRAME: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Runs `read`, in which [`Binary`] shares the bytes of `frame` that it finds.
pub(super) fn sharing<T>(frame: Option<Bytes>, read: impl FnOnce() -> T) -> T {
    struct Back(Option<Bytes>);
    impl Drop for Back {
        fn drop(&mut self) {
            let before = self.0.take();
            FRAME.with(|it| *it.borrow_mut() = before);
        }
    }
    let _back = Back(FRAME.with(|it| it.replace(frame)));
    read()
}

fn shared(bytes: &[u8]) -> Bytes {
    FRAME.with(|frame| {
        let frame = frame.borrow();
        let whole = frame.as_deref().unwrap_or_default().as_ptr_range();
        let part = bytes.as_ptr_range();
        match &*frame {
            Some(frame) if whole.start <= part.start && part.end <= whole.end => {
                frame.slice_ref(bytes)
            }
            _ => Bytes::copy_from_slice(bytes),
        }
    })
}

/// Binary data of an answer or a publication, and of arguments.
///
/// Read, it shares the bytes of the WebSocket message, where that holds the whole 2.x message;
/// what was put together from several, and the attachments of 1.x, are copied once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Binary(pub Bytes);

impl core::ops::Deref for Binary {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Bytes>> From<T> for Binary {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Own;

        impl<'de> Visitor<'de> for Own {
            type Value = Binary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("binary data")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Binary, E> {
                Ok(Binary(shared(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Binary, E> {
                Ok(Binary(Bytes::copy_from_slice(bytes)))
            }
        }

        deserializer.deserialize_bytes(Own)
    }
}

/// Any value: for whoever does not know the types of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Null.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// An integer that an `i64` holds.
    Int(i64),
    /// An integer above [`i64::MAX`].
    Uint(u64),
    /// A number with a fraction, or beyond 64 bits.
    Float(f64),
    /// Text.
    Str(String),
    /// Binary data.
    Binary(Bytes),
    /// A list.
    List(Vec<Self>),
    /// A map, in the order of the message.
    Map(Vec<(String, Self)>),
}

impl Value {
    /// What stands in a map under `key`.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Uint(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Str(text) => serializer.serialize_str(text),
            Self::Binary(bytes) => serializer.serialize_bytes(bytes),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
                inner.deserialize_any(self)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Int(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(i64::try_from(value).map_or(Value::Uint(value), Value::Int))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Float(value))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Str(text.to_owned()))
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Value, E> {
                Ok(Value::Binary(shared(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
                Ok(Value::Binary(Bytes::copy_from_slice(bytes)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Value::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Value::Map(entries))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wslink_core::wire;

    #[test]
    fn binary_data_shares_the_frame_in_which_it_lies() {
        let frame = Bytes::from_static(b"\x91\xc4\x03abc");
        let value = wire::Value::check_msgpack(&frame, 4).unwrap();
        let read = |frame| sharing(frame, || value.deserialize::<(Binary,)>().unwrap().0);
        let shared = read(Some(frame.clone()));
        assert_eq!((&*shared, shared.as_ptr()), (&b"abc"[..], frame[3..].as_ptr()));
        // Of another frame, or of none, it is a copy.
        for other in [None, Some(Bytes::from_static(b"other"))] {
            let copied = read(other);
            assert_eq!(&*copied, b"abc");
            assert_ne!(copied.as_ptr(), frame[3..].as_ptr());
        }
        let any = sharing(Some(frame.clone()), || value.deserialize::<Value>().unwrap());
        assert_eq!(any, Value::List(vec![Value::Binary(Bytes::from_static(b"abc"))]));
    }
}
