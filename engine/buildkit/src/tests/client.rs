//! A client of BuildKit: it serves its files and secrets on a session and calls on another connection.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Response};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::sync::mpsc;

use crate::grpc::{self, Body, Call, Channel, Code, Messages, Service, Status, frame, respond};
use crate::proto::control::BytesMessage;
use crate::proto::session::{GetSecretRequest, GetSecretResponse, Packet, PacketKind, Stat};
use crate::transfer::{Limits, mode, receive};
use crate::{BuildKit, SessionInfo};

/// What a client offers on its session.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// Directories by name.
    pub(super) directories: BTreeMap<String, PathBuf>,
    /// Secrets.
    pub(super) secrets: BTreeMap<String, Vec<u8>>,
    /// Instead of files, these packets.
    pub(super) hostile: Option<Vec<Packet>>,
    /// What was asked for: directory, patterns.
    pub(super) asked: Mutex<Vec<(String, Vec<String>)>>,
    /// Files whose contents were sent.
    pub(super) sent: Mutex<Vec<String>>,
    /// Where the trees go that exporters send, by the exporter's number.
    pub(super) trees: BTreeMap<String, PathBuf>,
    /// What other exporters sent.
    pub(super) taken: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What is uploaded, by its path.
    pub(super) uploads: BTreeMap<String, Vec<u8>>,
}

impl Service for Offer {
    fn call(self: Arc<Self>, mut call: Call) -> BoxFuture<'static, Result<Response<Body>, Status>> {
        async move {
            match call.path.as_str() {
                "/moby.filesync.v1.FileSync/DiffCopy" => Ok(self.files(call)),
                "/moby.buildkit.secrets.v1.Secrets/GetSecret" => {
                    let request: GetSecretRequest = call.message().await?;
                    let data = self.secrets.get(&request.id).cloned();
                    let data = data.ok_or_else(|| Status::new(Code::NotFound, "no such secret"))?;
                    Ok(respond(&GetSecretResponse { data }))
                }
                "/moby.filesync.v1.FileSend/DiffCopy" => Ok(self.take(call).await),
                "/moby.upload.v1.Upload/Pull" => {
                    let data = self.uploads[call.header("urlpath")].clone();
                    let pieces = data.chunks(7).map(|piece| {
                        let data = Bytes::copy_from_slice(piece);
                        Ok(frame(&BytesMessage { data }))
                    });
                    Ok(grpc::stream(stream::iter(pieces.collect::<Vec<_>>())))
                }
                path => Err(Status::new(Code::Unimplemented, path)),
            }
        }
        .boxed()
    }
}

impl Offer {
    /// Takes what an exporter sends.
    async fn take(self: Arc<Self>, mut call: Call) -> Response<Body> {
        let (sender, receiver) = mpsc::unbounded_channel::<Result<Bytes, Status>>();
        let number = call.header("buildkit-attachable-exporter-id").to_owned();
        let Some(root) = self.trees.get(&number).cloned() else {
            // As bollard does: without a word before all is there.
            let mut bytes = Vec::new();
            while let Ok(Some(BytesMessage { data })) = call.messages.next().await {
                bytes.extend_from_slice(&data);
            }
            self.taken.lock().unwrap().insert(number, bytes);
            return grpc::stream(stream::empty());
        };
        tokio::spawn(async move {
            let (packets, mut incoming) = mpsc::unbounded_channel();
            let receiving = tokio::task::spawn_blocking(move || {
                let send = |packet: Packet| {
                    let _ = sender.send(Ok(frame(&packet)));
                };
                receive(&root, Limits::default(), || incoming.blocking_recv(), send)
            });
            while let Ok(Some(packet)) = call.messages.next::<Packet>().await {
                let _ = packets.send(packet);
            }
            drop(packets);
            receiving.await.unwrap().unwrap();
        });
        grpc::stream(stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        }))
    }

    fn files(self: Arc<Self>, mut call: Call) -> Response<Body> {
        let (sender, receiver) = mpsc::channel::<Result<Bytes, Status>>(64);
        let all = |name: &str| {
            let values = call.metadata.get_all(name).iter();
            values
                .map(|value| value.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let name = call.header("dir-name").to_owned();
        let (follow, exclude) = (all("followpaths"), all("exclude-patterns"));
        let patterns = follow.iter().chain(&exclude).cloned().collect();
        self.asked.lock().unwrap().push((name.clone(), patterns));
        tokio::spawn(async move {
            let say = |packet: Packet| sender.send(Ok(frame(&packet)));
            if let Some(packets) = &self.hostile {
                for packet in packets {
                    let _ = say(packet.clone()).await;
                }
                return;
            }
            let Some(root) = self.directories.get(&name) else {
                let status =
                    Status::new(Code::NotFound, format!("no access allowed to dir {name:?}"));
                let _ = sender.send(Err(status)).await;
                return;
            };
            let mut entries = Vec::new();
            walk(root, "", &mut entries);
            entries.retain(|stat| {
                let followed = follow.is_empty() || follow.contains(&stat.path);
                followed && !exclude.contains(&stat.path)
            });
            for stat in &entries {
                let stat = Some(stat.clone());
                let _ = say(Packet {
                    stat,
                    ..Packet::default()
                })
                .await;
            }
            let _ = say(Packet::default()).await;
            while let Ok(Some(packet)) = call.messages.next::<Packet>().await {
                if packet.kind == PacketKind::Finish as i32 {
                    let _ = say(packet).await;
                    return;
                }
                let path = &entries[packet.id as usize].path;
                self.sent.lock().unwrap().push(path.clone());
                let data = Bytes::from(fs::read(root.join(path)).unwrap());
                for data in [data, Bytes::new()] {
                    let kind = PacketKind::Data as i32;
                    let id = packet.id;
                    let _ = say(Packet {
                        kind,
                        id,
                        data,
                        stat: None,
                    })
                    .await;
                }
            }
        });
        grpc::stream(stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        }))
    }
}

fn walk(root: &Path, below: &str, entries: &mut Vec<Stat>) {
    let mut names: Vec<String> = fs::read_dir(root.join(below))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names {
        let path = match below {
            "" => name,
            below => format!("{below}/{name}"),
        };
        let metadata = fs::symlink_metadata(root.join(&path)).unwrap();
        let link = fs::read_link(root.join(&path)).unwrap_or_default();
        entries.push(Stat {
            path: path.clone(),
            mode: mode::from_unix(metadata.mode()),
            size: metadata.len().try_into().unwrap(),
            mod_time: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
            linkname: link.to_string_lossy().into_owned(),
            ..Stat::default()
        });
        if metadata.is_dir() {
            walk(root, &path, entries);
        }
    }
}

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    channel: Channel,
    pub(super) offer: Arc<Offer>,
}

impl Client {
    /// Opens both connections.
    pub(super) async fn connect(buildkit: &BuildKit, session: &str, offer: Offer) -> Client {
        let offer = Arc::new(offer);
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(grpc::serve(TokioIo::new(ours), offer.clone()));
        let info = SessionInfo {
            id: session.to_owned(),
            shared_key: "app:node".to_owned(),
            methods: [
                "/moby.filesync.v1.filesync/diffcopy",
                "/moby.buildkit.secrets.v1.secrets/getsecret",
            ]
            .map(str::to_owned)
            .into(),
        };
        let server = buildkit.clone();
        tokio::spawn(async move { server.serve_session(info, TokioIo::new(theirs)).await });
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let server = buildkit.clone();
        tokio::spawn(async move { server.serve_grpc(TokioIo::new(theirs)).await });
        let (channel, connection) = Channel::begin(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        Client { channel, offer }
    }

    pub(super) async fn call<M: Message + Default>(
        &self,
        path: &'static str,
        message: &impl Message,
    ) -> Result<M, Status> {
        self.channel.call(path, message).await
    }

    /// A call that belongs to a build.
    pub(super) async fn bridge<M: Message + Default>(
        &self,
        build: &str,
        path: &'static str,
        message: &impl Message,
    ) -> Result<M, Status> {
        let mut metadata = HeaderMap::new();
        let value = HeaderValue::from_str(build).unwrap();
        metadata.insert("buildkit-controlapi-buildid", value);
        let outgoing = stream::iter([frame(message)]);
        let mut messages = self.channel.open(path, &metadata, outgoing).await?;
        messages.next().await.map(Option::unwrap)
    }

    pub(super) async fn stream(&self, path: &'static str, message: &impl Message) -> Messages {
        let outgoing = stream::iter([frame(message)]).boxed();
        let none = HeaderMap::new();
        self.channel.open(path, &none, outgoing).await.unwrap()
    }
}
