//! The serde deserializer over the tokens of either dialect.

use core::fmt::{self, Write as _};

use serde::de::{
    self, DeserializeSeed, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::value::{Left, Reader, Token};
use super::{MAX_DEPTH, Malformed, MalformedKind, json};

/// Why a value could not be read as the wanted type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are no value; never in a [`Value`](super::Value), which is checked.
    Malformed(Malformed),
    /// A list or map has more items than the type takes.
    TooMany,
    /// The value is not what the type wants; in serde's words.
    Unfit(Reason),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(fault) => write!(f, "malformed at byte {}", fault.at),
            Self::TooMany => f.write_str("more items than expected"),
            Self::Unfit(reason) => f.write_str(reason.as_str()),
        }
    }
}

impl core::error::Error for DecodeError {}

impl From<Malformed> for DecodeError {
    fn from(fault: Malformed) -> Self {
        Self::Malformed(fault)
    }
}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let mut reason = Reason::default();
        // Fails where the text is cut, which is what `Reason` promises.
        let _ = write!(reason, "{message}");
        Self::Unfit(reason)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("invalid type: {}, expected {expected}", Brief(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("invalid value: {}, expected {expected}", Brief(found)))
    }
}

/// A text of at most 95 bytes; what is longer is cut between two characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    bytes: [u8; 95],
    len: u8,
}

impl Reason {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

impl Default for Reason {
    fn default() -> Self {
        Self { bytes: [0; 95], len: 0 }
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Write for Reason {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(usize::from(self.len)..).unwrap_or_default();
        let mut fits = text.len().min(room.len());
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        for (place, byte) in room.iter_mut().zip(text.bytes().take(fits)) {
            *place = byte;
        }
        self.len = self.len.saturating_add(u8::try_from(fits).unwrap_or(u8::MAX));
        if fits < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Leaves a long text out, so that what was expected still fits the [`Reason`].
struct Brief<'a>(Unexpected<'a>);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Str(text) if text.len() > 24 => {
                write!(f, "string of {} bytes", text.len())
            }
            found => found.fmt(f),
        }
    }
}

/// Reads a type from tokens. It descends as deep as the value is, which is bounded where the value
/// was checked.
pub(crate) struct Decoder<'de> {
    reader: Reader<'de>,
    depth: usize,
}

impl<'de> Decoder<'de> {
    pub(crate) const fn new(reader: Reader<'de>) -> Self {
        Self { reader, depth: 0 }
    }

    fn token<V: Visitor<'de>>(
        &mut self,
        token: Token<'de>,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match token {
            Token::Null => visitor.visit_unit(),
            Token::Bool(value) => visitor.visit_bool(value),
            Token::Int(value) => visitor.visit_i64(value),
            Token::Uint(value) => visitor.visit_u64(value),
            Token::Float(value) => visitor.visit_f64(value),
            Token::Str(text) => visitor.visit_borrowed_str(text),
            Token::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Token::Seq(count) => {
                self.nested(count, |items: &mut Nested<'_, 'de>| visitor.visit_seq(items))
            }
            Token::Map(count) => {
                self.nested(count, |items: &mut Nested<'_, 'de>| visitor.visit_map(items))
            }
            Token::Ext(..) | Token::End => Err(unfit(&token, &visitor)),
        }
    }

    fn nested<T>(
        &mut self,
        count: Option<u32>,
        read: impl FnOnce(&mut Nested<'_, 'de>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.depth >= MAX_DEPTH {
            let at = self.reader.offset();
            return Err(Malformed { at, kind: MalformedKind::TooDeep }.into());
        }
        self.depth += 1;
        let mut items = Nested { decoder: self, left: Left(count) };
        let value = read(&mut items)?;
        items.finish()?;
        self.depth -= 1;
        Ok(value)
    }

    fn text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.reader.next()? {
            Token::Str(text) => visitor.visit_borrowed_str(text),
            other => Err(unfit(&other, &visitor)),
        }
    }

    fn bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.reader.next()? {
            token @ (Token::Bytes(_) | Token::Seq(_)) => self.token(token, visitor),
            other => Err(unfit(&other, &visitor)),
        }
    }

    fn unit<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.reader.next()? {
            Token::Null => visitor.visit_unit(),
            other => Err(unfit(&other, &visitor)),
        }
    }
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let token = self.reader.next()?;
        self.token(token, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let mut ahead = self.reader;
        if ahead.next()? == Token::Null {
            self.reader = ahead;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.reader.next()? {
            Token::Str(variant) => visitor.visit_enum(UnitVariant(variant)),
            Token::Map(count) => self.nested(count, |items: &mut Nested<'_, 'de>| {
                if items.has_next()? {
                    visitor.visit_enum(items)
                } else {
                    Err(de::Error::invalid_value(Unexpected::Map, &"map with a single key"))
                }
            }),
            other => Err(unfit(&other, &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.reader.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.unit(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.unit(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.text(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.text(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.text(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.bytes(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.bytes(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64
        seq tuple tuple_struct map struct
    }
}

fn unfit(found: &Token<'_>, expected: &dyn Expected) -> DecodeError {
    let found = match *found {
        Token::Null => Unexpected::Unit,
        Token::Bool(value) => Unexpected::Bool(value),
        Token::Int(value) => Unexpected::Signed(value),
        Token::Uint(value) => Unexpected::Unsigned(value),
        Token::Float(value) => Unexpected::Float(value),
        Token::Str(text) => Unexpected::Str(text),
        Token::Bytes(bytes) => Unexpected::Bytes(bytes),
        Token::Ext(..) => Unexpected::Other("extension type"),
        Token::Seq(_) => Unexpected::Seq,
        Token::Map(_) => Unexpected::Map,
        Token::End => Unexpected::Other("end of a list or map"),
    };
    de::Error::invalid_type(found, expected)
}

/// What is in a list or map. For an enum, the one entry of its map, whose key comes next.
struct Nested<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    left: Left,
}

impl Nested<'_, '_> {
    fn has_next(&mut self) -> Result<bool, DecodeError> {
        Ok(self.decoder.reader.has_next(&mut self.left)?)
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        if self.has_next()? { Err(DecodeError::TooMany) } else { Ok(()) }
    }

    /// Each item has a byte at least, so that nothing grows by what a peer claims.
    fn at_most(&self) -> Option<usize> {
        let count = usize::try_from(self.left.0?).ok()?;
        Some(count.min(self.decoder.reader.remaining()))
    }
}

impl<'de> SeqAccess<'de> for &mut Nested<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        if self.has_next()? { seed.deserialize(&mut *self.decoder).map(Some) } else { Ok(None) }
    }

    fn size_hint(&self) -> Option<usize> {
        self.at_most()
    }
}

impl<'de> MapAccess<'de> for &mut Nested<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        if !self.has_next()? {
            return Ok(None);
        }
        match self.decoder.reader.next()? {
            Token::Str(key) => seed.deserialize(Key(key)).map(Some),
            other => Err(unfit(&other, &"a string as key")),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        seed.deserialize(&mut *self.decoder)
    }

    fn size_hint(&self) -> Option<usize> {
        self.at_most()
    }
}

impl<'de> EnumAccess<'de> for &mut Nested<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self), DecodeError> {
        let variant = seed.deserialize(&mut *self.decoder)?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Nested<'_, 'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        de::Deserialize::deserialize(&mut *self.decoder)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        seed.deserialize(&mut *self.decoder)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        de::Deserializer::deserialize_any(&mut *self.decoder, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        de::Deserializer::deserialize_any(&mut *self.decoder, visitor)
    }
}

/// A variant that has nothing but its name.
struct UnitVariant<'de>(&'de str);

impl<'de> EnumAccess<'de> for UnitVariant<'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self), DecodeError> {
        Ok((seed.deserialize(Key(self.0))?, self))
    }
}

impl<'de> VariantAccess<'de> for UnitVariant<'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        _seed: T,
    ) -> Result<T::Value, DecodeError> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &"newtype variant"))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        _visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &"tuple variant"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &"struct variant"))
    }
}

/// The key of a map: a string, out of which numbers and booleans are read where they are wanted.
struct Key<'de>(&'de str);

impl<'de> Key<'de> {
    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match json::number(self.0.as_bytes()) {
            Some(Token::Int(value)) => visitor.visit_i64(value),
            Some(Token::Uint(value)) => visitor.visit_u64(value),
            Some(Token::Float(value)) => visitor.visit_f64(value),
            _ => visitor.visit_borrowed_str(self.0),
        }
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.number(visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Key<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            other => visitor.visit_borrowed_str(other),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(UnitVariant(self.0))
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}
