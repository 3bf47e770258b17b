//! The engine as its users see it: one method per call of the API, all asynchronous, no state in between.
//!
//! Objects are named as people name them: a container by name, id or prefix of an id.
//! Implementations: `client::Client` over a socket, `fake::FakeEngine` in memory.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use tokio::io::AsyncWrite;

use crate::Filters;
use crate::build::{BuildPrune, BuildPruned, BuildRequest, BuildStream};
use crate::container::{
    AttachOptions, ContainerCreate, ContainerCreated, ContainerSummary, ListContainers,
    LogsOptions, RemoveContainer, TopResponse, WaitCondition, WaitResponse,
};
use crate::error::{ApiError, Result};
use crate::event::{Event, EventsOptions};
use crate::exec::{ExecCreate, ExecCreated, ExecInspect, ExecStart};
use crate::frame::Frame;
use crate::image::{
    AuthOutcome, DistributionInspect, ImageDelete, ImageHistory, ImageInspect, ImageSearchResult,
    ImageSummary, ImportImage, Progress, PullImage, PushImage, RemoveImage, SearchImages,
};
use crate::inspect::ContainerInspect;
use crate::network::{
    NetworkConnect, NetworkCreate, NetworkCreated, NetworkDisconnect, NetworkInspect,
};
use crate::ports::{PortConflict, PortsCheck};
use crate::system::{Info, Ping, Version};
use crate::volume::{Volume, VolumeCreate, VolumeList};

/// Output of a container or an exec.
pub type FrameStream = BoxStream<'static, Result<Frame>>;
/// Events, without end unless `until` was given.
pub type EventStream = BoxStream<'static, Result<Event>>;
/// Progress; a failure in the middle comes as the last item.
pub type ProgressStream = BoxStream<'static, Result<Progress>>;
/// Bytes that come; a failure in the middle comes as the last item.
pub type PieceStream = BoxStream<'static, Result<Bytes>>;
/// Bytes to send, as the body of an import.
pub type ByteStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// A connection to a process: its output, and its input.
pub struct Attached {
    /// Output until the process ends.
    pub output: FrameStream,
    /// Input; shutting it down closes the process's standard input and leaves the output open.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl fmt::Debug for Attached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Attached").finish_non_exhaustive()
    }
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TerminalSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// How a container is asked to stop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopOptions {
    /// Seconds until `SIGKILL`; absent: the container's; -1: never.
    pub timeout: Option<i64>,
    /// Signal; absent: the container's.
    pub signal: Option<String>,
}

/// A container engine. See the module's documentation.
pub trait Engine: Send + Sync {
    /// Whether it answers, and what it speaks.
    fn ping(&self) -> impl Future<Output = Result<Ping>> + Send;
    /// Versions.
    fn version(&self) -> impl Future<Output = Result<Version>> + Send;
    /// Facts about engine and host.
    fn info(&self) -> impl Future<Output = Result<Info>> + Send;

    /// Lists containers, newest first.
    fn containers(
        &self,
        options: &ListContainers,
    ) -> impl Future<Output = Result<Vec<ContainerSummary>>> + Send;
    /// Creates a container; `name` may be empty.
    fn container_create(
        &self,
        name: &str,
        body: &ContainerCreate,
    ) -> impl Future<Output = Result<ContainerCreated>> + Send;
    /// Everything about a container.
    fn container_inspect(
        &self,
        container: &str,
    ) -> impl Future<Output = Result<ContainerInspect>> + Send;
    /// Starts it. Already running is [`crate::ErrorKind::NotModified`].
    fn container_start(&self, container: &str) -> impl Future<Output = Result<()>> + Send;
    /// Asks it to stop, kills it when it does not, and waits for its end. Not running is [`crate::ErrorKind::NotModified`].
    fn container_stop(
        &self,
        container: &str,
        options: &StopOptions,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Stops and starts it.
    fn container_restart(
        &self,
        container: &str,
        options: &StopOptions,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Sends a signal, by name or number; empty: `SIGKILL`.
    fn container_kill(
        &self,
        container: &str,
        signal: &str,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Freezes its processes.
    fn container_pause(&self, container: &str) -> impl Future<Output = Result<()>> + Send;
    /// Thaws its processes.
    fn container_unpause(&self, container: &str) -> impl Future<Output = Result<()>> + Send;
    /// Removes it.
    fn container_remove(
        &self,
        container: &str,
        options: RemoveContainer,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Waits until the condition holds.
    fn container_wait(
        &self,
        container: &str,
        condition: WaitCondition,
    ) -> impl Future<Output = Result<WaitResponse>> + Send;
    /// Renames it.
    fn container_rename(
        &self,
        container: &str,
        name: &str,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Reads its logs.
    fn container_logs(
        &self,
        container: &str,
        options: &LogsOptions,
    ) -> impl Future<Output = Result<FrameStream>> + Send;
    /// Attaches to its main process; also before it is started.
    fn container_attach(
        &self,
        container: &str,
        options: AttachOptions,
    ) -> impl Future<Output = Result<Attached>> + Send;
    /// Sets its terminal's size.
    fn container_resize(
        &self,
        container: &str,
        size: TerminalSize,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Its processes.
    fn container_top(&self, container: &str) -> impl Future<Output = Result<TopResponse>> + Send;
    /// Unpacks a tar archive at a directory in it; works on containers that were never started.
    fn container_put_archive(
        &self,
        container: &str,
        path: &str,
        body: ByteStream,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Prepares a further process.
    fn exec_create(
        &self,
        container: &str,
        body: &ExecCreate,
    ) -> impl Future<Output = Result<ExecCreated>> + Send;
    /// Starts it and attaches to it.
    fn exec_start(
        &self,
        exec: &str,
        body: &ExecStart,
    ) -> impl Future<Output = Result<Attached>> + Send;
    /// Starts it without attaching.
    fn exec_start_detached(&self, exec: &str) -> impl Future<Output = Result<()>> + Send;
    /// Everything about it.
    fn exec_inspect(&self, exec: &str) -> impl Future<Output = Result<ExecInspect>> + Send;
    /// Sets its terminal's size.
    fn exec_resize(
        &self,
        exec: &str,
        size: TerminalSize,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Lists images.
    fn images(&self, filters: &Filters) -> impl Future<Output = Result<Vec<ImageSummary>>> + Send;
    /// Everything about an image.
    fn image_inspect(&self, image: &str) -> impl Future<Output = Result<ImageInspect>> + Send;
    /// Removes a reference, and the image with its last one.
    fn image_remove(
        &self,
        image: &str,
        options: RemoveImage,
    ) -> impl Future<Output = Result<Vec<ImageDelete>>> + Send;
    /// Gives an image a further reference `repo[:tag]`.
    fn image_tag(&self, image: &str, reference: &str) -> impl Future<Output = Result<()>> + Send;
    /// Makes an image from a root file system as tar, compressed or not. Returns the image's id.
    fn image_import(
        &self,
        options: &ImportImage,
        body: ByteStream,
    ) -> impl Future<Output = Result<String>> + Send;
    /// Loads images from a docker-archive or an OCI layout.
    fn image_load(&self, body: ByteStream) -> impl Future<Output = Result<ProgressStream>> + Send;

    /// Builds an image from a Dockerfile. Dropping the stream ends the build. `body` is the context's archive, when the
    /// request says that there is one.
    fn image_build(
        &self,
        request: &BuildRequest,
        body: Option<ByteStream>,
    ) -> impl Future<Output = Result<BuildStream>> + Send;
    /// Removes records of the build cache, and the space that only they hold.
    fn build_prune(&self, options: &BuildPrune)
    -> impl Future<Output = Result<BuildPruned>> + Send;
    /// Pulls an image from its registry.
    fn image_pull(&self, pull: &PullImage) -> impl Future<Output = Result<ProgressStream>> + Send;
    /// Pushes an image to its registry.
    fn image_push(&self, push: &PushImage) -> impl Future<Output = Result<ProgressStream>> + Send;
    /// Images as one archive that `image_load` reads.
    fn image_save(&self, images: &[String]) -> impl Future<Output = Result<PieceStream>> + Send;
    /// How an image was made, newest step first.
    fn image_history(&self, image: &str) -> impl Future<Output = Result<Vec<ImageHistory>>> + Send;
    /// Searches a registry for repositories.
    fn image_search(
        &self,
        search: &SearchImages,
    ) -> impl Future<Output = Result<Vec<ImageSearchResult>>> + Send;
    /// Checks a login with a registry; `auth` is the API's `AuthConfig`.
    fn registry_login(
        &self,
        auth: &serde_json::Value,
    ) -> impl Future<Output = Result<AuthOutcome>> + Send;
    /// Asks the image's registry what the name stands for now; nothing is pulled. `auth` is the value of `X-Registry-Auth`, or empty.
    fn distribution_inspect(
        &self,
        image: &str,
        auth: &str,
    ) -> impl Future<Output = Result<DistributionInspect>> + Send;

    /// Lists networks.
    fn networks(
        &self,
        filters: &Filters,
    ) -> impl Future<Output = Result<Vec<NetworkInspect>>> + Send;
    /// Everything about a network.
    fn network_inspect(&self, network: &str)
    -> impl Future<Output = Result<NetworkInspect>> + Send;
    /// Creates a network.
    fn network_create(
        &self,
        body: &NetworkCreate,
    ) -> impl Future<Output = Result<NetworkCreated>> + Send;
    /// Removes a network that nothing uses.
    fn network_remove(&self, network: &str) -> impl Future<Output = Result<()>> + Send;
    /// Connects a container, running or not.
    fn network_connect(
        &self,
        network: &str,
        body: &NetworkConnect,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Disconnects a container, running or not.
    fn network_disconnect(
        &self,
        network: &str,
        body: &NetworkDisconnect,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Lists volumes.
    fn volumes(&self, filters: &Filters) -> impl Future<Output = Result<VolumeList>> + Send;
    /// Everything about a volume.
    fn volume_inspect(&self, volume: &str) -> impl Future<Output = Result<Volume>> + Send;
    /// Creates a volume; the same one again is no error.
    fn volume_create(&self, body: &VolumeCreate) -> impl Future<Output = Result<Volume>> + Send;
    /// Removes a volume that nothing uses; with `force` a missing one is no error.
    fn volume_remove(&self, volume: &str, force: bool) -> impl Future<Output = Result<()>> + Send;

    /// Which host ports are not free for containers that are about to start; an engine that cannot tell says none.
    fn ports_check(
        &self,
        _check: &PortsCheck,
    ) -> impl Future<Output = Result<Vec<PortConflict>>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// What happens, and with `since` what happened.
    fn events(&self, options: &EventsOptions) -> impl Future<Output = Result<EventStream>> + Send;
}

/// Reads a stream of progress to its end; the last line that was not a failure.
///
/// # Errors
/// The failure that the stream carries.
pub async fn finish(mut stream: ProgressStream) -> Result<Option<Progress>> {
    use futures_util::StreamExt as _;
    let mut last = None;
    while let Some(line) = stream.next().await {
        last = Some(line?);
    }
    Ok(last)
}

/// The whole of a byte slice as a body to send.
#[must_use]
pub fn body_of(bytes: impl Into<Bytes>) -> ByteStream {
    let bytes: Bytes = bytes.into();
    Box::pin(futures_util::stream::iter([Ok(bytes)]))
}

impl From<crate::frame::FrameError> for ApiError {
    fn from(error: crate::frame::FrameError) -> Self {
        Self::new(crate::ErrorKind::Protocol, error.to_string())
    }
}
