//! Ranges of ids for containers with user namespaces: read from settings, or chosen. Pure.

use sha2::{Digest as _, Sha256};

use crate::runtime::spec::UserNamespace;

/// How many ids a container has, when nobody says it: what images use, and Docker's number.
const SIZE: u32 = 65_536;
/// Names that `default` stands for in `/etc/subuid` and `/etc/subgid`: ours, and that of Docker's own default.
const DEFAULT_NAMES: [&str; 2] = ["hoist", "dockremap"];
/// Where containers with ranges of their own have theirs: in what systemd sets aside for containers (524288 to 1879048191), far from
/// what useradd(8) gives out from 100000 on.
const FIRST: u32 = 0x4000_0000;
/// How many such ranges there are.
const RANGES: u32 = 0x3000;
/// The range of `default` when no file names one.
const DEFAULT: UserNamespace = UserNamespace {
    user: FIRST - SIZE,
    group: FIRST - SIZE,
    size: SIZE,
};

/// A text that does not say where users are mapped to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRemap {
    /// It is of no known form, or names nobody.
    #[error(
        "{0:?} maps no users: write USER:GROUP:SIZE such as 100000:100000:65536, a name that /etc/subuid and /etc/subgid have, or \
         default"
    )]
    Unknown(String),
    /// The ids cannot be used.
    #[error("{0:?} cannot be mapped to: ids from 1 to 4294967294, and at least one of them")]
    Range(String),
}

/// See [`crate::EngineConfig::parse_userns_remap`].
pub(crate) fn parse_remap(
    text: &str,
    subuid: &str,
    subgid: &str,
) -> Result<UserNamespace, InvalidRemap> {
    let unknown = || InvalidRemap::Unknown(text.to_owned());
    let numbers: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
    let found = match numbers.as_deref() {
        Some([user, group, size]) => UserNamespace {
            user: *user,
            group: *group,
            size: *size,
        },
        _ if text == "default" => {
            let mut named = DEFAULT_NAMES.iter();
            named
                .find_map(|name| of_names(name, name, subuid, subgid))
                .unwrap_or(DEFAULT)
        }
        _ => {
            let (user, group) = text.split_once(':').unwrap_or((text, text));
            of_names(user, group, subuid, subgid).ok_or_else(unknown)?
        }
    };
    let fits = |first: u32| {
        first > 0
            && first
                .checked_add(found.size)
                .is_some_and(|end| end < u32::MAX)
    };
    if found.size > 0 && fits(found.user) && fits(found.group) {
        Ok(found)
    } else {
        Err(InvalidRemap::Range(text.to_owned()))
    }
}

/// The first lines of these names; the size is what both have.
fn of_names(user: &str, group: &str, subuid: &str, subgid: &str) -> Option<UserNamespace> {
    let (user, users) = subordinate(subuid, user)?;
    let (group, groups) = subordinate(subgid, group)?;
    Some(UserNamespace {
        user,
        group,
        size: users.min(groups),
    })
}

/// First id and number in the text of a subuid(5) file.
fn subordinate(file: &str, name: &str) -> Option<(u32, u32)> {
    file.lines().find_map(|line| {
        let mut parts = line.trim().split(':');
        let wanted = parts.next()? == name && !name.is_empty();
        let (first, count) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (wanted && parts.next().is_none()).then_some((first, count))
    })
}

/// The range that `private` containers share without a setting of the engine.
pub(crate) fn shared() -> UserNamespace {
    DEFAULT
}

/// A range that no other container has, the same for the same container when it is free; `None` when all are taken.
pub(crate) fn own(id: &str, taken: &[UserNamespace]) -> Option<UserNamespace> {
    let digest = Sha256::digest(id);
    let start = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]) % RANGES;
    let range = |index: u32| {
        let first = FIRST + index % RANGES * SIZE;
        UserNamespace {
            user: first,
            group: first,
            size: SIZE,
        }
    };
    let is_free = |range: &UserNamespace| {
        let apart = |first: u32, other: u32, size: u32| {
            first + range.size <= other || other + size <= first
        };
        taken.iter().all(|other| {
            apart(range.user, other.user, other.size) && apart(range.group, other.group, other.size)
        })
    };
    (start..start + RANGES).map(range).find(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBUID: &str = "web:100000:65536\nodd\nhoist:200000:70000\n";
    const SUBGID: &str = "web:300000:65536\nhoist:200000:65536\n";

    #[track_caller]
    fn check(text: &str, expected: Result<(u32, u32, u32), &str>) {
        let found = parse_remap(text, SUBUID, SUBGID);
        let described = found
            .map(|found| (found.user, found.group, found.size))
            .map_err(|error| error.to_string());
        assert_eq!(described, expected.map_err(str::to_owned));
    }

    #[test]
    fn settings_are_read() {
        check("5000:6000:1000", Ok((5000, 6000, 1000)));
        check("web", Ok((100_000, 300_000, 65_536)));
        check("web:hoist", Ok((100_000, 200_000, 65_536)));
        check("default", Ok((200_000, 200_000, 65_536)));
        assert_eq!(parse_remap("default", "", ""), Ok(DEFAULT));
        check(
            "0:0:65536",
            Err(
                "\"0:0:65536\" cannot be mapped to: ids from 1 to 4294967294, and at least one of them",
            ),
        );
        check(
            "4294967000:1:65536",
            Err(
                "\"4294967000:1:65536\" cannot be mapped to: ids from 1 to 4294967294, and at least one of them",
            ),
        );
        for unknown in ["nobody", "odd", "", "web:", "1:2"] {
            assert!(
                matches!(
                    parse_remap(unknown, SUBUID, SUBGID),
                    Err(InvalidRemap::Unknown(_))
                ),
                "{unknown}"
            );
        }
    }

    #[test]
    fn ranges_of_ones_own_do_not_meet() {
        let mut taken = Vec::new();
        for number in 0..200 {
            let range = own(&number.to_string(), &taken).unwrap();
            assert!(!taken.contains(&range));
            taken.push(range);
        }
        assert_eq!(own("x", &[]), own("x", &[]));
    }
}
