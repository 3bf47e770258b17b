//! The files of a build: brought from the client's session into directories that are kept between builds.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hoist_api::build::{BuildContext, DockerfileSource};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::contexts::{Context, Contexts};
use crate::grpc::{Code, Status, frame};
use crate::ignore;
use crate::proto::control::BytesMessage;
use crate::proto::session::Packet;
use crate::request::{Asked, Source};
use crate::session::{FilesWanted, Session, Sessions, UPLOAD_HOST};
use crate::steps::Steps;
use crate::transfer::{Limits, Received, receive};

/// Longest Dockerfile or list of what is ignored.
const MAX_TEXT: u64 = 4 << 20;
/// Packets that wait for the disk.
const QUEUE: usize = 32;

/// What a build needs beside its request; it goes when the build is done.
#[derive(Debug)]
pub(crate) struct Files {
    /// The Dockerfile's name for the user and its text, when it came from the client.
    pub(crate) dockerfile: Option<(String, Vec<u8>)>,
    /// This build's alone: the Dockerfile, what is exported to files.
    pub(crate) own: Context,
    /// The context when it came as an archive, from its beginning.
    pub(crate) archive: Option<std::fs::File>,
    kept: Vec<Context>,
}

impl Files {
    /// The build is done: what it was made from is there for the next one.
    pub(crate) fn release(&mut self) {
        self.kept.clear();
    }
}

/// Brings files.
#[derive(Debug)]
pub(crate) struct Gather<'build> {
    pub(crate) sessions: &'build Sessions,
    pub(crate) contexts: &'build Contexts,
    pub(crate) session: Arc<Session>,
    pub(crate) steps: &'build Steps,
    /// Only the Dockerfile and what is ignored: nothing is built.
    pub(crate) text_only: bool,
}

impl Gather<'_> {
    /// Brings everything that is asked for, and completes the request with where it is.
    pub(crate) async fn run(&self, asked: &mut Asked) -> Result<Files, Status> {
        let own = self.contexts.take("", &self.session.info().id);
        let mut files = Files {
            dockerfile: None,
            own: own.map_err(|error| disk(&error))?,
            archive: None,
            kept: Vec::new(),
        };
        let mut ignored = match asked.dockerfile.clone() {
            Some(name) => self.dockerfile(asked, &mut files, &name).await?,
            None => {
                asked.request.dockerfile = DockerfileSource::Context(asked.filename.clone());
                None
            }
        };
        if let Source::Local(name) = asked.context.clone() {
            let session = self.session_of(asked, &name).await?;
            if ignored.is_none() {
                ignored = self.dockerignore(&session, &name).await?;
            }
            if !self.text_only {
                let excluded = ignored.as_deref().map(ignore::patterns);
                let context = self.context(&session, &name, excluded).await?;
                let path = context.path().to_string_lossy().into_owned();
                asked.request.context = BuildContext::Directory(path);
                files.kept.push(context);
            }
        }
        if let Some((_, text)) = &files.dockerfile {
            let path = files.own.path().join("Dockerfile");
            let list = files.own.path().join("Dockerfile.dockerignore");
            std::fs::write(&path, text)
                .and_then(|()| std::fs::write(list, ignored.unwrap_or_default()))
                .map_err(|error| disk(&error))?;
            let path = path.to_string_lossy().into_owned();
            asked.request.dockerfile = DockerfileSource::File(path);
        }
        if self.text_only && files.dockerfile.is_some() {
            return Ok(files);
        }
        self.further_contexts(asked, &mut files).await?;
        self.uploaded(asked, &mut files).await?;
        Ok(files)
    }

    /// The session that has a directory; the build's own unless it is said otherwise.
    async fn session_of(&self, asked: &Asked, name: &str) -> Result<Arc<Session>, Status> {
        match asked.sessions.get(name) {
            Some(id) => self.sessions.get(id).await,
            None => Ok(self.session.clone()),
        }
    }

    /// Brings the Dockerfile; says what is ignored when a list of its own is beside it.
    async fn dockerfile(
        &self,
        asked: &Asked,
        files: &mut Files,
        name: &str,
    ) -> Result<Option<Vec<u8>>, Status> {
        let filename = &asked.filename;
        let session = self.session_of(asked, name).await?;
        let step = format!("[internal] load build definition from {filename}");
        let list = format!("{filename}.dockerignore");
        let mut follow = vec![filename.clone(), list.clone()];
        let lower = filename.rsplit('/').next() == Some("Dockerfile");
        let lower = lower.then(|| format!("{}dockerfile", &filename[..filename.len() - 10]));
        follow.extend(lower.clone());
        let wanted = FilesWanted {
            name: name.to_owned(),
            follow,
            exclude: Vec::new(),
        };
        let moved = self.transfer(&session, wanted, "", (&step, "transferring dockerfile:"));
        let directory = moved.await?;
        let mut found = read_beneath(directory.path(), filename);
        if let (Err(_), Some(lower)) = (&found, &lower) {
            found = read_beneath(directory.path(), lower).or(found);
        }
        let text = found.map_err(|error| {
            let message = format!(
                "failed to read dockerfile: open {filename}: {}",
                words(&error)
            );
            // Without a kind, as BuildKit says it: clients print the kind before the words.
            Status::new(Code::Unknown, message)
        })?;
        files.dockerfile = Some((filename.clone(), text));
        Ok(read_beneath(directory.path(), &list).ok())
    }

    async fn dockerignore(&self, session: &Session, name: &str) -> Result<Option<Vec<u8>>, Status> {
        let wanted = FilesWanted {
            name: name.to_owned(),
            follow: vec![".dockerignore".to_owned()],
            exclude: Vec::new(),
        };
        let shown = ("[internal] load .dockerignore", "transferring context:");
        let moved = self
            .transfer(session, wanted, ".dockerignore", shown)
            .await?;
        Ok(read_beneath(moved.path(), ".dockerignore").ok())
    }

    async fn context(
        &self,
        session: &Session,
        name: &str,
        excluded: Option<Vec<String>>,
    ) -> Result<Context, Status> {
        let step = match name {
            "context" => "[internal] load build context".to_owned(),
            name => format!("[context {name}] load from client"),
        };
        let what = match name {
            "context" => "transferring context:".to_owned(),
            name => format!("transferring {name}:"),
        };
        let wanted = FilesWanted {
            name: name.to_owned(),
            follow: Vec::new(),
            exclude: excluded.unwrap_or_default(),
        };
        self.transfer(session, wanted, "", (&step, &what)).await
    }

    async fn further_contexts(&self, asked: &mut Asked, files: &mut Files) -> Result<(), Status> {
        let mut found = BTreeMap::new();
        for (name, source) in &asked.contexts {
            let place = match source {
                Source::Elsewhere(place) => place.clone(),
                Source::Local(local) => {
                    let session = self.session_of(asked, local).await?;
                    let ignored = self.dockerignore(&session, local).await?;
                    let excluded = ignored.as_deref().map(ignore::patterns);
                    let context = self.context(&session, local, excluded).await?;
                    let path = context.path().to_string_lossy().into_owned();
                    files.kept.push(context);
                    path
                }
            };
            found.insert(name.clone(), place);
        }
        asked.request.contexts = found;
        Ok(())
    }

    /// Brings the archive that the client uploads, when the context is one.
    async fn uploaded(&self, asked: &mut Asked, files: &mut Files) -> Result<(), Status> {
        let Source::Elsewhere(url) = &asked.context else {
            return Ok(());
        };
        let place = url
            .strip_prefix("http://")
            .and_then(|place| place.strip_prefix(UPLOAD_HOST));
        let Some(path) = place.filter(|path| path.starts_with('/')) else {
            return Ok(());
        };
        let step = self.steps.begin("[internal] load remote build context");
        let mut messages = self.session.upload(path).await?;
        let failed = |error: std::io::Error| disk(&error);
        let archive = tempfile::tempfile_in(files.own.path()).map_err(failed)?;
        let mut file = tokio::fs::File::from_std(archive);
        let mut bytes = 0;
        while let Some(BytesMessage { data }) = messages.next().await? {
            file.write_all(&data).await.map_err(failed)?;
            bytes += data.len() as u64;
        }
        file.flush().await.map_err(failed)?;
        file.rewind().await.map_err(failed)?;
        step.moved("transferring context:", bytes);
        step.end(None);
        files.archive = Some(file.into_std().await);
        asked.request.context = BuildContext::Archive;
        Ok(())
    }

    /// Brings a directory up to date. `part` keeps apart what is asked for of the same directory.
    async fn transfer(
        &self,
        session: &Session,
        wanted: FilesWanted,
        part: &str,
        (name, what): (&str, &str),
    ) -> Result<Context, Status> {
        let step = self.steps.begin(name);
        let key = format!("{}\n{part}", wanted.name);
        let taken = self.contexts.take(&session.info().shared_key, &key);
        let moved = match taken {
            Ok(context) => bring(session, &wanted, context.path())
                .await
                .map(|received| (context, received)),
            Err(error) => Err(disk(&error)),
        };
        match moved {
            Ok((context, received)) => {
                step.moved(what, received.bytes);
                step.end(None);
                Ok(context)
            }
            Err(status) => {
                step.end(Some(&status.message));
                Err(status)
            }
        }
    }
}

/// One transfer into a directory.
async fn bring(session: &Session, wanted: &FilesWanted, into: &Path) -> Result<Received, Status> {
    let (sender, outgoing) = mpsc::unbounded_channel::<Bytes>();
    let (packets, mut incoming) = mpsc::channel::<Packet>(QUEUE);
    let mut messages = session.files(wanted, outgoing).await?;
    let into = into.to_owned();
    let writing = tokio::task::spawn_blocking(move || {
        let next = || incoming.blocking_recv();
        let send = |packet: Packet| {
            // A client that is gone is noticed when nothing more comes.
            let _ = sender.send(frame(&packet));
        };
        receive(&into, Limits::default(), next, send)
    });
    let mut ended = Ok(());
    loop {
        match messages.next::<Packet>().await {
            Ok(Some(packet)) => {
                if packets.send(packet).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(status) => {
                ended = Err(status);
                break;
            }
        }
    }
    drop(packets);
    let received = writing
        .await
        .map_err(|error| Status::new(Code::Internal, error.to_string()))?;
    match (received, ended) {
        (Ok(received), _) => Ok(received),
        // The client's own words say more than that it went.
        (Err(crate::transfer::ReceiveError::Gone), Err(status)) => Err(status),
        (Err(error), _) => Err(Status::new(Code::Unknown, chain(&error))),
    }
}

/// Reads a small file that a client sent; links in it lead nowhere but beneath the root.
fn read_beneath(root: &Path, path: &str) -> std::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // Without waiting, should it be a pipe.
    let flags = flags | OFlags::NONBLOCK;
    let file = openat2(&directory, path, flags, Mode::empty(), resolve)?;
    let file = std::fs::File::from(file);
    if !file.metadata()?.is_file() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    let mut text = Vec::new();
    file.take(MAX_TEXT).read_to_end(&mut text)?;
    Ok(text)
}

fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

fn disk(error: &std::io::Error) -> Status {
    let message = format!("cannot keep the files of the build: {error}");
    Status::new(Code::Internal, message)
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
