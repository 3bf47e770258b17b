//! The model as data, through serde, without what the table leaves out: of the hundred attributes of a service, most are
//! unset, and nothing is made of them.

use std::fmt::Display;

use serde::ser::{self, Impossible, Serialize, Serializer};
use serde_json::Error;

use super::data::{Data, Kind, Name};
use super::schema::{Format, Presence, Type};
use crate::model::EXTENSIONS_KEY;

/// Writes a part of the model that stands where `ty` is expected.
pub(crate) fn write<T: Serialize>(value: &T, ty: &'static Type) -> Result<Data, Error> {
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

fn is_left_out(data: &Data, ty: &'static Type) -> bool {
    match (&data.0, ty.presence) {
        (Kind::Null, _) => true,
        (_, Presence::Keep) => false,
        (Kind::String(text), Presence::OmitZero) if text == "0s" => true,
        (Kind::Bool(value), _) => !value,
        (Kind::Number(number), _) => number.as_f64() == Some(0.0),
        (Kind::String(text), _) => text.is_empty() || (text == "0" && ty.format == Format::Bytes),
        (Kind::List(items), _) => items.is_empty(),
        (Kind::Map(map), Presence::OmitEmptySection) => map.is_empty(),
        (Kind::Map(map), _) => map.is_empty() && !is_section(ty),
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
            extensions: Data::default(),
            name: String::new(),
        }
    }
}

/// A mapping under construction.
struct Entries {
    ty: Option<&'static Type>,
    section: bool,
    entries: Vec<(Name, Data)>,
    /// They go back to their siblings, behind them.
    extensions: Data,
    /// The key that waits for its value.
    name: String,
}

impl Entries {
    fn write<T: ?Sized + Serialize>(&self, name: &str, value: &T) -> Result<Option<Data>, Error> {
        let place = Place::Entry(self.ty, name);
        let value = value.serialize(Writer { place })?;
        let left_out = self.section
            && (value.is_null() || place.ty().is_some_and(|ty| is_left_out(&value, ty)));
        Ok((!left_out).then_some(value))
    }

    fn finish(mut self) -> Data {
        if let Kind::Map(extensions) = self.extensions.0 {
            self.entries.extend(extensions);
        }
        Data(Kind::Map(self.entries))
    }
}

impl ser::SerializeStruct for Entries {
    type Ok = Data;
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
            self.entries.push((name.into(), value));
        }
        Ok(())
    }

    fn end(self) -> Result<Data, Error> {
        Ok(self.finish())
    }
}

impl ser::SerializeMap for Entries {
    type Ok = Data;
    type Error = Error;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Error> {
        let key = key.serialize(Writer {
            place: Place::Of(None),
        })?;
        let Kind::String(name) = key.0 else {
            return Err(ser::Error::custom("a key is no text"));
        };
        self.name = name;
        Ok(())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        let name = std::mem::take(&mut self.name);
        if let Some(value) = self.write(&name, value)? {
            self.entries.push((name.into(), value));
        }
        Ok(())
    }

    fn end(self) -> Result<Data, Error> {
        Ok(self.finish())
    }
}

/// A list under construction.
struct Items {
    ty: Option<&'static Type>,
    items: Vec<Data>,
}

impl ser::SerializeSeq for Items {
    type Ok = Data;
    type Error = Error;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        self.items.push(value.serialize(Writer {
            place: Place::Of(self.ty),
        })?);
        Ok(())
    }

    fn end(self) -> Result<Data, Error> {
        Ok(Data(Kind::List(self.items)))
    }
}

macro_rules! scalars {
    ($($method:ident: $value:ty),*) => {
        $(fn $method(self, value: $value) -> Result<Data, Error> {
            Ok(Data::scalar(value))
        })*
    };
}

impl Serializer for Writer<'_> {
    type Ok = Data;
    type Error = Error;
    type SerializeSeq = Items;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeTuple = Impossible<Data, Error>;
    type SerializeTupleStruct = Impossible<Data, Error>;
    type SerializeTupleVariant = Impossible<Data, Error>;
    type SerializeStructVariant = Impossible<Data, Error>;

    scalars! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64, serialize_str: &str
    }

    fn serialize_char(self, value: char) -> Result<Data, Error> {
        Ok(Data::string(value.to_string()))
    }

    fn collect_str<T: ?Sized + Display>(self, value: &T) -> Result<Data, Error> {
        Ok(Data::string(value.to_string()))
    }

    fn serialize_none(self) -> Result<Data, Error> {
        Ok(Data::default())
    }

    fn serialize_unit(self) -> Result<Data, Error> {
        Ok(Data::default())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Data, Error> {
        Ok(Data::default())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Data, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Data, Error> {
        value.serialize(self)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Data, Error> {
        Ok(Data::string(variant))
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

    fn serialize_bytes(self, _: &[u8]) -> Result<Data, Error> {
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
    ) -> Result<Data, Error> {
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
