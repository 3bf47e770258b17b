//! Filters of lists and events: JSON in the query, in either of the forms that clients send:
//! `{"label":{"a=b":true}}` (Go) or `{"label":["a=b"]}` (docker-py, bollard).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{ApiError, Result};

/// Values wanted for each filter key. Values of one key are alternatives, except labels, which must all match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// No filter.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a wanted value.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.entry(key.into()).or_default().push(value.into());
        self
    }

    /// Adds a wanted label, `key` or `key=value`.
    #[must_use]
    pub fn label(self, label: impl Into<String>) -> Self {
        self.with("label", label)
    }

    /// The values wanted for a key; empty when the key does not filter.
    #[must_use]
    pub fn get(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        let pairs = self.0.iter();
        pairs.map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    /// Whether nothing is filtered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any value is accepted for this key, or one of those wanted.
    #[must_use]
    pub fn accepts(&self, key: &str, matches: impl FnMut(&String) -> bool) -> bool {
        let wanted = self.get(key);
        wanted.is_empty() || wanted.iter().any(matches)
    }

    /// Whether the labels match every wanted `label`, and no `label!`.
    #[must_use]
    pub fn accepts_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        };
        self.get("label").iter().all(has) && !self.get("label!").iter().any(has)
    }

    /// Refuses keys that the list does not know.
    ///
    /// # Errors
    /// 400 with the first unknown key.
    pub fn allow_only(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(ApiError::bad_request(format!("invalid filter '{key}'"))
                .with_hint(format!("the filters here are: {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    /// Refuses values of a key that it cannot have.
    ///
    /// # Errors
    /// 400 with the first such value.
    pub fn check_values(&self, key: &str, valid: impl Fn(&str) -> bool) -> Result<()> {
        match self.get(key).iter().find(|value| !valid(value)) {
            Some(value) => Err(ApiError::bad_request(format!(
                "invalid filter '{key}=[{value}]'"
            ))),
            None => Ok(()),
        }
    }

    /// [`Filters::check_values`] for yes or no.
    ///
    /// # Errors
    /// 400 with the first value that is neither.
    pub fn check_flag(&self, key: &str) -> Result<()> {
        let words = ["1", "0", "true", "false", "True", "False"];
        self.check_values(key, |value| words.contains(&value))
    }

    /// Reads the query parameter; an empty text filters nothing.
    ///
    /// # Errors
    /// 400 when it is not JSON of one of the two forms.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map_err(|error| {
            ApiError::bad_request(format!("invalid filters: {error}")).with_hint(
                r#"give {"KEY":["VALUE",…]} or {"KEY":{"VALUE":true,…}}, encoded for a query"#,
            )
        })
    }

    /// The text of the query parameter.
    #[must_use]
    pub fn to_query(&self) -> String {
        let map: BTreeMap<&str, BTreeMap<&str, bool>> = self
            .0
            .iter()
            .map(|(key, values)| {
                (
                    key.as_str(),
                    values.iter().map(|value| (value.as_str(), true)).collect(),
                )
            })
            .collect();
        serde_json::to_string(&map).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a filter's values are a list of texts, or a map from texts to true"
        )]
        enum Values {
            List(Vec<String>),
            Map(BTreeMap<String, bool>),
        }
        let map =
            Option::<BTreeMap<String, Values>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(Self(
            map.into_iter()
                .map(|(key, values)| match values {
                    Values::List(list) => (key, list),
                    Values::Map(map) => (
                        key,
                        map.into_iter()
                            .filter(|(_, on)| *on)
                            .map(|(value, _)| value)
                            .collect(),
                    ),
                })
                .collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let expected = Filters::new().label("a=b").with("status", "running");
        let go = r#"{"label":{"a=b":true,"c":false},"status":{"running":true}}"#;
        let python = r#"{"label":["a=b"],"status":["running"]}"#;
        assert_eq!(Filters::parse(go).unwrap(), expected);
        assert_eq!(Filters::parse(python).unwrap(), expected);
        assert_eq!(Filters::parse(&expected.to_query()).unwrap(), expected);
        assert!(Filters::parse("").unwrap().is_empty());
        assert!(Filters::parse("{").is_err());
    }

    #[test]
    fn labels_must_all_match() {
        let labels = BTreeMap::from([
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), String::new()),
        ]);
        for (filter, expected) in [
            (Filters::new(), true),
            (Filters::new().label("a"), true),
            (Filters::new().label("a=1").label("b="), true),
            (Filters::new().label("a=2"), false),
            (Filters::new().label("a").label("c"), false),
        ] {
            assert_eq!(filter.accepts_labels(&labels), expected, "{filter:?}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(
            Filters::new()
                .with("colour", "red")
                .allow_only(&["label"])
                .is_err()
        );
        assert!(Filters::new().label("x").allow_only(&["label"]).is_ok());
    }
}
