//! A named context that is an OCI layout on the disk: `oci-layout://directory[:tag][@digest]`.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::super::Service;
use crate::build::error::BuildError;

/// The tag's place in an index.
const TAG: &str = "org.opencontainers.image.ref.name";

/// Which image of a layout.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    directory: &'a Path,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn parse(text: &'a str) -> Self {
        let (place, digest) = match text.split_once('@') {
            Some((place, digest)) => (place, Some(digest)),
            None => (text, None),
        };
        let name = place.rfind('/').map_or(0, |slash| slash + 1);
        let (directory, tag) = match place[name..].find(':') {
            Some(colon) => (&place[..name + colon], Some(&place[name + colon + 1..])),
            None => (place, None),
        };
        Self {
            directory: Path::new(directory),
            tag,
            digest,
        }
    }

    /// The index with that image alone, and without the names that it would get in the store.
    fn choose(&self, index: &Value) -> Result<Value, String> {
        let all: Vec<&Value> = index["manifests"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        let tag_of = |entry: &Value| {
            let name = entry["annotations"][TAG].as_str().unwrap_or_default();
            name.rsplit(':').next().unwrap_or_default().to_owned()
        };
        let chosen: Vec<&Value> = match (self.digest, self.tag) {
            (Some(digest), _) => all
                .iter()
                .copied()
                .filter(|one| one["digest"] == digest)
                .collect(),
            (None, Some(tag)) => all
                .iter()
                .copied()
                .filter(|one| tag_of(one) == tag)
                .collect(),
            (None, None) if all.len() > 1 => all
                .iter()
                .copied()
                .filter(|one| tag_of(one) == "latest")
                .collect(),
            (None, None) => all,
        };
        let [one] = chosen.as_slice() else {
            return Err(match (self.digest, self.tag) {
                (Some(named), _) | (None, Some(named)) => {
                    format!("{} of its images are {named}, one is wanted", chosen.len())
                }
                (None, None) => {
                    "it has several images: name one as DIRECTORY:TAG or DIRECTORY@DIGEST"
                        .to_owned()
                }
            });
        };
        let mut one = (*one).clone();
        if let Some(fields) = one.as_object_mut() {
            fields.remove("annotations");
        }
        Ok(json!({"schemaVersion": 2, "manifests": [one]}))
    }
}

/// Takes the image of an OCI layout into the store, without a name; its id.
pub(super) fn load(service: &Service, place: &str) -> Result<String, BuildError> {
    let wanted = Wanted::parse(place);
    let directory = wanted.directory;
    let at = directory.join("index.json");
    let text =
        std::fs::read(&at).map_err(|error| BuildError::io("read the OCI layout", &at, error))?;
    let index = serde_json::from_slice(&text)
        .map_err(|error| BuildError::io("read", &at, io::Error::from(error)))?;
    let refused = |why: String| {
        BuildError::Refused(format!(
            "cannot use the OCI layout {}: {why}",
            directory.display()
        ))
    };
    let index = wanted.choose(&index).map_err(refused)?.to_string();
    let (mut reader, writer) =
        io::pipe().map_err(|error| BuildError::io("make", "a pipe", error))?;
    let blobs = directory.join("blobs");
    let packing = std::thread::spawn(move || pack(writer, &blobs, index.as_bytes()));
    let loaded = service.images.load(&mut reader, None);
    drop(reader);
    let packed = packing
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("packing failed")));
    let loaded = loaded.map_err(|error| match packed {
        Err(packing) if packing.kind() != io::ErrorKind::BrokenPipe => {
            BuildError::io("read", directory, packing)
        }
        _ => error.into(),
    })?;
    match loaded.as_slice() {
        [one] => Ok(one.id.to_string()),
        _ => Err(refused("it has no image for this machine".to_owned())),
    }
}

fn pack(writer: impl Write, blobs: &Path, index: &[u8]) -> io::Result<()> {
    let mut archive = tar::Builder::new(writer);
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(index.len() as u64);
    archive.append_data(&mut header, "index.json", index)?;
    archive.append_dir_all("blobs", blobs)?;
    archive.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_tags_and_digests() {
        let check = |text: &str, directory: &str, tag: Option<&str>, digest: Option<&str>| {
            let directory = Path::new(directory);
            let expected = Wanted {
                directory,
                tag,
                digest,
            };
            assert_eq!(Wanted::parse(text), expected, "{text}");
        };
        check("/a/b", "/a/b", None, None);
        check("/a:x/b", "/a:x/b", None, None);
        check("/a/b:1", "/a/b", Some("1"), None);
        check("/a/b:1@sha256:00", "/a/b", Some("1"), Some("sha256:00"));
        check("/a/b@sha256:00", "/a/b", None, Some("sha256:00"));
    }

    #[test]
    fn one_image_is_chosen_and_loses_its_name() {
        let index = json!({"manifests": [
            {"digest": "sha256:aa", "annotations": {TAG: "1"}},
            {"digest": "sha256:bb", "annotations": {TAG: "latest"}},
        ]});
        let of = |place: &str| Wanted::parse(place).choose(&index);
        let only = |digest: &str| json!({"schemaVersion": 2, "manifests": [{"digest": digest}]});
        assert_eq!(of("/d"), Ok(only("sha256:bb")));
        assert_eq!(of("/d:1"), Ok(only("sha256:aa")));
        assert_eq!(of("/d@sha256:bb"), Ok(only("sha256:bb")));
        assert_eq!(
            of("/d:2").unwrap_err(),
            "0 of its images are 2, one is wanted"
        );
    }
}
