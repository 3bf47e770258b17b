//! Names in archives made into safe paths below the layer's root.
//!
//! A cleaned path has no empty, `.` or `..` component, no leading slash and no NUL, and every kernel call can take it. That alone is not
//! safety (a component may be a link): [`super::tree`] resolves it beneath the root.

use std::fmt;

/// What the kernel takes in one call, without the NUL.
const PATH_LIMIT: usize = 4095;
const COMPONENT_LIMIT: usize = 255;

/// A cleaned path relative to the layer's root; empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct LayerPath(Vec<u8>);

impl LayerPath {
    /// Cleans a name as Docker does: a leading slash means the root, `a/../b` is `b`. One that leads out of the root is refused.
    pub(super) fn clean(name: &[u8]) -> Result<Self, &'static str> {
        if name.contains(&0) {
            return Err("its name holds a NUL byte");
        }
        let mut components: Vec<&[u8]> = Vec::new();
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    components
                        .pop()
                        .ok_or("its name leads out of the root with \"..\"")?;
                }
                _ if component.len() > COMPONENT_LIMIT => {
                    return Err("a part of its name has more than 255 bytes");
                }
                _ => components.push(component),
            }
        }
        let path = components.join(&b'/');
        if path.len() > PATH_LIMIT {
            Err("its name has more than 4095 bytes")
        } else {
            Ok(Self(path))
        }
    }

    /// The path within a directory, which may have `..` (it is resolved by the kernel, beneath the root).
    pub(super) fn below(self, directory: &[u8]) -> Result<Self, &'static str> {
        if directory.is_empty() {
            return Ok(self);
        }
        let parts = [directory, self.0.as_slice()];
        let components = parts
            .iter()
            .flat_map(|part| part.split(|byte| *byte == b'/'))
            .filter(|part| !matches!(*part, b"" | b"."));
        let path = components.collect::<Vec<_>>().join(&b'/');
        if path.len() > PATH_LIMIT {
            Err("its name has more than 4095 bytes")
        } else {
            Ok(Self(path))
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Where each component ends, for [`LayerPath::prefix`].
    pub(super) fn ends(&self) -> Vec<usize> {
        let slashes = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(index, _)| index);
        slashes
            .chain(Some(self.0.len()).filter(|length| *length > 0))
            .collect()
    }

    /// The path up to the end of one of its components.
    pub(super) fn prefix(&self, end: usize) -> Self {
        Self(self.0[..end].to_vec())
    }

    /// The directory and the last component; none for the root.
    pub(super) fn split(&self) -> Option<(Self, &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Self(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (Self::default(), &self.0),
        })
    }
}

impl fmt::Display for LayerPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "/{}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &[u8], expected: Option<&str>) {
        let cleaned = LayerPath::clean(name).ok().map(|path| path.to_string());
        assert_eq!(
            cleaned.as_deref(),
            expected,
            "{:?}",
            String::from_utf8_lossy(name)
        );
    }

    #[test]
    fn names_are_cleaned_or_refused() {
        check(b"./", Some("/"));
        check(b"/", Some("/"));
        check(b"/etc/passwd", Some("/etc/passwd"));
        check(b"./a//b/./c/", Some("/a/b/c"));
        check(b"a/../b", Some("/b"));
        check(b"...", Some("/..."));
        check(b"..", None);
        check(b"../x", None);
        check(b"a/../../x", None);
        check(b"/../x", None);
        check(b"a\0b", None);
        check(&[b'a'; 256], None);
        check(&b"abc/".repeat(1024), Some(&"/abc".repeat(1024)));
        check(&b"abcd/".repeat(1024), None);
    }

    #[test]
    fn a_path_splits_into_directory_and_name() {
        let path = LayerPath::clean(b"a/b/c").unwrap();
        let (parent, name) = path.split().unwrap();
        assert_eq!((parent.to_string().as_str(), name), ("/a/b", &b"c"[..]));
        assert_eq!(
            LayerPath::clean(b"c").unwrap().split().unwrap().0,
            LayerPath::default()
        );
        assert!(LayerPath::default().split().is_none());
    }
}
