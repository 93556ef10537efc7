//! serde's data model through the primitives of the [`Writer`], the same for both dialects.
//!
//! It is what serde_json does where that leaves a choice: structs are maps, an enum variant is
//! its name or a map of its name to what it holds, a tuple is a list. Map keys that are not
//! strings become strings in 2.x too, as upstream's JavaScript client cannot read others.

use core::fmt;

use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::Dialect;
use super::writer::{EncodeError, Open, Writer};
use crate::blob::ATTACHMENT;

type Result<T = ()> = core::result::Result<T, EncodeError>;

impl<'w, 'b> Serializer for &'w mut Writer<'b> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Compound<'w, 'b>;
    type SerializeTuple = Compound<'w, 'b>;
    type SerializeTupleStruct = Compound<'w, 'b>;
    type SerializeTupleVariant = Compound<'w, 'b>;
    type SerializeMap = Compound<'w, 'b>;
    type SerializeStruct = Compound<'w, 'b>;
    type SerializeStructVariant = Compound<'w, 'b>;

    fn serialize_bool(self, value: bool) -> Result {
        self.bool(value);
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result {
        self.int(value);
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result {
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => self.int(value),
            (_, Ok(value)) => self.uint(value),
            _ => return wide(self, &value),
        }
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result {
        self.uint(value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result {
        match u64::try_from(value) {
            Ok(value) => self.serialize_u64(value),
            Err(_) => wide(self, &value),
        }
    }

    fn serialize_f32(self, value: f32) -> Result {
        self.float32(value);
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result {
        self.float(value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result {
        self.str(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result {
        self.bytes(value);
        Ok(())
    }

    fn serialize_none(self) -> Result {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result {
        self.null();
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result {
        if name == ATTACHMENT { self.attachment(index) } else { self.serialize_str(variant) }
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result {
        let outer = self.begin_map(Some(1))?;
        self.key(variant);
        value.serialize(&mut *self)?;
        self.end(outer)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'w, 'b>> {
        let open = self.begin_seq(len)?;
        Ok(Compound { writer: self, open, variant: None })
    }

    fn serialize_tuple(self, len: usize) -> Result<Compound<'w, 'b>> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Compound<'w, 'b>> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'w, 'b>> {
        let outer = self.begin_map(Some(1))?;
        self.key(variant);
        let open = self.begin_seq(Some(len))?;
        Ok(Compound { writer: self, open, variant: Some(outer) })
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'w, 'b>> {
        let open = self.begin_map(len)?;
        Ok(Compound { writer: self, open, variant: None })
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Compound<'w, 'b>> {
        self.serialize_map(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'w, 'b>> {
        let outer = self.begin_map(Some(1))?;
        self.key(variant);
        let open = self.begin_map(Some(len))?;
        Ok(Compound { writer: self, open, variant: Some(outer) })
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result {
        self.display(&format_args!("{value}"))
    }
}

/// An integer that 64 bits do not hold.
fn wide(writer: &mut Writer<'_>, value: &dyn fmt::Display) -> Result {
    match writer.dialect() {
        Dialect::V1 => writer.digits(value),
        Dialect::V2 => Err(EncodeError::Unsupported("an integer of more than 64 bits")),
    }
}

/// A list or map under way.
pub struct Compound<'w, 'b> {
    writer: &'w mut Writer<'b>,
    open: Open,
    /// The map around it, of a variant's name to it.
    variant: Option<Open>,
}

impl Compound<'_, '_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        value.serialize(&mut *self.writer)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result {
        self.writer.key(name);
        self.element(value)
    }

    fn finish(self) -> Result {
        self.writer.end(self.open)?;
        self.variant.map_or(Ok(()), |outer| self.writer.end(outer))
    }
}

impl SerializeSeq for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.element(value)
    }

    fn end(self) -> Result {
        self.finish()
    }
}

impl SerializeTuple for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.element(value)
    }

    fn end(self) -> Result {
        self.finish()
    }
}

impl SerializeTupleStruct for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.element(value)
    }

    fn end(self) -> Result {
        self.finish()
    }
}

impl SerializeTupleVariant for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.element(value)
    }

    fn end(self) -> Result {
        self.finish()
    }
}

impl SerializeMap for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        key.serialize(Key(self.writer))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.element(value)
    }

    fn end(self) -> Result {
        self.finish()
    }
}

impl SerializeStruct for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result {
        self.field(name, value)
    }

    fn end(self) -> Result {
        self.finish()
    }
}

impl SerializeStructVariant for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result {
        self.field(name, value)
    }

    fn end(self) -> Result {
        self.finish()
    }
}

/// Writes the key of a map: what has one obvious form as a string, as that string.
struct Key<'w, 'b>(&'w mut Writer<'b>);

impl Key<'_, '_> {
    fn key(self, key: &str) -> Result {
        self.0.key(key);
        Ok(())
    }

    fn display(self, key: &dyn fmt::Display) -> Result {
        self.0.display_key(key)
    }
}

impl Serializer for Key<'_, '_> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Impossible<(), EncodeError>;
    type SerializeTuple = Impossible<(), EncodeError>;
    type SerializeTupleStruct = Impossible<(), EncodeError>;
    type SerializeTupleVariant = Impossible<(), EncodeError>;
    type SerializeMap = Impossible<(), EncodeError>;
    type SerializeStruct = Impossible<(), EncodeError>;
    type SerializeStructVariant = Impossible<(), EncodeError>;

    fn serialize_bool(self, value: bool) -> Result {
        self.key(if value { "true" } else { "false" })
    }

    fn serialize_i8(self, value: i8) -> Result {
        self.display(&value)
    }

    fn serialize_i16(self, value: i16) -> Result {
        self.display(&value)
    }

    fn serialize_i32(self, value: i32) -> Result {
        self.display(&value)
    }

    fn serialize_i64(self, value: i64) -> Result {
        self.display(&value)
    }

    fn serialize_i128(self, value: i128) -> Result {
        self.display(&value)
    }

    fn serialize_u8(self, value: u8) -> Result {
        self.display(&value)
    }

    fn serialize_u16(self, value: u16) -> Result {
        self.display(&value)
    }

    fn serialize_u32(self, value: u32) -> Result {
        self.display(&value)
    }

    fn serialize_u64(self, value: u64) -> Result {
        self.display(&value)
    }

    fn serialize_u128(self, value: u128) -> Result {
        self.display(&value)
    }

    fn serialize_f32(self, _value: f32) -> Result {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_f64(self, _value: f64) -> Result {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_char(self, value: char) -> Result {
        self.key(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result {
        self.key(value)
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_none(self) -> Result {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result {
        if name == ATTACHMENT { Err(EncodeError::KeyNotString) } else { self.key(variant) }
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self::SerializeSeq> {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple> {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct> {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap> {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Self::SerializeStruct> {
        Err(EncodeError::KeyNotString)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant> {
        Err(EncodeError::KeyNotString)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result {
        self.display(&format_args!("{value}"))
    }
}
