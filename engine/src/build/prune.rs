//! Which records of the build cache a prune removes, by Docker's rules: the longest unused first, until what is left fits.

use std::collections::BTreeMap;

use hoist_api::build::BuildPrune;
use hoist_api::error::{ApiError, Result};
use hoist_api::system::BuildCacheRecord;
use jiff::{SignedDuration, Timestamp};

/// A record, and when it was used last.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) record: BuildCacheRecord,
    pub(crate) used: Timestamp,
    /// Bytes that its removal may give back.
    pub(crate) size: u64,
}

/// The ids of the records to remove, in order.
///
/// # Errors
/// A filter that is not known, or a value that it cannot have.
pub(crate) fn doomed(
    mut records: Vec<Candidate>,
    options: &BuildPrune,
    (now, free_bytes): (Timestamp, u64),
) -> Result<Vec<String>> {
    let before = now
        .checked_sub(SignedDuration::from_secs(options.unused_for))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    for (key, values) in &options.filters {
        check(key, values)?;
    }
    records.sort_by_key(|candidate| candidate.used);
    let mut held: u64 = records.iter().map(|candidate| candidate.size).sum();
    let keep = keep(options, (held, free_bytes));
    let mut removed = Vec::new();
    for candidate in records {
        // What images are made of goes only with --all: removing it gives nothing back.
        let is_kept = candidate.record.in_use
            || (candidate.record.shared && !options.all)
            || candidate.used > before
            || !matches(&candidate.record, &options.filters);
        if is_kept || keep.is_some_and(|keep| held <= keep) {
            continue;
        }
        held = held.saturating_sub(candidate.size);
        removed.push(candidate.record.id);
    }
    Ok(removed)
}

/// Bytes that may stay; none: nothing needs to.
fn keep(options: &BuildPrune, (held, free_bytes): (u64, u64)) -> Option<u64> {
    let positive = |bytes: i64| u64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
    let most = positive(options.max_used_space);
    let reserved = positive(options.keep_storage);
    let free = positive(options.min_free_space);
    if most.is_none() && reserved.is_none() && free.is_none() {
        return None;
    }
    let missing = free.map_or(0, |free| free.saturating_sub(free_bytes));
    let fits = (missing > 0).then(|| held.saturating_sub(missing));
    let keep = match (most, fits) {
        (Some(most), Some(fits)) => most.min(fits),
        (Some(one), None) | (None, Some(one)) => one,
        // With enough space only what is reserved counts.
        (None, None) if reserved.is_none() => u64::MAX,
        (None, None) => 0,
    };
    Some(keep.max(reserved.unwrap_or(0)))
}

fn check(key: &str, values: &[String]) -> Result<()> {
    let is_known = matches!(
        key,
        "id" | "parent" | "type" | "description" | "inuse" | "shared" | "private"
    );
    // `docker system prune --filter label=…` hands them on.
    if matches!(key, "label" | "label!") {
        return Ok(());
    }
    match values {
        _ if !is_known => Err(ApiError::bad_request(format!("invalid filter '{key}'"))),
        [] | [_] => Ok(()),
        _ => Err(ApiError::bad_request(format!(
            "filter '{key}' takes one value"
        ))),
    }
}

fn matches(record: &BuildCacheRecord, filters: &BTreeMap<String, Vec<String>>) -> bool {
    filters.iter().all(|(key, values)| {
        let Some(value) = values.first() else {
            return true;
        };
        let is = |flag: bool| match value.as_str() {
            "" | "1" | "true" => flag,
            _ => !flag,
        };
        match key.as_str() {
            "id" => record.id.contains(value.as_str()),
            "type" => record.kind == *value,
            "description" => record.description == *value,
            "inuse" => is(record.in_use),
            "shared" => is(record.shared),
            "private" => is(!record.shared),
            // Records have no labels.
            "label!" => true,
            // A record knows its inputs' content, not their records.
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records `a` to `d` of 10 bytes each, `a` the longest unused; `b` is an image's, `c` in use, `d` a mount.
    fn check(options: BuildPrune, expected: &str) {
        let now = Timestamp::from_second(1000).unwrap();
        let names = ["a", "b", "c", "d"].iter().enumerate();
        let records = names.map(|(number, id)| Candidate {
            record: BuildCacheRecord {
                id: (*id).to_owned(),
                kind: if *id == "d" {
                    "exec.cachemount".to_owned()
                } else {
                    "regular".to_owned()
                },
                shared: *id == "b",
                in_use: *id == "c",
                ..BuildCacheRecord::default()
            },
            used: Timestamp::from_second(100 * (number as i64 + 1)).unwrap(),
            size: 10,
        });
        let found = doomed(records.collect(), &options, (now, 5)).unwrap();
        assert_eq!(found.join(" "), expected, "{options:?}");
    }

    #[test]
    fn dockers_options_are_carried_out() {
        let none = BuildPrune::default();
        check(none.clone(), "a d");
        let all = BuildPrune {
            all: true,
            ..none.clone()
        };
        check(all.clone(), "a b d");
        check(
            BuildPrune {
                unused_for: 750,
                ..all.clone()
            },
            "a b",
        );
        check(
            BuildPrune {
                keep_storage: 30,
                ..all.clone()
            },
            "a",
        );
        check(
            BuildPrune {
                keep_storage: 40,
                ..all.clone()
            },
            "",
        );
        check(
            BuildPrune {
                max_used_space: 20,
                ..all.clone()
            },
            "a b",
        );
        check(
            BuildPrune {
                max_used_space: 20,
                keep_storage: 30,
                ..all.clone()
            },
            "a",
        );
        check(
            BuildPrune {
                min_free_space: 16,
                ..all.clone()
            },
            "a b",
        );
        check(
            BuildPrune {
                min_free_space: 5,
                ..all.clone()
            },
            "",
        );
        let filtered = |key: &str, value: &str| BuildPrune {
            filters: [(key.to_owned(), vec![value.to_owned()])].into(),
            ..all.clone()
        };
        check(filtered("type", "exec.cachemount"), "d");
        check(filtered("private", "true"), "a d");
        check(filtered("shared", "1"), "b");
        check(filtered("id", "a"), "a");
        check(filtered("inuse", "true"), "");
        let now = Timestamp::from_second(1000).unwrap();
        assert!(doomed(Vec::new(), &filtered("colour", "red"), (now, 0)).is_err());
    }
}
