//! Files copied between our file system and a container's, as `docker cp` copies them.
//!
//! What is copied to where follows from three facts, as with cp(1): what the source is, what stands at the
//! destination, and how the two paths are written. An archive that a container gives is unpacked beneath the destination
//! and nowhere else, whatever its names and links say.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt;
use hoist_api::ErrorKind;
use hoist_api::archive::PutArchive;
use hoist_api::client::{BodyStream, Client};
use hoist_api::engine::ByteStream;
use tokio::sync::mpsc;

use crate::context::{Context, open_input};
use crate::failure::Failure;

/// How files are copied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CopyOptions {
    /// Keep owners.
    pub(crate) archive: bool,
    /// Copy what a link leads to instead of the link.
    pub(crate) follow_link: bool,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Nothing,
    Directory,
    Other,
}

/// Where an archive is unpacked: a directory, and the name there of what is copied (none: its contents).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Landing {
    directory: String,
    name: Option<String>,
}

/// Decides where a source lands, with Docker's rules.
fn landing(
    source: &str,
    is_directory: bool,
    target: &str,
    stands: Stands,
) -> Result<Landing, Failure> {
    let contents = source.ends_with("/.") || source == ".";
    let within = |name| Landing {
        directory: target.to_owned(),
        name,
    };
    match (stands, is_directory) {
        (Stands::Directory, _) if contents => Ok(within(None)),
        (Stands::Directory, _) => Ok(within(Some(last_name(source)))),
        (Stands::Other, true) => Err(Failure::new(format!(
            "cannot copy a directory to the file {target}"
        ))),
        (Stands::Nothing, false) if target.ends_with('/') => Err(Failure::new(format!(
            "cannot copy to {target}: there is no such directory"
        ))),
        _ => {
            let trimmed = target.trim_end_matches('/');
            let (directory, name) = trimmed.rsplit_once('/').unwrap_or((".", trimmed));
            let directory = if directory.is_empty() { "/" } else { directory };
            Ok(Landing {
                directory: directory.to_owned(),
                name: Some(name.to_owned()),
            })
        }
    }
}

fn last_name(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    trimmed.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Copies a file or directory of ours, or the archive on standard input for `-`, into a container. Gives the bytes
/// sent.
///
/// # Errors
/// The source cannot be read, the two do not go together, or the engine refuses.
pub(crate) async fn into_container(
    context: &Context,
    engine: &Client,
    (source, container, target): (&str, &str, &str),
    options: CopyOptions,
) -> Result<u64, Failure> {
    let (target, stands) = resolve_target(engine, container, target).await?;
    let (landing, body) = if source == "-" {
        if stands != Stands::Directory {
            return Err(Failure::new(format!(
                "destination \"{container}:{target}\" must be a directory"
            )));
        }
        let input = open_input("-").await?;
        let body: ByteStream = Box::pin(tokio_util::io::ReaderStream::with_capacity(input, PIECE));
        (
            Landing {
                directory: target,
                name: None,
            },
            body,
        )
    } else {
        let path = context.absolute(source);
        let meta = match options.follow_link || source.ends_with('/') {
            true => fs::metadata(&path),
            false => fs::symlink_metadata(&path),
        };
        let meta =
            meta.map_err(|error| Failure::from(error).context(format!("cannot copy {source}")))?;
        if source.ends_with('/') && !meta.is_dir() {
            return Err(Failure::new(format!(
                "cannot copy {source}: it is not a directory"
            )));
        }
        // "." is nothing but the directory's contents; any other name is as it is written.
        let landing = landing(source, meta.is_dir(), &target, stands)?;
        let follow = options.follow_link || source.ends_with('/');
        let body = pack(path, landing.name.clone(), follow);
        (landing, body)
    };
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = sent.clone();
    let body = body.inspect(move |piece| {
        let length = piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
        counter.fetch_add(length, std::sync::atomic::Ordering::Relaxed);
    });
    let put = PutArchive {
        path: landing.directory,
        no_overwrite_dir_non_dir: true,
        copy_uid_gid: options.archive,
    };
    engine
        .container_put_archive_with(container, &put, Box::pin(body))
        .await?;
    Ok(sent.load(std::sync::atomic::Ordering::Relaxed))
}

/// The path in the container with a link at its end followed, and what stands there.
async fn resolve_target(
    engine: &Client,
    container: &str,
    target: &str,
) -> Result<(String, Stands), Failure> {
    let mut path = match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("/{target}"),
    };
    let found = match engine.container_path_stat(container, &path).await {
        Ok(stat) if stat.is_symlink() && !stat.link_target.is_empty() => {
            path = stat.link_target;
            engine.container_path_stat(container, &path).await
        }
        other => other,
    };
    match found {
        Ok(stat) if stat.is_dir() => Ok((path, Stands::Directory)),
        Ok(_) => Ok((path, Stands::Other)),
        Err(error) if error.is(ErrorKind::NotFound) => {
            // A HEAD has no message: tell a missing container from a missing path.
            use hoist_api::Engine as _;
            engine.container_inspect(container).await?;
            Ok((path, Stands::Nothing))
        }
        Err(error) => Err(error.into()),
    }
}

const PIECE: usize = 1 << 17;

/// A file or directory as an archive in which it has this name; none: only its contents.
fn pack(path: PathBuf, name: Option<String>, follow: bool) -> ByteStream {
    let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(8);
    tokio::task::spawn_blocking(move || {
        let writer = io::BufWriter::with_capacity(PIECE, ChannelWriter(sender.clone()));
        if let Err(error) = write_archive(writer, &path, name.as_deref(), follow) {
            // Whoever reads has gone away, or learns of it here.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Box::pin(futures_util::stream::poll_fn(move |context| {
        receiver.poll_recv(context)
    }))
}

fn write_archive(
    writer: impl Write,
    path: &Path,
    name: Option<&str>,
    follow: bool,
) -> io::Result<()> {
    let path = if follow {
        fs::canonicalize(path)?
    } else {
        path.to_owned()
    };
    let mut builder = tar::Builder::new(writer);
    builder.follow_symlinks(false);
    let is_directory = fs::symlink_metadata(&path)?.is_dir();
    match (is_directory, name) {
        (true, name) => builder.append_dir_all(name.unwrap_or("."), &path)?,
        (false, Some(name)) => builder.append_path_with_name(&path, name)?,
        (false, None) => return Err(io::ErrorKind::NotADirectory.into()),
    }
    builder.into_inner()?.flush()
}

struct ChannelWriter(mpsc::Sender<io::Result<Bytes>>);

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        let sent = self.0.blocking_send(piece);
        sent.map(|()| bytes.len())
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies a file or directory of a container to a path of ours, or as an archive to standard output for `-`. Gives
/// the bytes received.
///
/// # Errors
/// There is no such path, the two do not go together, or our file system cannot be written.
pub(crate) async fn out_of_container(
    context: &Context,
    engine: &Client,
    (container, source, target): (&str, &str, &str),
    options: CopyOptions,
) -> Result<u64, Failure> {
    let mut from = source.to_owned();
    if options.follow_link {
        let stat = engine.container_path_stat(container, source).await;
        if let Ok(stat) = stat
            && stat.is_symlink()
            && !stat.link_target.is_empty()
        {
            from = stat.link_target;
        }
    }
    let missing = |error: hoist_api::ApiError| {
        let not_there = error.is(ErrorKind::NotFound);
        let failure = Failure::from(error);
        match not_there {
            true => failure.context(format!("cannot copy {container}:{source}")),
            false => failure,
        }
    };
    let (stat, body) = engine
        .container_get_archive(container, &from)
        .await
        .map_err(missing)?;
    if target == "-" {
        return print(context, body).await;
    }
    let path = context.absolute(target);
    let stands = match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => Stands::Directory,
        Ok(_) => Stands::Other,
        Err(_) => Stands::Nothing,
    };
    let written = match target.ends_with('/') {
        true => format!("{}/", path.display()),
        false => path.display().to_string(),
    };
    let landing = landing(source, stat.is_dir(), &written, stands)?;
    unpack(body, landing, options.archive)
        .await
        .map_err(|error| Failure::from(error).context(format!("cannot write {target}")))
}

async fn print(context: &Context, mut body: BodyStream) -> Result<u64, Failure> {
    let mut count = 0;
    while let Some(piece) = body.next().await {
        let piece = piece?;
        count += piece.len() as u64;
        context.ui.bytes(&piece)?;
    }
    Ok(count)
}

/// Unpacks an archive whose first component is what was asked for, under the landing's name.
async fn unpack(mut body: BodyStream, landing: Landing, owners: bool) -> io::Result<u64> {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(8);
    let unpacking = tokio::task::spawn_blocking(move || {
        let reader = ChannelReader {
            receiver,
            rest: Bytes::new(),
        };
        write_files(reader, &landing, owners)
    });
    let mut count = 0;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(io::Error::other);
        count += piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    unpacking.await.map_err(io::Error::other)??;
    Ok(count)
}

/// The archive is written again with the names changed, and unpacked by a library that lets nothing out of its
/// directory.
fn write_files(
    reader: impl Read + Send + 'static,
    landing: &Landing,
    owners: bool,
) -> io::Result<()> {
    let (renamed, writer) = io::pipe()?;
    let name = landing.name.clone();
    let renaming = std::thread::spawn(move || rename_entries(reader, name.as_deref(), writer));
    let mut archive = tar::Archive::new(io::BufReader::with_capacity(PIECE, renamed));
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(owners);
    archive.set_overwrite(true);
    let unpacked = archive.unpack(&landing.directory);
    drop(archive);
    let outcome = renaming
        .join()
        .map_err(|_| io::Error::other("the archive cannot be read"))?;
    // When unpacking has failed, writing could not go on: the first reason counts.
    unpacked.and(outcome)
}

fn rename_entries(reader: impl Read, name: Option<&str>, writer: impl Write) -> io::Result<()> {
    let mut source = tar::Archive::new(reader);
    let mut target = tar::Builder::new(io::BufWriter::with_capacity(PIECE, writer));
    for entry in source.entries()? {
        let mut entry = entry?;
        let mut header = entry.header().clone();
        let path = renamed(&entry.path()?, name);
        if path.as_os_str().is_empty() {
            continue;
        }
        match entry.link_name()? {
            Some(link) if header.entry_type().is_hard_link() => {
                target.append_link(&mut header, path, renamed(&link, name))?;
            }
            Some(link) if header.entry_type().is_symlink() => {
                target.append_link(&mut header, path, link)?;
            }
            _ => target.append_data(&mut header, path, &mut entry)?,
        }
    }
    target.into_inner()?.flush()
}

/// The path with its first component replaced, or cut off.
fn renamed(path: &Path, name: Option<&str>) -> PathBuf {
    let mut rest = path
        .components()
        .filter(|part| !matches!(part, Component::RootDir));
    rest.next();
    let rest: PathBuf = rest.collect();
    match name {
        Some(name) if rest.as_os_str().is_empty() => PathBuf::from(name),
        Some(name) => Path::new(name).join(rest),
        None => rest,
    }
}

struct ChannelReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        source: &str,
        is_directory: bool,
        (target, stands): (&str, Stands),
        expected: Option<(&str, Option<&str>)>,
    ) {
        let got = landing(source, is_directory, target, stands).ok();
        let expected = expected.map(|(directory, name)| Landing {
            directory: directory.to_owned(),
            name: name.map(str::to_owned),
        });
        assert_eq!(got, expected, "{source} to {target}");
    }

    #[test]
    fn where_things_land() {
        use Stands::{Directory, Nothing, Other};
        check("/a/f", false, ("/d", Directory), Some(("/d", Some("f"))));
        check("/a/f", false, ("/d/g", Nothing), Some(("/d", Some("g"))));
        check("/a/f", false, ("/d/g", Other), Some(("/d", Some("g"))));
        check("/a/f", false, ("/d/", Nothing), None);
        check("/a", true, ("/d", Directory), Some(("/d", Some("a"))));
        check("/a/", true, ("/d", Directory), Some(("/d", Some("a"))));
        check("/a/.", true, ("/d", Directory), Some(("/d", None)));
        check("/a", true, ("/d/e", Nothing), Some(("/d", Some("e"))));
        check("/a/.", true, ("/e", Nothing), Some(("/", Some("e"))));
        check("/a", true, ("/f", Other), None);
        check("f", false, ("g", Nothing), Some((".", Some("g"))));
    }

    #[test]
    fn the_first_component_is_replaced() {
        assert_eq!(
            renamed(Path::new("etc/passwd"), Some("x")),
            Path::new("x/passwd")
        );
        assert_eq!(renamed(Path::new("./a/b"), Some("x")), Path::new("x/a/b"));
        assert_eq!(renamed(Path::new("etc/a/b"), None), Path::new("a/b"));
        assert_eq!(renamed(Path::new("etc"), Some("x")), Path::new("x"));
    }
}
