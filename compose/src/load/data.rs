//! The canonical form as data: what `config` prints, made once, walked once and thrown away.
//!
//! [`serde_json::Value`] hashes every key of every mapping and copies it; a project of a thousand services has some
//! forty thousand, nearly all of them names of the model. Nothing looks up a key here but the few that
//! [`super::canonical`] changes.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Number, Value};

/// Canonical data; as [`Value`], whose texts it is equal to in JSON and in YAML. Made by
/// [`project_data`](super::canonical::project_data); for anything but printing it, `Value::from` makes the general form.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Data(pub(super) Kind);

/// The name of an entry: that of an attribute, or one that a file gives.
pub(super) type Name = Cow<'static, str>;

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Kind {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Data>),
    Map(Vec<(Name, Data)>),
}

impl Data {
    /// A flag, a number or a text.
    pub(super) fn scalar(value: impl Into<Value>) -> Self {
        Self(match value.into() {
            Value::Bool(value) => Kind::Bool(value),
            Value::Number(number) => Kind::Number(number),
            Value::String(text) => Kind::String(text),
            // A number that is none has no canonical form; lists and mappings do not come here.
            Value::Null | Value::Array(_) | Value::Object(_) => Kind::Null,
        })
    }

    pub(super) fn string(text: impl Into<String>) -> Self {
        Self(Kind::String(text.into()))
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.0, Kind::Null)
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_map_mut(&mut self) -> Option<&mut Vec<(Name, Data)>> {
        match &mut self.0 {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        let entry = self.as_map_mut()?.iter_mut().find(|(key, _)| key == name);
        entry.map(|(_, data)| data)
    }

    /// The items of a list; none of anything else.
    pub(super) fn items_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        let items = match &mut self.0 {
            Kind::List(items) => items.as_mut_slice(),
            _ => &mut [],
        };
        items.iter_mut()
    }

    /// The values of a mapping's entries; none of anything else.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        let entries = self.as_map_mut().into_iter().flatten();
        entries.map(|(_, data)| data)
    }

    /// Removes entries of a mapping; those behind them move up.
    pub(super) fn remove(&mut self, names: &[&str]) {
        if let Some(entries) = self.as_map_mut() {
            entries.retain(|(key, _)| !names.contains(&&**key));
        }
    }

    /// All mappings in the order of their keys.
    pub(super) fn sort(&mut self) {
        match &mut self.0 {
            Kind::List(items) => items.iter_mut().for_each(Self::sort),
            Kind::Map(entries) => {
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
                entries.iter_mut().for_each(|(_, data)| data.sort());
            }
            _ => {}
        }
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Kind::Null => serializer.serialize_unit(),
            Kind::Bool(value) => serializer.serialize_bool(*value),
            Kind::Number(number) => number.serialize(serializer),
            Kind::String(text) => serializer.serialize_str(text),
            Kind::List(items) => serializer.collect_seq(items),
            Kind::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, data) in entries {
                    map.serialize_entry(key, data)?;
                }
                map.end()
            }
        }
    }
}

impl From<Data> for Value {
    fn from(data: Data) -> Self {
        match data.0 {
            Kind::Null => Self::Null,
            Kind::Bool(value) => Self::Bool(value),
            Kind::Number(number) => Self::Number(number),
            Kind::String(text) => Self::String(text),
            Kind::List(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Kind::Map(entries) => Self::Object(
                entries
                    .into_iter()
                    .map(|(key, data)| (key.into_owned(), Self::from(data)))
                    .collect(),
            ),
        }
    }
}
