//! Sessions: the connections over which clients are asked for files, secrets, credentials and their SSH agents.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use hyper::rt::{Read, Write};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use crate::grpc::{Channel, ChannelError, Code, Messages, Status, frame};
use crate::proto::control::BytesMessage;
use crate::proto::session::{
    CheckAgentRequest, CredentialsRequest, CredentialsResponse, GetSecretRequest, GetSecretResponse,
};

/// The host of addresses that are files which the client uploads.
pub(crate) const UPLOAD_HOST: &str = "buildkit-session";
/// How long a build waits for its session: clients open both at the same time.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a client says of its session when it opens it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its name, chosen by the client.
    pub id: String,
    /// The same for all builds of one directory by one client; empty: not known.
    pub shared_key: String,
    /// `/package.Service/Method` of everything that can be called.
    pub methods: HashSet<String>,
}

impl SessionInfo {
    /// Reads the headers of `POST /session`, or the metadata of `Control/Session`.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Self {
            id: text("x-docker-expose-session-uuid"),
            shared_key: text("x-docker-expose-session-sharedkey"),
            methods: headers
                .get_all("x-docker-expose-session-grpc-method")
                .iter()
                .filter_map(|value| value.to_str().ok())
                .map(str::to_ascii_lowercase)
                .collect(),
        }
    }
}

/// A client's session that is open.
#[derive(Debug)]
pub struct Session {
    info: SessionInfo,
    channel: Channel,
}

/// What is asked of a client for a tree of its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesWanted {
    /// The client's name of the directory: `context`, `dockerfile`, …
    pub name: String,
    /// Only these and what they point at; empty: everything.
    pub follow: Vec<String>,
    /// But not these.
    pub exclude: Vec<String>,
}

impl Session {
    /// What the client said of it.
    #[must_use]
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    fn offers(&self, path: &str) -> bool {
        self.info.methods.contains(&path.to_ascii_lowercase())
    }

    /// Begins a transfer of files; what is sent is framed already.
    ///
    /// # Errors
    /// When the client does not let them be had.
    pub async fn files(
        &self,
        wanted: &FilesWanted,
        outgoing: mpsc::UnboundedReceiver<Bytes>,
    ) -> Result<Messages, Status> {
        let mut metadata = HeaderMap::new();
        put(
            &mut metadata,
            "dir-name",
            std::slice::from_ref(&wanted.name),
        );
        put(&mut metadata, "followpaths", &wanted.follow);
        put(&mut metadata, "exclude-patterns", &wanted.exclude);
        let path = "/moby.filesync.v1.FileSync/DiffCopy";
        self.channel.open(path, &metadata, stream(outgoing)).await
    }

    /// Begins to send files back: what `Exporter` number `exporter` of the build made.
    ///
    /// # Errors
    /// When the client does not take them.
    pub async fn send(
        &self,
        exporter: usize,
        metadata: &BTreeMap<String, String>,
        outgoing: mpsc::Receiver<Bytes>,
    ) -> Result<Messages, Status> {
        let mut headers = HeaderMap::new();
        let number = [exporter.to_string()];
        put(&mut headers, "buildkit-attachable-exporter-id", &number);
        for (name, value) in metadata {
            let values = std::slice::from_ref(value);
            put(&mut headers, &format!("exporter-md-{name}"), values);
        }
        let outgoing = futures_util::stream::unfold(outgoing, |mut outgoing| async move {
            outgoing.recv().await.map(|piece| (piece, outgoing))
        });
        let path = "/moby.filesync.v1.FileSend/DiffCopy";
        self.channel.open(path, &headers, outgoing).await
    }

    /// What the client uploads under a path of `http://buildkit-session/`.
    ///
    /// # Errors
    /// When the client has nothing there.
    pub async fn upload(&self, path: &str) -> Result<Messages, Status> {
        let mut metadata = HeaderMap::new();
        put(&mut metadata, "urlpath", &[path.to_owned()]);
        put(&mut metadata, "urlhost", &[UPLOAD_HOST.to_owned()]);
        // Nothing is said but that nothing more is said.
        let outgoing = futures_util::stream::empty();
        let path = "/moby.upload.v1.Upload/Pull";
        self.channel.open(path, &metadata, outgoing).await
    }

    /// A secret; none when the client has no such secret.
    ///
    /// # Errors
    /// When the client cannot be asked.
    pub async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, Status> {
        let path = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
        if !self.offers(path) {
            return Ok(None);
        }
        let request = GetSecretRequest {
            id: id.to_owned(),
            ..GetSecretRequest::default()
        };
        match self.channel.call(path, &request).await {
            Ok(GetSecretResponse { data }) => Ok(Some(data)),
            Err(status) if status.code == Code::NotFound => Ok(None),
            // Some clients say it in words only.
            Err(status) if status.message.contains("not found") => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// User and password of a registry; none when the client has none.
    ///
    /// # Errors
    /// When the client cannot be asked.
    pub async fn credentials(&self, host: &str) -> Result<Option<(String, String)>, Status> {
        let path = "/moby.filesync.v1.Auth/Credentials";
        if !self.offers(path) {
            return Ok(None);
        }
        let request = CredentialsRequest {
            host: host.to_owned(),
        };
        let answer: CredentialsResponse = self.channel.call(path, &request).await?;
        let known = !answer.secret.is_empty();
        Ok(known.then_some((answer.username, answer.secret)))
    }

    /// Whether the client forwards an SSH agent.
    ///
    /// # Errors
    /// When it does not, or cannot be asked.
    pub async fn check_agent(&self, id: &str) -> Result<(), Status> {
        let path = "/moby.sshforward.v1.SSH/CheckAgent";
        if !self.offers(path) {
            let message = format!("the client forwards no SSH agent {id:?}");
            return Err(Status::new(Code::NotFound, message));
        }
        let request = CheckAgentRequest { id: id.to_owned() };
        let _: crate::proto::session::Empty = self.channel.call(path, &request).await?;
        Ok(())
    }

    /// Joins a connection to the client's SSH agent until one of them ends it.
    ///
    /// # Errors
    /// When the client does not forward it, or is gone.
    pub async fn forward_agent(&self, id: &str, connection: UnixStream) -> Result<(), Status> {
        let mut metadata = HeaderMap::new();
        put(&mut metadata, "buildkit.ssh.id", &[id.to_owned()]);
        let (mut read, mut write) = connection.into_split();
        let (sender, outgoing) = mpsc::unbounded_channel();
        let path = "/moby.sshforward.v1.SSH/ForwardAgent";
        let outgoing = stream(outgoing);
        let mut messages = self.channel.open(path, &metadata, outgoing).await?;
        let to_client = async {
            let mut buffer = vec![0; 32 << 10];
            while let Ok(length @ 1..) = read.read(&mut buffer).await {
                let data = Bytes::copy_from_slice(&buffer[..length]);
                if sender.send(frame(&BytesMessage { data })).is_err() {
                    break;
                }
            }
        };
        let from_client = async {
            while let Some(BytesMessage { data }) = messages.next().await? {
                if write.write_all(&data).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        tokio::select! {
            () = to_client => Ok(()),
            ended = from_client => ended,
        }
    }
}

fn stream(
    outgoing: mpsc::UnboundedReceiver<Bytes>,
) -> impl futures_util::Stream<Item = Bytes> + Send + 'static {
    futures_util::stream::unfold(outgoing, |mut outgoing| async move {
        outgoing.recv().await.map(|piece| (piece, outgoing))
    })
    .boxed()
}

/// Puts values into metadata; what is not ASCII is encoded as in a query, and said to be.
fn put(metadata: &mut HeaderMap, name: &str, values: &[String]) {
    let encode = values.iter().any(|value| !value.is_ascii());
    let Ok(key) = hyper::header::HeaderName::from_bytes(name.as_bytes()) else {
        return;
    };
    for value in values {
        let text = if encode {
            query_escape(value)
        } else {
            value.clone()
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            metadata.append(key.clone(), value);
        }
    }
    if encode {
        let marker = format!("{name}-encoded");
        if let Ok(marker) = hyper::header::HeaderName::from_bytes(marker.as_bytes()) {
            metadata.insert(marker, HeaderValue::from_static("1"));
        }
    }
}

/// Go's `url.QueryEscape`.
fn query_escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            byte => {
                escaped.push('%');
                escaped.push_str(&hex::encode_upper([byte]));
            }
        }
    }
    escaped
}

/// All sessions that are open.
#[derive(Debug)]
pub struct Sessions {
    open: Mutex<HashMap<String, Arc<Session>>>,
    /// Changes whenever one is opened.
    changes: watch::Sender<()>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }
}

/// Why a session did not come about.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// It has no name.
    #[error("the session has no id: header X-Docker-Expose-Session-Uuid is missing")]
    NoId,
    /// Somebody else has that name.
    #[error("session {0} is open already")]
    Taken(String),
    /// The connection is no good.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

impl Sessions {
    /// Keeps a session open until its connection ends.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn serve<I>(&self, info: SessionInfo, io: I) -> Result<(), SessionError>
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        if info.id.is_empty() {
            return Err(SessionError::NoId);
        }
        let id = info.id.clone();
        let (channel, connection) = Channel::begin(io).await?;
        let session = Arc::new(Session { info, channel });
        {
            let mut open = self.lock();
            if open.contains_key(&id) {
                return Err(SessionError::Taken(id));
            }
            open.insert(id.clone(), session);
        }
        let _registered = Registered { sessions: self, id };
        self.changes.send_replace(());
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a session ended early");
        }
        Ok(())
    }

    /// A session by its name; one that is not there yet is waited for.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn get(&self, id: &str) -> Result<Arc<Session>, Status> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                changes.borrow_and_update();
                if let Some(session) = self.lock().get(id) {
                    return session.clone();
                }
                // The sender lives as long as we do.
                let _ = changes.changed().await;
            }
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .map_err(|_| Status::new(Code::NotFound, format!("no active session for {id}")))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the session out when its connection has ended, however that came.
struct Registered<'sessions> {
    sessions: &'sessions Sessions,
    id: String,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ascii_is_encoded() {
        let mut metadata = HeaderMap::new();
        put(&mut metadata, "a", &["x y".to_owned(), "z".to_owned()]);
        put(&mut metadata, "b", &["grün c".to_owned()]);
        let all: Vec<_> = metadata.get_all("a").iter().collect();
        assert_eq!(all, ["x y", "z"]);
        assert_eq!(metadata["b"], "gr%C3%BCn+c");
        assert_eq!(metadata["b-encoded"], "1");
    }
}
