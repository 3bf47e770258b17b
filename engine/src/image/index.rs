//! The store's documents on disk: blobs by digest, and the index, which is the truth about images and names.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::ImageError;
use super::made::Roots;
use super::manifest::{Descriptor, INDEX_TYPE, Index};
use super::staging::Staging;
use hoist_api::Digest;

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The OCI layout in `<root>/images`.
#[derive(Debug)]
pub(crate) struct Layout {
    directory: PathBuf,
    staging: Staging,
}

impl Layout {
    pub(crate) fn open(directory: PathBuf, staging: Staging) -> Result<Self, ImageError> {
        let blobs = directory.join("blobs/sha256");
        let make = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&blobs);
        make.map_err(|error| ImageError::at("create", &blobs, error))?;
        let layout = Self { directory, staging };
        let mark = layout.directory.join("oci-layout");
        if !mark.exists() {
            fs::write(&mark, LAYOUT).map_err(|error| ImageError::at("write", &mark, error))?;
        }
        Ok(layout)
    }

    /// The content of a blob; none when it is missing or not what its name says.
    pub(crate) fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        let content = fs::read(self.blob(digest)).ok()?;
        (Digest::of(&content) == *digest).then_some(content)
    }

    /// Stores a blob under its digest.
    pub(crate) fn write(&self, content: &[u8]) -> Result<Digest, ImageError> {
        let digest = Digest::of(content);
        let path = self.blob(&digest);
        if self.read(&digest).is_none() {
            self.replace(&path, content)
                .map_err(|error| ImageError::at("write", &path, error))?;
        }
        Ok(digest)
    }

    /// Removes the blobs for which `is_used` is false. What cannot be removed now is removed another time.
    pub(crate) fn sweep(&self, is_used: &dyn Fn(&Digest) -> bool) {
        for entry in fs::read_dir(self.directory.join("blobs/sha256"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_kept = format!("sha256:{name}")
                .parse()
                .is_ok_and(|digest| is_used(&digest));
            if !is_kept && let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "cannot remove an unused blob");
            }
        }
    }

    /// The index; none when there is no readable one, which `is_torn` tells from a new store. A torn one is set aside.
    pub(crate) fn read_index(&self) -> Result<StoredIndex, ImageError> {
        let path = self.index();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(StoredIndex {
                    entries: Vec::new(),
                    is_torn: false,
                });
            }
            Err(error) => return Err(ImageError::at("read", &path, error)),
        };
        match serde_json::from_slice::<Index>(&text) {
            Ok(index) => Ok(StoredIndex {
                entries: index.manifests,
                is_torn: false,
            }),
            Err(error) => {
                let aside = self.directory.join(format!(
                    "index.json.unreadable-{}",
                    Digest::of(&text).short()
                ));
                tracing::warn!(path = %path.display(), aside = %aside.display(), %error, "the image index is unreadable and was set aside");
                fs::rename(&path, &aside)
                    .map_err(|error| ImageError::at("set aside", &path, error))?;
                Ok(StoredIndex {
                    entries: Vec::new(),
                    is_torn: true,
                })
            }
        }
    }

    /// What others than images need. An unreadable list counts as empty: a builder makes again what is missing.
    pub(crate) fn read_roots(&self) -> Roots {
        let entries = fs::read_dir(self.directory.join("roots"));
        let mut roots = Roots::new();
        for entry in entries.into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(owner) = path.file_stem().and_then(|stem| stem.to_str()) else {
                continue;
            };
            if !super::pulled::is_current(owner, &path) {
                // What cannot be removed now is looked at again another time.
                let _ = fs::remove_file(&path);
                continue;
            }
            match fs::read(&path).map(|text| serde_json::from_slice(&text)) {
                Ok(Ok(layers)) => drop(roots.insert(owner.to_owned(), layers)),
                _ => {
                    tracing::warn!(path = %path.display(), "a list of needed layers is unreadable and ignored")
                }
            }
        }
        roots
    }

    /// Replaces an owner's list of needed layers.
    pub(crate) fn write_roots(
        &self,
        owner: &str,
        layers: &BTreeSet<Digest>,
    ) -> Result<(), ImageError> {
        let directory = self.directory.join("roots");
        let path = directory.join(format!("{owner}.json"));
        let failed = |error: io::Error| ImageError::at("write", &path, error);
        fs::create_dir_all(&directory).map_err(failed)?;
        let text = serde_json::to_vec(layers).map_err(|error| failed(error.into()))?;
        self.replace(&path, &text).map_err(failed)
    }

    /// Replaces the index: after this returns it outlasts a power cut.
    pub(crate) fn write_index(&self, entries: Vec<Descriptor>) -> Result<(), ImageError> {
        let path = self.index();
        let failed = |error: io::Error| ImageError::at("write", &path, error);
        let index = Index {
            schema_version: 2,
            media_type: INDEX_TYPE.to_owned(),
            manifests: entries,
        };
        let text = serde_json::to_vec(&index).map_err(|error| failed(error.into()))?;
        self.replace(&path, &text).map_err(failed)?;
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let staged = self.staging.name("file");
        let written = File::create_new(&staged).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
        let result = written.and_then(|()| fs::rename(&staged, path));
        if result.is_err() {
            drop(fs::remove_file(&staged));
        }
        result
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    fn index(&self) -> PathBuf {
        self.directory.join("index.json")
    }
}

/// The index as it was found.
#[derive(Debug)]
pub(crate) struct StoredIndex {
    pub(crate) entries: Vec<Descriptor>,
    /// Whether there was one that could not be read.
    pub(crate) is_torn: bool,
}
