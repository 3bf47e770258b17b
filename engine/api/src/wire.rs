//! How the wire differs from serde's defaults: Go clients send `null` for every empty list, map or string,
//! leave fields out, and add fields that are newer than ours. All of it is accepted.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Go's zero `time.Time`, which Docker prints for "never".
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// The `{}` that Go writes for `struct{}` values, as in `"ExposedPorts": {"80/tcp": {}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// Reads `null` as the type's default.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Writes an empty list as `null`, as Docker does for lists that the client left out; clients compare with that.
pub(crate) fn empty_as_null<S: Serializer, T: Serialize>(
    list: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    (!list.is_empty()).then_some(list).serialize(serializer)
}

/// Declares wire structs: PascalCase keys, every field optional on the way in, `null` read as the default.
macro_rules! wire {
    ($( $(#[$meta:meta])* pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident : $type:ty ),* $(,)? } )*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
            #[serde(rename_all = "PascalCase", default)]
            pub struct $name {
                $(
                    $(#[$field_meta])*
                    #[serde(deserialize_with = "crate::wire::null_as_default")]
                    pub $field: $type,
                )*
            }
        )*
    };
}
pub(crate) use wire;
