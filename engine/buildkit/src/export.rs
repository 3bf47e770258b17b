//! Results that go back to the client as files: the builder writes them into a directory of the build's own, and from there they are
//! sent over the client's session.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hoist_api::build::{BuildEvent, BuildOutput, BuildStep};
use hoist_api::error::ApiError;
use tokio::sync::mpsc;

use crate::builder::Builder;
use crate::grpc::{Code, Messages, Status, frame};
use crate::proto::Timestamp;
use crate::proto::control::{BytesMessage, Exporter};
use crate::proto::session::Packet;
use crate::session::Session;
use crate::solve::status;
use crate::transfer;

/// Bytes of one message.
const PIECE: usize = 512 << 10;
/// Messages that wait for the client.
const QUEUE: usize = 4;
/// How the steps of exports are numbered: from here on.
const STEPS: u32 = 1 << 24;

/// What a build's result becomes.
#[derive(Debug, Default)]
pub struct Exports {
    all: Vec<Export>,
    /// Further names of the image in the store.
    pub(crate) names: Vec<String>,
    /// Those of them that are pushed to their registries.
    pub(crate) pushed: Vec<String>,
    /// What is asked for and has no effect here, in words for the user.
    pub(crate) passed_over: Vec<String>,
}

/// What clients say of the store that other builders have: how it keeps an image changes nothing about the image here. bollard sends even
/// the type.
const OF_OTHER_STORES: [&str; 12] = [
    "attestation-inline",
    "buildinfo",
    "buildinfo-attrs",
    "dangling-name-prefix",
    "force-compression",
    "load",
    "name-canonical",
    "oci-artifact",
    "prefer-image-digest",
    "store",
    "type",
    "unpack",
];

#[derive(Debug)]
struct Export {
    output: BuildOutput,
    /// What is sent; nothing for what stays here.
    sent: Option<PathBuf>,
    name: &'static str,
}

impl Exports {
    /// Reads exporters; what they write goes beneath `place`.
    ///
    /// # Errors
    /// For exporters that are not known, and for what they cannot do here.
    pub(crate) fn read(exporters: &[Exporter], place: &Path) -> Result<Self, Status> {
        let mut exports = Self::default();
        for (number, exporter) in exporters.iter().enumerate() {
            exports.add(exporter, place.join(format!("export-{number}")))?;
        }
        Ok(exports)
    }

    fn add(&mut self, exporter: &Exporter, path: PathBuf) -> Result<(), Status> {
        let mut attributes = exporter.attrs.clone();
        // The client's own place is nothing to us.
        attributes.remove("dest");
        let name = match exporter.kind.as_str() {
            "local" => "exporting to client directory",
            "tar" => "exporting to client tarball",
            "oci" => "exporting to oci image format",
            "docker" => "exporting to docker image format",
            _ => "exporting to image",
        };
        let stays = matches!(exporter.kind.as_str(), "moby" | "image");
        if stays {
            attributes.retain(|name, value| {
                let is_annotation = name.starts_with("annotation");
                if is_annotation {
                    let told = format!("{name}: annotations are not kept in this engine's store");
                    self.passed_over.push(told);
                }
                let is_off = value == "false" || value == "0";
                !is_annotation && !is_off && !OF_OTHER_STORES.contains(&name.as_str())
            });
        } else {
            let text = path.to_string_lossy().into_owned();
            attributes.insert("dest".to_owned(), text);
        }
        let asked = BuildOutput::of(&exporter.kind, &attributes);
        let asked = asked.map_err(|error: ApiError| status(&error))?;
        let unpacked = matches!(&asked.output, BuildOutput::Archive(archive) if archive.unpacked);
        if unpacked || asked.push && !stays {
            let what = if unpacked { "tar=false" } else { "push=true" };
            let message = format!(
                "exporter {:?} with {what} is not carried out by this engine",
                exporter.kind
            );
            return Err(Status::new(Code::Unimplemented, message));
        }
        if asked.push && asked.names.is_empty() {
            let message = "push=true needs a name to push: name=REGISTRY/REPOSITORY:TAG";
            return Err(Status::new(Code::InvalidArgument, message));
        }
        if asked.push {
            self.pushed.extend(asked.names.clone());
        }
        self.names.extend(asked.names);
        self.all.push(Export {
            output: asked.output,
            sent: (!stays).then_some(path),
            name,
        });
        Ok(())
    }

    /// What the builder is asked for; what is made for nobody is kept in the cache.
    #[must_use]
    pub fn outputs(&self) -> Vec<BuildOutput> {
        match self.all.as_slice() {
            [] => vec![BuildOutput::Cache],
            all => all.iter().map(|export| export.output.clone()).collect(),
        }
    }

    /// Further names of the image in the store, and those of them that are to be pushed.
    #[must_use]
    pub fn names(&self) -> (&[String], &[String]) {
        (&self.names, &self.pushed)
    }

    /// Whether anything goes back to the client.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.all.iter().any(|export| export.sent.is_some())
    }

    /// Pushes what is to be pushed.
    ///
    /// # Errors
    /// When a registry does not take it.
    pub(crate) async fn push(
        &self,
        builder: &dyn Builder,
        session: &Arc<Session>,
        mut tell: impl FnMut(BuildEvent),
    ) -> Result<(), Status> {
        for (number, name) in self.pushed.iter().enumerate() {
            let step = STEPS + u32::try_from(self.all.len() + number).unwrap_or_default();
            tell(BuildEvent::Started {
                step: BuildStep {
                    id: step,
                    name: format!("pushing {name}"),
                    ..BuildStep::default()
                },
                at: now(),
            });
            let pushed = builder.push(name.clone(), session.clone()).await;
            tell(BuildEvent::Done {
                step,
                cached: false,
                at: now(),
                error: pushed
                    .as_ref()
                    .err()
                    .map_or_else(String::new, |error| error.message.clone()),
            });
            pushed.map_err(|error| status(&error))?;
        }
        Ok(())
    }

    /// Whether the result becomes an image of the store.
    pub(crate) fn has_image(&self) -> bool {
        let mut all = self.all.iter();
        all.any(|export| export.output == BuildOutput::Image)
    }

    /// Sends what the builder has written.
    ///
    /// # Errors
    /// When the client does not take it.
    pub async fn send(
        &self,
        session: &Session,
        metadata: &BTreeMap<String, String>,
        mut tell: impl FnMut(BuildEvent),
    ) -> Result<(), Status> {
        for (number, export) in self.all.iter().enumerate() {
            let Some(path) = &export.sent else { continue };
            let step = STEPS + u32::try_from(number).unwrap_or_default();
            tell(BuildEvent::Started {
                step: BuildStep {
                    id: step,
                    name: export.name.to_owned(),
                    ..BuildStep::default()
                },
                at: now(),
            });
            let (sender, outgoing) = mpsc::channel(QUEUE);
            // Some clients answer only when all has come, so it begins before they answer.
            let answer = session.send(number, metadata, outgoing);
            let is_tree = matches!(export.output, BuildOutput::Directory(_));
            let (item, sent) = if is_tree {
                let sent = send_tree(path.clone(), sender, answer).await?;
                ("copying files", sent)
            } else {
                let sent = send_file(path.clone(), sender, answer).await?;
                ("sending tarball", sent)
            };
            let bytes = i64::try_from(sent).unwrap_or(i64::MAX);
            tell(BuildEvent::Progress {
                step,
                item: item.to_owned(),
                current: bytes,
                total: bytes,
            });
            tell(BuildEvent::Done {
                step,
                cached: false,
                at: now(),
                error: String::new(),
            });
        }
        Ok(())
    }
}

/// Unix time in microseconds.
fn now() -> i64 {
    let now = Timestamp::now();
    now.seconds * 1_000_000 + i64::from(now.nanos) / 1000
}

fn internal(error: impl std::fmt::Display) -> Status {
    Status::new(Code::Internal, format!("cannot read the export: {error}"))
}

/// The bytes of a file.
async fn send_file(
    path: PathBuf,
    sender: mpsc::Sender<Bytes>,
    answer: impl Future<Output = Result<Messages, Status>>,
) -> Result<u64, Status> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(path)?;
        let mut sent = 0;
        loop {
            let mut piece = vec![0; PIECE];
            let length = file.read(&mut piece)?;
            piece.truncate(length);
            let data = Bytes::from(piece);
            if length == 0 || sender.blocking_send(frame(&BytesMessage { data })).is_err() {
                return std::io::Result::Ok(sent);
            }
            sent += length as u64;
        }
    });
    let mut answer = answer.await?;
    while answer.next::<BytesMessage>().await?.is_some() {}
    reading.await.map_err(internal)?.map_err(internal)
}

/// A tree of files.
async fn send_tree(
    path: PathBuf,
    sender: mpsc::Sender<Bytes>,
    answer: impl Future<Output = Result<Messages, Status>>,
) -> Result<u64, Status> {
    // Without a limit, but a client asks for each entry once.
    let (packets, mut incoming) = mpsc::unbounded_channel::<Packet>();
    let sending = tokio::task::spawn_blocking(move || {
        transfer::send(
            &path,
            || incoming.blocking_recv(),
            |packet| sender.blocking_send(frame(&packet)).is_ok(),
        )
    });
    let mut ended = Ok(());
    let mut answer = answer.await?;
    loop {
        match answer.next::<Packet>().await {
            Ok(Some(packet)) => {
                if packets.send(packet).is_err() {
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
    match (sending.await.map_err(internal)?, ended) {
        (Ok(sent), _) => Ok(sent),
        // The client's own words say more than that it went.
        (Err(transfer::SendError::Gone), Err(status)) => Err(status),
        (Err(error), _) => Err(Status::new(Code::Unknown, crate::files::chain(&error))),
    }
}
