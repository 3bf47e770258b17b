//! What becomes of a build's result, in the words of `--output` and of BuildKit's exporters: `type=oci,dest=x.tar,compression=zstd`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BuildOutput;
use crate::error::{ApiError, Result};
use crate::wire::wire;

/// Prefix of the attributes that are annotations of the image's manifest.
const ANNOTATION: &str = "annotation";
/// Attributes that say what is done here anyway, or what only matters to other stores.
const ACCEPTED: &[&str] = &[
    "attestation-prefix",
    "buildinfo",
    "context",
    "dangling-name-prefix",
    "force-compression",
    "name-canonical",
    "oci-artifact",
    "platform-split",
    "prefer-nondist-layers",
    "rewrite-timestamp",
    "source-date-epoch",
    "store",
    "unpack",
];

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// Not at all.
    Uncompressed,
    /// What every reader takes.
    #[default]
    Gzip,
    /// Smaller and faster; only in OCI's words.
    Zstd,
}

/// Whose archive it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArchiveFormat {
    /// An OCI image layout.
    #[default]
    Oci,
    /// The same with the list that `docker load` reads.
    Docker,
}

wire! {
    /// An image as files instead of in the store.
    pub struct ImageArchive {
        /// Where on this machine, absolute.
        pub path: String,
        /// Whose archive it is.
        pub format: ArchiveFormat,
        /// A directory instead of a tar archive.
        pub unpacked: bool,
        /// Names of the image in it, beside those of the build.
        pub names: Vec<String>,
        /// How its layers are compressed.
        pub compression: Compression,
        /// 0 to 9 for gzip, 0 to 22 for zstd; the compression's own when none is given.
        pub level: Option<i32>,
        /// Docker's media types instead of OCI's.
        pub docker_types: bool,
        /// Annotations of the manifest.
        pub annotations: BTreeMap<String, String>,
        /// Annotations of the manifest's entry in the index.
        pub entry_annotations: BTreeMap<String, String>,
    }
}

/// What one `--output` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputAsked {
    /// What is made.
    pub output: BuildOutput,
    /// With [`BuildOutput::Image`]: further names.
    pub names: Vec<String>,
    /// Its names are to be pushed afterwards.
    pub push: bool,
}

impl BuildOutput {
    /// Reads a type and its attributes; `dest` is a path of this machine.
    ///
    /// # Errors
    /// 400 for a type or an attribute that is not known, a bad value, and a `dest` that is missing.
    pub fn of(kind: &str, attributes: &BTreeMap<String, String>) -> Result<OutputAsked> {
        let attributes = Attributes { kind, attributes };
        let dest = || {
            attributes
                .text("dest")
                .map(str::to_owned)
                .ok_or_else(|| attributes.wrong("dest is missing"))
        };
        let names = attributes.names();
        let mut asked = OutputAsked {
            output: Self::Cache,
            names: Vec::new(),
            push: false,
        };
        match kind {
            "local" => {
                attributes.only(&["dest"])?;
                asked.output = Self::Directory(dest()?);
            }
            "tar" => {
                attributes.only(&["dest"])?;
                asked.output = Self::Tar(dest()?);
            }
            "oci" => asked.output = Self::Archive(attributes.archive(ArchiveFormat::Oci, dest)?),
            "docker" if attributes.text("dest").is_some() => {
                asked.output = Self::Archive(attributes.archive(ArchiveFormat::Docker, dest)?);
            }
            "docker" | "image" | "moby" | "registry" => {
                attributes.only(&[
                    "name",
                    "push",
                    "compression",
                    "compression-level",
                    "oci-mediatypes",
                ])?;
                asked.output = Self::Image;
                asked.names = names;
                asked.push = kind == "registry" || attributes.flag("push", false)?;
            }
            "cacheonly" => attributes.only(&[])?,
            other => {
                return Err(
                    ApiError::bad_request(format!("output: {other:?} is no type")).with_hint(
                        "the types are local, tar, oci, docker, image, registry, cacheonly",
                    ),
                );
            }
        }
        Ok(asked)
    }
}

/// The attributes of one output.
struct Attributes<'a> {
    kind: &'a str,
    attributes: &'a BTreeMap<String, String>,
}

impl Attributes<'_> {
    fn wrong(&self, why: &str) -> ApiError {
        ApiError::bad_request(format!("output of type {}: {why}", self.kind))
    }

    fn text(&self, name: &str) -> Option<&str> {
        let value = self.attributes.get(name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    fn names(&self) -> Vec<String> {
        let names = self.text("name").unwrap_or_default().split(',');
        names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// As Go reads booleans; a name without a value is true.
    fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.attributes.get(name).map(String::as_str) {
            None => Ok(default),
            Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(value) => Err(self.wrong(&format!("{name}={value} is neither true nor false"))),
        }
    }

    /// Refuses what is not known.
    fn only(&self, known: &[&str]) -> Result<()> {
        let unknown = self
            .attributes
            .keys()
            .find(|name| !known.contains(&name.as_str()) && !ACCEPTED.contains(&name.as_str()));
        match unknown {
            Some(name) if name.starts_with(ANNOTATION) => Err(self
                .wrong("annotations are not kept in the store")
                .with_hint("write them with type=oci,dest=FILE")),
            Some(name) => Err(self.unknown(name, known)),
            None => Ok(()),
        }
    }

    fn unknown(&self, name: &str, known: &[&str]) -> ApiError {
        let hint = match known {
            [] => "it has no attributes".to_owned(),
            known => format!("its attributes are {}", known.join(", ")),
        };
        self.wrong(&format!("{name} is not known")).with_hint(hint)
    }

    fn archive(
        &self,
        format: ArchiveFormat,
        dest: impl FnOnce() -> Result<String>,
    ) -> Result<ImageArchive> {
        let mut archive = ImageArchive {
            format,
            unpacked: !self.flag("tar", true)?,
            names: self.names(),
            compression: match self.text("compression") {
                None | Some("gzip") => Compression::Gzip,
                Some("uncompressed") => Compression::Uncompressed,
                Some("zstd") => Compression::Zstd,
                Some(other) => {
                    return Err(self
                        .wrong(&format!("compression={other} is not made by this engine"))
                        .with_hint("the compressions are uncompressed, gzip, zstd"));
                }
            },
            ..ImageArchive::default()
        };
        archive.level = self.level(archive.compression)?;
        let oci_by_default =
            format == ArchiveFormat::Oci || archive.compression == Compression::Zstd;
        archive.docker_types = !self.flag("oci-mediatypes", oci_by_default)?;
        if archive.docker_types && archive.compression == Compression::Zstd {
            return Err(self.wrong("compression=zstd conflicts with oci-mediatypes=false"));
        }
        const KNOWN: &[&str] = &[
            "dest",
            "name",
            "tar",
            "compression",
            "compression-level",
            "oci-mediatypes",
        ];
        for (name, value) in self.attributes {
            if KNOWN.contains(&name.as_str()) || ACCEPTED.contains(&name.as_str()) {
                continue;
            }
            let (level, key) = annotation(name).ok_or_else(|| self.unknown(name, KNOWN))?;
            let place = match level {
                "" | "manifest" => &mut archive.annotations,
                "manifest-descriptor" => &mut archive.entry_annotations,
                "index" | "index-descriptor" => {
                    return Err(
                        self.wrong("annotations of an index need an image of several platforms")
                    );
                }
                _ => return Err(self.unknown(name, KNOWN)),
            };
            place.insert(key.to_owned(), value.clone());
        }
        // A misspelt name is told first.
        archive.path = dest()?;
        Ok(archive)
    }

    fn level(&self, compression: Compression) -> Result<Option<i32>> {
        let Some(text) = self.text("compression-level") else {
            return Ok(None);
        };
        let most = match compression {
            Compression::Zstd => 22,
            Compression::Gzip | Compression::Uncompressed => 9,
        };
        let level = text.parse().ok().filter(|level| (0..=most).contains(level));
        let wrong = || self.wrong(&format!("compression-level={text} is not in 0..{most}"));
        level.map(Some).ok_or_else(wrong)
    }
}

/// `annotation.KEY`, `annotation-manifest.KEY`, `annotation-manifest[linux/amd64].KEY`: what it is an annotation of, and its key.
fn annotation(name: &str) -> Option<(&str, &str)> {
    let (place, key) = name.strip_prefix(ANNOTATION)?.split_once('.')?;
    // A platform has no dot; there is but one.
    let place = place.split('[').next().unwrap_or_default();
    Some((place.strip_prefix('-').unwrap_or(place), key)).filter(|(_, key)| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, attributes: &str) -> Result<OutputAsked> {
        let fields = attributes.split(';').filter(|field| !field.is_empty());
        let pair = |field: &str| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            (name.to_owned(), value.to_owned())
        };
        BuildOutput::of(kind, &fields.map(pair).collect())
    }

    fn archive(kind: &str, attributes: &str) -> ImageArchive {
        match check(kind, attributes).unwrap().output {
            BuildOutput::Archive(archive) => archive,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn archives_are_read() {
        let plain = archive("oci", "dest=/x.tar");
        assert_eq!((plain.path.as_str(), plain.unpacked), ("/x.tar", false));
        assert_eq!(
            (plain.compression, plain.docker_types),
            (Compression::Gzip, false)
        );
        assert!(archive("docker", "dest=/x").docker_types);
        let full = archive(
            "oci",
            "dest=/x;tar=false;name=a,b:1;compression=zstd;compression-level=19;annotation.k=v;\
             annotation-manifest[linux/amd64].l.m=w;annotation-manifest-descriptor.d=e",
        );
        assert!(full.unpacked);
        assert_eq!(full.names, ["a", "b:1"]);
        assert_eq!(
            (full.compression, full.level),
            (Compression::Zstd, Some(19))
        );
        let pairs =
            [("k", "v"), ("l.m", "w")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(full.annotations, BTreeMap::from(pairs));
        assert_eq!(full.entry_annotations["d"], "e");
        assert!(!archive("docker", "dest=/x;compression=zstd").docker_types);
    }

    #[test]
    fn images_have_names_and_may_be_pushed() {
        let asked = check("image", "name=a,b;push=true").unwrap();
        assert_eq!((asked.output, asked.push), (BuildOutput::Image, true));
        assert_eq!(asked.names, ["a", "b"]);
        assert!(check("registry", "name=a").unwrap().push);
        assert_eq!(check("docker", "").unwrap().output, BuildOutput::Image);
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (kind, attributes, said) in [
            ("what", "dest=/x", "\"what\" is no type"),
            ("tar", "", "dest is missing"),
            ("oci", "", "dest is missing"),
            ("oci", "dst=/x", "dst is not known"),
            (
                "tar",
                "dest=/x;compression=gzip",
                "compression is not known",
            ),
            ("oci", "dest=/x;compression=estargz", "estargz is not made"),
            ("oci", "dest=/x;compression-level=10", "is not in 0..9"),
            ("oci", "dest=/x;oci-mediatypes=no", "neither true nor false"),
            (
                "oci",
                "dest=/x;oci-mediatypes=false;compression=zstd",
                "conflicts",
            ),
            ("oci", "dest=/x;annotation-index.a=b", "several platforms"),
            ("oci", "dest=/x;colour=red", "colour is not known"),
            ("image", "annotation.a=b", "not kept in the store"),
        ] {
            let error = check(kind, attributes).unwrap_err();
            assert!(error.message.contains(said), "{kind} {attributes}: {error}");
        }
    }
}
