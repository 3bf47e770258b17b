//! Platforms, and which entry of an index is for this one.

use std::fmt;
use std::str::FromStr;

use crate::manifest::{DescribedPlatform, Descriptor};

/// An operating system and an architecture, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`
    pub architecture: String,
    /// `v8`, or empty.
    pub variant: String,
}

/// A text that is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a platform: {1}: invalid argument: give OS/ARCHITECTURE[/VARIANT], as linux/amd64 or linux/arm64/v8"
)]
pub struct InvalidPlatform(pub String, pub String);

impl Platform {
    /// This machine's.
    #[must_use]
    pub fn host() -> Self {
        Self::of("linux", machine(), "")
    }

    fn of(os: &str, architecture: &str, variant: &str) -> Self {
        // As containerd normalises them: many names, one meaning.
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("amd64", "v1") => ("amd64", ""),
            ("i386" | "x86", _) => ("386", ""),
            ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", "v8"),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("powerpc64", variant) => ("ppc64le", variant),
            (architecture, variant) => (architecture, variant),
        };
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// How well what an entry describes runs here: none when it does not, more for a closer variant.
    #[must_use]
    pub fn fitness(&self, found: &DescribedPlatform) -> Option<u8> {
        let found = Self::of(&found.os, &found.architecture, &found.variant);
        if found.os != self.os || found.architecture != self.architecture {
            return None;
        }
        match (found.variant.as_str(), self.variant.as_str()) {
            (found, wanted) if found == wanted => Some(u8::MAX),
            // Of amd64 the plain one is for all; a wanted machine without a variant takes no levels.
            ("", _) => Some(100),
            (_, "") => None,
            // `v6` runs on `v7`, `v8` does not; the highest that runs is best.
            (found, wanted) if found < wanted => found
                .trim_start_matches('v')
                .parse::<u8>()
                .ok()
                .map(|level| 101_u8.saturating_add(level)),
            _ => None,
        }
    }

    /// The entry of an index for this platform.
    ///
    /// # Errors
    /// None is; the platforms that are there, for a message.
    pub fn choose<'a>(&self, entries: &'a [Descriptor]) -> Result<&'a Descriptor, String> {
        let images: Vec<&Descriptor> = entries.iter().filter(|entry| entry.is_image()).collect();
        if let [only] = images[..]
            && only.platform.is_none()
        {
            return Ok(only);
        }
        let score = |entry: &&Descriptor| {
            let described = entry.platform.as_ref()?;
            self.fitness(described)
        };
        // Of equally good ones the first, as Docker takes it.
        let best = images
            .iter()
            .rev()
            .copied()
            .filter(|entry| score(entry).is_some())
            .max_by_key(score);
        best.ok_or_else(|| {
            let shown: Vec<String> = images
                .iter()
                .filter_map(|entry| entry.platform.as_ref())
                .map(ToString::to_string)
                .collect();
            if shown.is_empty() {
                "none".to_owned()
            } else {
                shown.join(", ")
            }
        })
    }
}

fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "powerpc64" => "ppc64le",
        other => other,
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let lower = text.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        };
        // What is wrong is said as containerd says it: scripts look for it.
        let invalid = |why: String| Err(InvalidPlatform(text.to_owned(), why));
        if let Some(part) = parts.iter().find(|part| !is_word(part)) {
            return invalid(format!("{part:?} is an invalid OS component"));
        }
        match parts[..] {
            // One word is an operating system or an architecture.
            ["linux"] => Ok(Self::host()),
            [architecture] if is_known_architecture(architecture) => {
                Ok(Self::of("linux", architecture, ""))
            }
            [os, architecture] => Ok(Self::of(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::of(os, architecture, variant)),
            [other] if is_known_system(other) => invalid(format!(
                "{other}: operating system is not supported without an architecture"
            )),
            [_] => invalid("unknown operating system or architecture".to_owned()),
            _ => invalid("it has more than three parts".to_owned()),
        }
    }
}

fn is_known_system(text: &str) -> bool {
    ["darwin", "freebsd", "macos", "windows"].contains(&text)
}

fn is_known_architecture(text: &str) -> bool {
    [
        "386", "amd64", "x86_64", "arm", "arm64", "aarch64", "armhf", "ppc64le", "riscv64", "s390x",
    ]
    .contains(&text)
}

impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(out, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoist_api::Digest;

    fn entries(platforms: &[&str]) -> Vec<Descriptor> {
        let entry = |text: &&str| {
            let mut entry = Descriptor::new("", Digest::of(text.as_bytes()), 1);
            let mut parts = text.split('/').map(str::to_owned);
            entry.platform = (!text.is_empty()).then(|| DescribedPlatform {
                os: parts.next().unwrap_or_default(),
                architecture: parts.next().unwrap_or_default(),
                variant: parts.next().unwrap_or_default(),
            });
            entry
        };
        platforms.iter().map(entry).collect()
    }

    #[track_caller]
    fn check(wanted: &str, platforms: &[&str], expected: Result<usize, &str>) {
        let list = entries(platforms);
        let wanted: Platform = wanted.parse().expect("a platform");
        let found = wanted.choose(&list).map(|entry| {
            list.iter()
                .position(|known| std::ptr::eq(known, entry))
                .expect("of the list")
        });
        assert_eq!(
            found,
            expected.map_err(str::to_owned),
            "{wanted} of {platforms:?}"
        );
    }

    #[test]
    fn the_closest_platform_is_chosen() {
        check("linux/amd64", &["linux/arm64", "linux/amd64"], Ok(1));
        check("linux/arm64", &["linux/arm/v7", "linux/arm64/v8"], Ok(1));
        check("linux/arm64/v8", &["linux/arm64"], Ok(0));
        check(
            "linux/arm/v7",
            &["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"],
            Ok(1),
        );
        check("linux/amd64", &["linux/amd64/v3", "linux/amd64"], Ok(1));
        check("linux/amd64", &["linux/amd64", "linux/amd64"], Ok(0));
        check("linux/amd64", &[""], Ok(0));
        check(
            "linux/amd64",
            &["windows/amd64", "linux/s390x"],
            Err("windows/amd64, linux/s390x"),
        );
        check("linux/amd64", &["unknown/unknown", "linux/amd64"], Ok(1));
        check("linux/amd64", &[], Err("none"));
    }

    #[test]
    fn texts_are_platforms_or_not() {
        for (text, expected) in [
            ("linux/arm64", Some("linux/arm64/v8")),
            ("Linux/x86_64", Some("linux/amd64")),
            ("arm64", Some("linux/arm64/v8")),
            ("linux/arm/v6", Some("linux/arm/v6")),
            ("linux//", None),
            ("", None),
            ("a/b/c/d", None),
            ("linux/am d64", None),
        ] {
            let found = text
                .parse::<Platform>()
                .ok()
                .map(|platform| platform.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
