//! The model as data, through serde, without what the table leaves out: of the hundred attributes of a service, most are
//! unset, and nothing is made of them.

use std::fmt::Display;

use serde::ser::{self, Impossible, Serialize, Serializer};
use serde_json::{Error, Map, Value};

use super::schema::{Format, Presence, Type};
use crate::model::EXTENSIONS_KEY;

/// Writes a part of the model that stands where `ty` is expected.
pub(crate) fn write<T: Serialize>(value: &T, ty: &'static Type) -> Result<Value, Error> {
    value.serialize(Writer {
        place: Place::Of(Some(ty)),
    })
}

/// What is expected somewhere; found out only when it matters, since most values are unset.
#[derive(Debug, Clone, Copy)]
enum Place<'n> {
    Of(Option<&'static Type>),
    Entry(Option<&'static Type>, &'n str),
}

impl Place<'_> {
    fn ty(self) -> Option<&'static Type> {
        match self {
            Self::Of(ty) => ty,
            Self::Entry(ty, name) => ty.and_then(|ty| ty.entry_or_open(name)),
        }
    }
}

/// Whether the entries of a mapping are those of the table, so that empty ones are left out.
fn is_section(ty: &'static Type) -> bool {
    ty.fields.is_some_and(|fields| fields.open.is_none())
}

fn is_left_out(value: &Value, ty: &'static Type) -> bool {
    match (value, ty.presence) {
        (Value::Null, _) => true,
        (_, Presence::Keep) => false,
        (Value::String(text), Presence::OmitZero) if text == "0s" => true,
        (Value::Bool(value), _) => !value,
        (Value::Number(number), _) => number.as_f64() == Some(0.0),
        (Value::String(text), _) => text.is_empty() || (text == "0" && ty.format == Format::Bytes),
        (Value::Array(items), _) => items.is_empty(),
        (Value::Object(map), Presence::OmitEmptySection) => map.is_empty(),
        (Value::Object(map), _) => map.is_empty() && !is_section(ty),
    }
}

struct Writer<'n> {
    place: Place<'n>,
}

impl Writer<'_> {
    fn entries(self, length: usize) -> Entries {
        let ty = self.place.ty();
        Entries {
            ty,
            section: ty.is_some_and(is_section),
            entries: Vec::with_capacity(length),
            extensions: Value::Null,
            name: String::new(),
        }
    }
}

/// A mapping under construction.
struct Entries {
    ty: Option<&'static Type>,
    section: bool,
    entries: Vec<(String, Value)>,
    /// They go back to their siblings, behind them.
    extensions: Value,
    /// The key that waits for its value.
    name: String,
}

impl Entries {
    fn write<T: ?Sized + Serialize>(&self, name: &str, value: &T) -> Result<Option<Value>, Error> {
        let place = Place::Entry(self.ty, name);
        let value = value.serialize(Writer { place })?;
        let left_out = self.section
            && (value.is_null() || place.ty().is_some_and(|ty| is_left_out(&value, ty)));
        Ok((!left_out).then_some(value))
    }

    fn finish(self) -> Value {
        let mut map = Map::with_capacity(self.entries.len());
        map.extend(self.entries);
        if let Value::Object(extensions) = self.extensions {
            map.extend(extensions);
        }
        Value::Object(map)
    }
}

impl ser::SerializeStruct for Entries {
    type Ok = Value;
    type Error = Error;

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        if name == EXTENSIONS_KEY {
            self.extensions = value.serialize(Writer {
                place: Place::Of(None),
            })?;
        } else if let Some(value) = self.write(name, value)? {
            self.entries.push((name.to_owned(), value));
        }
        Ok(())
    }

    fn end(self) -> Result<Value, Error> {
        Ok(self.finish())
    }
}

impl ser::SerializeMap for Entries {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Error> {
        let Value::String(name) = serde_json::to_value(key)? else {
            return Err(ser::Error::custom("a key is no text"));
        };
        self.name = name;
        Ok(())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        let name = std::mem::take(&mut self.name);
        if let Some(value) = self.write(&name, value)? {
            self.entries.push((name, value));
        }
        Ok(())
    }

    fn end(self) -> Result<Value, Error> {
        Ok(self.finish())
    }
}

/// A list under construction.
struct Items {
    ty: Option<&'static Type>,
    items: Vec<Value>,
}

impl ser::SerializeSeq for Items {
    type Ok = Value;
    type Error = Error;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        self.items.push(value.serialize(Writer {
            place: Place::Of(self.ty),
        })?);
        Ok(())
    }

    fn end(self) -> Result<Value, Error> {
        Ok(Value::Array(self.items))
    }
}

macro_rules! scalars {
    ($($method:ident: $value:ty),*) => {
        $(fn $method(self, value: $value) -> Result<Value, Error> {
            Ok(Value::from(value))
        })*
    };
}

impl Serializer for Writer<'_> {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = Items;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeTuple = Impossible<Value, Error>;
    type SerializeTupleStruct = Impossible<Value, Error>;
    type SerializeTupleVariant = Impossible<Value, Error>;
    type SerializeStructVariant = Impossible<Value, Error>;

    scalars! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64, serialize_str: &str
    }

    fn serialize_char(self, value: char) -> Result<Value, Error> {
        Ok(Value::String(value.to_string()))
    }

    fn collect_str<T: ?Sized + Display>(self, value: &T) -> Result<Value, Error> {
        Ok(Value::String(value.to_string()))
    }

    fn serialize_none(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, Error> {
        Ok(Value::String(variant.to_owned()))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items, Error> {
        let length = length.unwrap_or(1);
        // Most lists and mappings are empty: what their entries would be does not matter.
        let ty = (length > 0).then(|| self.place.ty()).flatten();
        Ok(Items {
            ty: ty.and_then(|ty| ty.items),
            items: Vec::with_capacity(length),
        })
    }

    fn serialize_map(mut self, length: Option<usize>) -> Result<Entries, Error> {
        if length == Some(0) {
            self.place = Place::Of(None);
        }
        Ok(self.entries(length.unwrap_or(1)))
    }

    fn serialize_struct(self, _: &'static str, fields: usize) -> Result<Entries, Error> {
        // Few of many fields are set.
        Ok(self.entries(fields.min(16)))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Value, Error> {
        Err(foreign("bytes"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        Err(foreign("a tuple"))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Error> {
        Err(foreign("a tuple"))
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, Error> {
        Err(foreign("a variant with a value"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(foreign("a variant with values"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(foreign("a variant with fields"))
    }
}

/// The model is made of texts, numbers, flags, lists and mappings.
fn foreign(what: &str) -> Error {
    ser::Error::custom(format!("the model holds {what}"))
}
