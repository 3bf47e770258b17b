//! Trees to the typed model, through serde, with the place of what does not fit.
//!
//! Conversions are as lenient as the reference's: numbers in texts, texts for numbers.

use std::fmt::Display;

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::diagnostic::value_in_words;
use super::map;
use super::node::{Node, Span, Value};
use super::schema::{Presence, Type};
use crate::model::EXTENSIONS_KEY;

/// Why a tree is not a value of the model, and where.
#[derive(Debug)]
pub(crate) struct DecodeError {
    pub(crate) message: String,
    pub(crate) span: Span,
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self {
            message: message.to_string(),
            span: Span::NONE,
        }
    }
}

impl DecodeError {
    fn at(mut self, span: Span) -> Self {
        if !self.span.is_some() {
            self.span = span;
        }
        self
    }
}

/// Gathers the `x-` entries of every mapping that takes them below one key, where the model expects them, and drops
/// empty texts.
pub(crate) fn gather_extensions(node: &mut Node, ty: &'static Type) {
    match &mut node.value {
        Value::Map(map) => {
            if ty.fields.is_some_and(|fields| fields.extensions) {
                let gathered = map.extract(|name| name.starts_with("x-"));
                if !gathered.is_empty() {
                    map.insert(EXTENSIONS_KEY, Node::map(gathered, Span::NONE));
                }
            }
            let named = ty.fields.is_some_and(|fields| fields.open.is_none());
            let is_empty = |entry: &Node| entry.as_str() == Some("");
            if named && map.values().any(is_empty) {
                map.retain(|name, entry| {
                    !(is_empty(entry) && ty.entry_or_open(name).is_some_and(omits_empty))
                });
            }
            for (name, entry) in map.iter_mut().filter(|(_, entry)| !entry.is_single()) {
                if let Some(entry_type) = ty.entry_or_open(name) {
                    gather_extensions(entry, entry_type);
                }
            }
        }
        Value::List(items) => {
            if let Some(item_type) = ty.items {
                items
                    .iter_mut()
                    .for_each(|item| gather_extensions(item, item_type));
            }
        }
        _ => {}
    }
}

/// An empty text is the same as no text, where only a text can be.
fn omits_empty(ty: &'static Type) -> bool {
    matches!(ty.presence, Presence::OmitEmpty | Presence::OmitZero) && ty.is_text()
}

/// Decodes a tree.
pub(crate) fn decode<'de, T: de::Deserialize<'de>>(node: &'de Node) -> Result<T, DecodeError> {
    T::deserialize(NodeDeserializer { node }).map_err(|error| error.at(node.span))
}

/// The path from a node to the value at a place below it, as `.build.pull` or `.ports[0]`.
pub(crate) fn path_to(node: &Node, place: Span) -> Option<String> {
    if node.span == place {
        return Some(String::new());
    }
    match &node.value {
        Value::Map(map) => map.iter().find_map(|(name, entry)| {
            let rest = path_to(entry, place)?;
            Some(if name.as_str() == EXTENSIONS_KEY {
                rest
            } else {
                format!(".{name}{rest}")
            })
        }),
        Value::List(items) => items.iter().enumerate().find_map(|(index, item)| {
            let rest = path_to(item, place)?;
            Some(format!("[{index}]{rest}"))
        }),
        _ => None,
    }
}

struct NodeDeserializer<'de> {
    node: &'de Node,
}

impl<'de> NodeDeserializer<'de> {
    fn too_large(&self, value: impl Display) -> DecodeError {
        DecodeError {
            message: format!("{value} is too large"),
            span: self.node.span,
        }
    }

    fn integer(&self) -> Result<i64, DecodeError> {
        let wrong = || {
            let message = format!("expected an integer, but this is {}", self.node.kind());
            DecodeError {
                message,
                span: self.node.span,
            }
        };
        match &self.node.value {
            Value::Int(value) => Ok(*value),
            Value::Unsigned(value) => i64::try_from(*value).map_err(|_| self.too_large(value)),
            // 2^63: beyond it, the conversion would saturate silently.
            Value::Float(value) if value.abs() >= 9_223_372_036_854_775_808.0 => {
                Err(self.too_large(value))
            }
            Value::Float(value) => Ok(*value as i64),
            Value::Bool(value) => Ok(i64::from(*value)),
            Value::Null | Value::Invalid => Ok(0),
            Value::String(text) => text.parse().map_err(|_| DecodeError {
                message: format!(
                    "{} is not an integer: write a whole number",
                    value_in_words(text)
                ),
                span: self.node.span,
            }),
            _ => Err(wrong()),
        }
    }

    /// Unsigned numbers are read with Go's prefixes for other bases.
    fn unsigned(&self) -> Result<i64, DecodeError> {
        match self.node.as_str() {
            Some("") => Ok(0),
            Some(text) => match super::yaml_scalar::integer(text) {
                Some(Value::Int(value)) if value >= 0 => Ok(value),
                _ => self.integer(),
            },
            None => self.integer(),
        }
    }

    fn boolean(&self) -> Result<bool, DecodeError> {
        match &self.node.value {
            Value::Bool(value) => Ok(*value),
            Value::Int(value) => Ok(*value != 0),
            Value::Float(value) => Ok(*value != 0.0),
            Value::Null | Value::Invalid => Ok(false),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "y" | "yes" | "on" => Ok(true),
                "false" | "n" | "no" | "off" => Ok(false),
                _ => Err(DecodeError {
                    message: format!(
                        "{} is not a boolean: write `true` or `false`",
                        value_in_words(text)
                    ),
                    span: self.node.span,
                }),
            },
            _ => Err(DecodeError {
                message: format!("expected a boolean, but this is {}", self.node.kind()),
                span: self.node.span,
            }),
        }
    }
}

macro_rules! integers {
    ($read:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            let span = self.node.span;
            let value = self.$read()?;
            // Serde's own words name types of this program.
            visitor.visit_i64(value).map_err(|_: DecodeError| DecodeError {
                message: format!("`{value}` is too large or too small here"),
                span,
            })
        })*
    };
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = DecodeError;

    integers!(integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64);
    integers!(unsigned: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let span = self.node.span;
        let result = match &self.node.value {
            Value::Null | Value::Invalid => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Timestamp(date) => visitor.visit_borrowed_str(&date.canonical),
            Value::List(items) => visitor.visit_seq(Items {
                items: items.iter(),
            }),
            Value::Map(map) => visitor.visit_map(Entries {
                entries: map.iter(),
                value: None,
            }),
        };
        result.map_err(|error| error.at(span))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let value = match &self.node.value {
            Value::Float(value) => *value,
            Value::String(text) => text.parse().map_err(|_| DecodeError {
                message: format!("{} is not a number", value_in_words(text)),
                span: self.node.span,
            })?,
            Value::Unsigned(value) => *value as f64,
            _ => self.integer()? as f64,
        };
        // All fractions of the model have 32 bits in the reference, and are printed with as many digits as those need.
        match (value as f32).to_string().parse::<f64>() {
            Ok(single) if single.is_finite() => visitor.visit_f64(single),
            _ => Err(self.too_large(value)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let span = self.node.span;
        let result = match &self.node.value {
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Null | Value::Invalid => visitor.visit_str(""),
            _ => match self.node.scalar_text() {
                Some(text) => visitor.visit_string(text),
                None => Err(de::Error::custom(format!(
                    "expected a string, but this is {}",
                    self.node.kind()
                ))),
            },
        };
        result.map_err(|error: DecodeError| error.at(span))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if matches!(self.node.value, Value::Null | Value::Invalid) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let items = match &self.node.value {
            Value::List(items) => items.as_slice(),
            Value::Null | Value::Invalid => &[],
            _ => std::slice::from_ref(self.node),
        };
        visitor.visit_seq(Items {
            items: items.iter(),
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Map(map) => visitor.visit_map(Entries {
                entries: map.iter(),
                value: None,
            }),
            Value::Null | Value::Invalid => visitor.visit_map(Entries {
                entries: map::Iter::default(),
                value: None,
            }),
            _ => Err(DecodeError {
                message: format!("expected a mapping, but this is {}", self.node.kind()),
                span: self.node.span,
            }),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let span = self.node.span;
        let text = self.node.scalar_text().unwrap_or_default();
        let deserializer: de::value::StringDeserializer<DecodeError> = text.into_deserializer();
        deserializer
            .deserialize_enum(name, variants, visitor)
            .map_err(|error| error.at(span))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Node>,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(node) = self.items.by_ref().find(|node| !node.is_invalid()) else {
            return Ok(None);
        };
        seed.deserialize(NodeDeserializer { node })
            .map(Some)
            .map_err(|error| error.at(node.span))
    }
}

struct Entries<'de> {
    entries: map::Iter<'de>,
    value: Option<&'de Node>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let Some((name, node)) = self.entries.by_ref().find(|(_, node)| !node.is_invalid()) else {
            return Ok(None);
        };
        self.value = Some(node);
        seed.deserialize(name.as_str().into_deserializer())
            .map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        let Some(node) = self.value.take() else {
            return Err(de::Error::custom("a value is read before its key"));
        };
        seed.deserialize(NodeDeserializer { node })
            .map_err(|error| error.at(node.span))
    }
}
