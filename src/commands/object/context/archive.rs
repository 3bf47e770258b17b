//! `context export` and `context import`: a context as a tar archive, as Docker writes and reads it.
//!
//! `meta.json` describes it, `tls/ENDPOINT/FILE` are its certificates and keys. What is imported is not trusted: names lead nowhere else,
//! and there is an end to what is read.

use std::io::{IsTerminal as _, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path};
use std::{fs, io};

use clap::Args;
use tar::{Archive, Builder, EntryType, Header};

use super::{Store, check_name};
use crate::contexts::{DEFAULT, Meta};
use crate::failure::Failure;

/// `context export`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ExportArgs {
    /// The context
    #[arg(value_name = "CONTEXT")]
    name: String,

    /// Where to write it, "-" for standard output (default: CONTEXT.dockercontext)
    #[arg(value_name = "FILE|-")]
    file: Option<String>,
}

/// `context import`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ImportArgs {
    /// Its name from now on
    #[arg(value_name = "CONTEXT")]
    name: String,

    /// The archive, "-" for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
}

const META: &str = "meta.json";
/// The most that an archive may have, as Docker has it.
const MOST_BYTES: u64 = 10 << 20;

/// A file of an endpoint: the endpoint's name, the file's, the content.
type TlsFile = (String, String, Vec<u8>);

impl Store<'_> {
    /// Writes a context as an archive.
    pub(super) fn export(&self, args: &ExportArgs) -> Result<(), Failure> {
        if args.name != DEFAULT {
            check_name(&args.name)?;
        }
        let archive = self.packed(&args.name)?;
        let file = args.file.clone();
        let file = file.unwrap_or_else(|| format!("{}.dockercontext", args.name));
        if file == "-" {
            if io::stdout().is_terminal() {
                return Err(Failure::new("cannot export to a terminal").hint("name a file"));
            }
            return self.context.ui.bytes(&archive);
        }
        let path = self.context.absolute(&file);
        let write = || {
            // Nobody else may read the keys; what is there already is somebody's.
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(&archive)
        };
        write().map_err(|error: io::Error| {
            Failure::from(error).context(format!("cannot write {}", path.display()))
        })?;
        self.say(&format!("Written file \"{file}\""))
    }

    fn packed(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let meta = serde_json::to_vec(&self.read(name)?)?;
        let files = match name {
            DEFAULT => Vec::new(),
            name => self.contexts.tls_files(name)?,
        };
        let pack = || {
            let mut builder = Builder::new(Vec::new());
            let mut add = |path: &str, kind, mode, content: &[u8]| {
                let mut header = Header::new_ustar();
                header.set_entry_type(kind);
                header.set_mode(mode);
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, content)
            };
            add(META, EntryType::Regular, 0o644, &meta)?;
            add("tls", EntryType::Directory, 0o700, &[])?;
            let mut last = "";
            for (endpoint, file, content) in &files {
                if endpoint != last {
                    add(&format!("tls/{endpoint}"), EntryType::Directory, 0o700, &[])?;
                    last = endpoint;
                }
                let path = format!("tls/{endpoint}/{file}");
                add(&path, EntryType::Regular, 0o600, content)?;
            }
            builder.into_inner()
        };
        pack().map_err(|error: io::Error| {
            Failure::from(error).context(format!("cannot pack context \"{name}\""))
        })
    }

    /// Makes a context of an archive.
    pub(super) fn import(&self, args: &ImportArgs) -> Result<(), Failure> {
        check_name(&args.name)?;
        if self.contexts.has(&args.name) {
            return Err(
                Failure::new(format!("context \"{}\" already exists", args.name))
                    .hint("`context rm` removes it"),
            );
        }
        let cannot = |failure: Failure| failure.context(format!("cannot import {}", args.file));
        let (mut meta, files) = match args.file.as_str() {
            "-" => unpacked(io::stdin().lock()),
            file => fs::File::open(self.context.absolute(file))
                .map_err(Failure::from)
                .and_then(unpacked),
        }
        .map_err(cannot)?;
        meta.name.clone_from(&args.name);
        self.contexts.write(&meta, Some(&[]))?;
        for (endpoint, file, content) in &files {
            let place = (endpoint.as_str(), file.as_str());
            self.contexts.keep(&args.name, place, content)?;
        }
        self.context.ui.line(&args.name)?;
        self.say(&format!("Successfully imported context \"{}\"", args.name))
    }
}

/// What an archive has.
fn unpacked(reader: impl Read) -> Result<(Meta, Vec<TlsFile>), Failure> {
    // Docker's own end without the blanks that fill the last block.
    let filled = reader.take(MOST_BYTES).chain(io::repeat(0).take(1 << 12));
    let mut archive = Archive::new(filled);
    let (mut meta, mut files) = (None, Vec::new());
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        if path == Path::new(META) {
            meta = Some(serde_json::from_slice::<Meta>(&content)?);
            continue;
        }
        let (endpoint, file) = place_of(&path)
            .ok_or_else(|| Failure::new(format!("{}: unexpected context file", path.display())))?;
        files.push((endpoint, file, content));
    }
    let meta = meta.ok_or_else(|| {
        Failure::new("invalid context: no metadata found")
            .hint("`context export` writes such a file")
    })?;
    Ok((meta, files))
}

/// Endpoint and file of `tls/ENDPOINT/FILE`; nothing else is a place.
fn place_of(path: &Path) -> Option<(String, String)> {
    let part = |part| match part {
        Component::Normal(name) => {
            let name = name.to_str()?;
            (!name.contains('\\')).then(|| name.to_owned())
        }
        _ => None,
    };
    let parts: Vec<String> = path.components().map(part).collect::<Option<_>>()?;
    match <[String; 3]>::try_from(parts) {
        Ok([tls, endpoint, file]) if tls == "tls" => Some((endpoint, file)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_endpoints_have_a_place() {
        let place = |path: &str| place_of(Path::new(path));
        assert_eq!(
            place("tls/docker/ca.pem"),
            Some(("docker".to_owned(), "ca.pem".to_owned()))
        );
        for path in [
            "tls/../../x",
            "/tls/docker/x",
            "tls/x",
            "x/docker/y",
            "tls/a/b/c",
            "tls/a/b\\c",
        ] {
            assert_eq!(place(path), None, "{path}");
        }
    }
}
