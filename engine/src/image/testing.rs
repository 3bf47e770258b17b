//! Archives and places for this module's tests.

use std::path::Path;

/// A directory on a tmpfs where there is one: the tests write much and need no durability.
pub(crate) fn scratch() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let place = if shm.is_dir() {
        tempfile::tempdir_in(shm)
    } else {
        tempfile::tempdir()
    };
    place.expect("a scratch directory")
}

/// A tar builder with one method per kind of entry.
pub(crate) struct Tar(pub(crate) tar::Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.raw(tar::EntryType::Regular, name, "", content)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.raw(tar::EntryType::Directory, name, "", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(tar::EntryType::Symlink, name, target, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.raw(tar::EntryType::Link, name, target, b"")
    }

    /// An entry whose name and target the tar crate would refuse to write.
    pub(crate) fn raw(
        mut self,
        kind: tar::EntryType,
        name: &str,
        target: &str,
        content: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        if name.len() > 100 {
            self = self.meta(tar::EntryType::GNULongName, name.as_bytes());
        }
        if target.len() > 100 {
            self = self.meta(tar::EntryType::GNULongLink, target.as_bytes());
        }
        let gnu = header.as_gnu_mut().expect("gnu");
        copy(&mut gnu.name, name.as_bytes());
        copy(&mut gnu.linkname, target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).expect("append");
        self
    }

    pub(crate) fn meta(mut self, kind: tar::EntryType, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).expect("append");
        self
    }

    /// PAX records for the entry that follows.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let text: Vec<u8> = records
            .iter()
            .flat_map(|(key, value)| record(key, value))
            .collect();
        self.meta(tar::EntryType::XHeader, &text)
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("finish")
    }
}

fn copy(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    [
        length.to_string().as_bytes(),
        b" ",
        key.as_bytes(),
        b"=",
        value,
        b"\n",
    ]
    .concat()
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).expect("gzip");
    encoder.finish().expect("gzip")
}
