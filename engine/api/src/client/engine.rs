//! Each method of [`Engine`] as a call over HTTP.

use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::Method;
use hyper::header::HeaderMap;

use super::Client;
use super::request::Call;
use super::streams;
use crate::Filters;
use crate::build::{BuildPrune, BuildPruned, BuildRequest, BuildStream};
use crate::container::{
    AttachOptions, ContainerCreate, ContainerCreated, ContainerSummary, ListContainers,
    LogsOptions, RemoveContainer, TopResponse, WaitCondition, WaitResponse,
};
use crate::engine::{
    Attached, ByteStream, Engine, EventStream, FrameStream, PieceStream, ProgressStream,
    StopOptions, TerminalSize, finish,
};
use crate::error::{ApiError, ErrorKind, Result};
use crate::event::EventsOptions;
use crate::exec::{ExecCreate, ExecCreated, ExecInspect, ExecStart};
use crate::image::{
    AuthOutcome, DistributionInspect, ImageDelete, ImageHistory, ImageInspect, ImageSearchResult,
    ImageSummary, ImportImage, PullImage, PushImage, RemoveImage, SearchImages,
};
use crate::inspect::ContainerInspect;
use crate::network::{
    NetworkConnect, NetworkCreate, NetworkCreated, NetworkDisconnect, NetworkInspect,
};
use crate::ports::{PortConflict, PortsCheck, PortsChecked};
use crate::system::{Info, Ping, Version};
use crate::volume::{Volume, VolumeCreate, VolumeList};

pub(super) const TAR: &str = "application/x-tar";
/// A request in JSON on one line, then an archive.
const BUILD: &str = "application/vnd.hoist.build";

fn container_path(container: &str, action: &str) -> String {
    format!("/containers/{container}/{action}")
}

fn stop_query(call: Call, options: &StopOptions) -> Call {
    let timeout = options
        .timeout
        .map(|seconds| seconds.to_string())
        .unwrap_or_default();
    call.query("t", &timeout)
        .query("signal", options.signal.as_deref().unwrap_or_default())
}

fn size_query(call: Call, size: TerminalSize) -> Call {
    call.query("h", &size.height.to_string())
        .query("w", &size.width.to_string())
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

impl Client {
    pub(super) async fn has_terminal(&self, container: &str) -> Result<bool> {
        Ok(self.container_inspect(container).await?.config.tty)
    }
}

pub(super) fn parse_reference(text: &str) -> Result<crate::ImageRef> {
    text.parse()
        .map_err(|error: crate::image_ref::ImageRefError| ApiError::bad_request(error.to_string()))
}

impl Engine for Client {
    async fn ping(&self) -> Result<Ping> {
        let answer = self.send(Call::get("/_ping").unversioned()).await?;
        let headers = answer.response.headers();
        let ping = Ping {
            api_version: text(headers, "api-version"),
            os_type: text(headers, "ostype"),
            server: text(headers, "server"),
        };
        self.body(answer).await?;
        Ok(ping)
    }

    async fn version(&self) -> Result<Version> {
        self.json(Call::get("/version")).await
    }

    async fn info(&self) -> Result<Info> {
        self.json(Call::get("/info")).await
    }

    async fn containers(&self, options: &ListContainers) -> Result<Vec<ContainerSummary>> {
        let limit = options
            .limit
            .map(|limit| limit.to_string())
            .unwrap_or_default();
        let call = Call::get("/containers/json")
            .flag("all", options.all)
            .flag("size", options.size)
            .query("limit", &limit)
            .filters(&options.filters);
        self.json(call).await
    }

    async fn container_create(
        &self,
        name: &str,
        body: &ContainerCreate,
    ) -> Result<ContainerCreated> {
        self.json(
            Call::post("/containers/create")
                .query("name", name)
                .json(body)?,
        )
        .await
    }

    async fn container_inspect(&self, container: &str) -> Result<ContainerInspect> {
        self.json(Call::get(container_path(container, "json")))
            .await
    }

    async fn container_start(&self, container: &str) -> Result<()> {
        self.empty(Call::post(container_path(container, "start")))
            .await
    }

    async fn container_stop(&self, container: &str, options: &StopOptions) -> Result<()> {
        self.empty(stop_query(
            Call::post(container_path(container, "stop")),
            options,
        ))
        .await
    }

    async fn container_restart(&self, container: &str, options: &StopOptions) -> Result<()> {
        self.empty(stop_query(
            Call::post(container_path(container, "restart")),
            options,
        ))
        .await
    }

    async fn container_kill(&self, container: &str, signal: &str) -> Result<()> {
        self.empty(Call::post(container_path(container, "kill")).query("signal", signal))
            .await
    }

    async fn container_pause(&self, container: &str) -> Result<()> {
        self.empty(Call::post(container_path(container, "pause")))
            .await
    }

    async fn container_unpause(&self, container: &str) -> Result<()> {
        self.empty(Call::post(container_path(container, "unpause")))
            .await
    }

    async fn container_remove(&self, container: &str, options: RemoveContainer) -> Result<()> {
        let call = Call::delete(format!("/containers/{container}"));
        self.empty(call.flag("force", options.force).flag("v", options.volumes))
            .await
    }

    async fn container_wait(
        &self,
        container: &str,
        condition: WaitCondition,
    ) -> Result<WaitResponse> {
        self.json(
            Call::post(container_path(container, "wait")).query("condition", condition.as_str()),
        )
        .await
    }

    async fn container_rename(&self, container: &str, name: &str) -> Result<()> {
        self.empty(Call::post(container_path(container, "rename")).query("name", name))
            .await
    }

    async fn container_logs(&self, container: &str, options: &LogsOptions) -> Result<FrameStream> {
        let tail = options
            .tail
            .map(|lines| lines.to_string())
            .unwrap_or_default();
        let call = Call::get(container_path(container, "logs"))
            .flag("follow", options.follow)
            .flag("stdout", options.stdout)
            .flag("stderr", options.stderr)
            .flag("timestamps", options.timestamps)
            .flag("details", options.details)
            .query("tail", &tail)
            .query("since", options.since.as_deref().unwrap_or_default())
            .query("until", options.until.as_deref().unwrap_or_default());
        let response = self.send(call).await?.response;
        let multiplexed = match streams::is_multiplexed(&response, self.version) {
            Some(multiplexed) => multiplexed,
            None => !self.has_terminal(container).await?,
        };
        Ok(streams::frames(streams::pieces(response), multiplexed))
    }

    async fn container_attach(&self, container: &str, options: AttachOptions) -> Result<Attached> {
        let call = Call::post(container_path(container, "attach"))
            .upgrade()
            .flag("stdin", options.stdin)
            .flag("stdout", options.stdout)
            .flag("stderr", options.stderr)
            .flag("logs", options.logs)
            .flag("stream", options.stream);
        let response = self.send(call).await?.response;
        let multiplexed = match streams::is_multiplexed(&response, self.version) {
            Some(multiplexed) => multiplexed,
            None => !self.has_terminal(container).await?,
        };
        streams::attached(response, multiplexed).await
    }

    async fn container_resize(&self, container: &str, size: TerminalSize) -> Result<()> {
        self.empty(size_query(
            Call::post(container_path(container, "resize")),
            size,
        ))
        .await
    }

    async fn container_top(&self, container: &str) -> Result<TopResponse> {
        self.json(Call::get(container_path(container, "top"))).await
    }

    async fn container_put_archive(
        &self,
        container: &str,
        path: &str,
        body: ByteStream,
    ) -> Result<()> {
        let call = Call::new(Method::PUT, container_path(container, "archive"))
            .query("path", path)
            .stream(body, TAR);
        self.empty(call).await
    }

    async fn exec_create(&self, container: &str, body: &ExecCreate) -> Result<ExecCreated> {
        self.json(Call::post(container_path(container, "exec")).json(body)?)
            .await
    }

    async fn exec_start(&self, exec: &str, body: &ExecStart) -> Result<Attached> {
        let call = Call::post(format!("/exec/{exec}/start"))
            .upgrade()
            .json(body)?;
        streams::attached(self.send(call).await?.response, !body.tty).await
    }

    async fn exec_start_detached(&self, exec: &str) -> Result<()> {
        let body = ExecStart {
            detach: true,
            ..ExecStart::default()
        };
        self.empty(Call::post(format!("/exec/{exec}/start")).json(&body)?)
            .await
    }

    async fn exec_inspect(&self, exec: &str) -> Result<ExecInspect> {
        self.json(Call::get(format!("/exec/{exec}/json"))).await
    }

    async fn exec_resize(&self, exec: &str, size: TerminalSize) -> Result<()> {
        self.empty(size_query(Call::post(format!("/exec/{exec}/resize")), size))
            .await
    }

    async fn images(&self, filters: &Filters) -> Result<Vec<ImageSummary>> {
        self.json(Call::get("/images/json").filters(filters)).await
    }

    async fn image_inspect(&self, image: &str) -> Result<ImageInspect> {
        self.json(Call::get(format!("/images/{image}/json"))).await
    }

    async fn image_remove(&self, image: &str, options: RemoveImage) -> Result<Vec<ImageDelete>> {
        self.image_remove_of(image, options, &[]).await
    }

    async fn image_tag(&self, image: &str, reference: &str) -> Result<()> {
        let reference = parse_reference(reference)?;
        let call = Call::post(format!("/images/{image}/tag"))
            .query("repo", &reference.familiar_repository())
            .query("tag", reference.tag().unwrap_or_default());
        self.empty(call).await
    }

    async fn image_import(&self, options: &ImportImage, body: ByteStream) -> Result<String> {
        let mut call = Call::post("/images/create")
            .query("fromSrc", "-")
            .query("repo", &options.reference)
            .query("message", &options.message)
            .query("platform", &options.platform)
            .stream(body, TAR);
        for change in &options.changes {
            call = call.query("changes", change);
        }
        let last = finish(streams::progress(streams::pieces(
            self.send(call).await?.response,
        )))
        .await?;
        last.map(|line| line.status).ok_or_else(|| {
            ApiError::new(
                ErrorKind::Protocol,
                "the engine did not say which image it made",
            )
        })
    }

    async fn image_load(&self, body: ByteStream) -> Result<ProgressStream> {
        self.image_load_of(body, None).await
    }

    async fn image_build(
        &self,
        request: &BuildRequest,
        body: Option<ByteStream>,
    ) -> Result<BuildStream> {
        let mut line = serde_json::to_vec(request).map_err(|error| {
            ApiError::new(
                ErrorKind::Protocol,
                format!("cannot write the request: {error}"),
            )
        })?;
        line.push(b'\n');
        let first = futures_util::stream::iter([Ok(Bytes::from(line))]);
        let body: ByteStream = match body {
            Some(archive) => Box::pin(first.chain(archive)),
            None => Box::pin(first),
        };
        let call = Call::post("/hoist/build").unversioned().stream(body, BUILD);
        Ok(streams::json_lines(streams::pieces(self.send(call).await?.response)).boxed())
    }

    async fn build_prune(&self, options: &BuildPrune) -> Result<BuildPruned> {
        let mut filters = match options.unused_for {
            0 => Filters::new(),
            seconds => Filters::new().with("unused-for", format!("{seconds}s")),
        };
        for (key, values) in &options.filters {
            for value in values {
                filters = filters.with(key, value);
            }
        }
        let bytes = |bytes: i64| match bytes {
            0 => String::new(),
            bytes => bytes.to_string(),
        };
        let call = Call::post("/build/prune")
            .flag("all", options.all)
            // Docker's engine before API 1.48 knows the first only.
            .query("keep-storage", &bytes(options.keep_storage))
            .query("reserved-space", &bytes(options.keep_storage))
            .query("max-used-space", &bytes(options.max_used_space))
            .query("min-free-space", &bytes(options.min_free_space))
            .filters(&filters);
        self.json(call).await
    }

    async fn image_pull(&self, pull: &PullImage) -> Result<ProgressStream> {
        let reference = parse_reference(&pull.reference)?;
        let digest = reference.digest().map(ToString::to_string);
        let tag = digest.as_deref().or(reference.tag());
        self.pull(pull, &reference.familiar_repository(), tag).await
    }

    async fn image_push(&self, push: &PushImage) -> Result<ProgressStream> {
        self.image_push_of(push, None).await
    }

    async fn image_save(&self, images: &[String]) -> Result<PieceStream> {
        self.image_save_of(images, None).await
    }

    async fn image_history(&self, image: &str) -> Result<Vec<ImageHistory>> {
        self.image_history_of(image, None).await
    }

    async fn image_search(&self, search: &SearchImages) -> Result<Vec<ImageSearchResult>> {
        let mut call = Call::get("/images/search")
            .query("term", &search.term)
            .filters(&search.filters)
            .registry_auth(&search.auth);
        if let Some(limit) = search.limit {
            call = call.query("limit", &limit.to_string());
        }
        self.json(call).await
    }

    async fn registry_login(&self, auth: &serde_json::Value) -> Result<AuthOutcome> {
        self.json(Call::post("/auth").json(auth)?).await
    }

    async fn distribution_inspect(&self, image: &str, auth: &str) -> Result<DistributionInspect> {
        let call = Call::get(format!("/distribution/{image}/json")).registry_auth(auth);
        self.json(call).await
    }

    async fn networks(&self, filters: &Filters) -> Result<Vec<NetworkInspect>> {
        self.json(Call::get("/networks").filters(filters)).await
    }

    async fn network_inspect(&self, network: &str) -> Result<NetworkInspect> {
        self.json(Call::get(format!("/networks/{network}"))).await
    }

    async fn network_create(&self, body: &NetworkCreate) -> Result<NetworkCreated> {
        self.json(Call::post("/networks/create").json(body)?).await
    }

    async fn network_remove(&self, network: &str) -> Result<()> {
        self.empty(Call::delete(format!("/networks/{network}")))
            .await
    }

    async fn network_connect(&self, network: &str, body: &NetworkConnect) -> Result<()> {
        self.empty(Call::post(format!("/networks/{network}/connect")).json(body)?)
            .await
    }

    async fn network_disconnect(&self, network: &str, body: &NetworkDisconnect) -> Result<()> {
        self.empty(Call::post(format!("/networks/{network}/disconnect")).json(body)?)
            .await
    }

    async fn volumes(&self, filters: &Filters) -> Result<VolumeList> {
        self.json(Call::get("/volumes").filters(filters)).await
    }

    async fn volume_inspect(&self, volume: &str) -> Result<Volume> {
        self.json(Call::get(format!("/volumes/{volume}"))).await
    }

    async fn volume_create(&self, body: &VolumeCreate) -> Result<Volume> {
        self.json(Call::post("/volumes/create").json(body)?).await
    }

    async fn volume_remove(&self, volume: &str, force: bool) -> Result<()> {
        self.empty(Call::delete(format!("/volumes/{volume}")).flag("force", force))
            .await
    }

    async fn ports_check(&self, check: &PortsCheck) -> Result<Vec<PortConflict>> {
        let call = Call::post("/hoist/ports/check").unversioned().json(check)?;
        match self.json::<PortsChecked>(call).await {
            // Docker's engine: the conflict is told by the start.
            Err(error) if error.is(ErrorKind::NotFound) => Ok(Vec::new()),
            answer => Ok(answer?.conflicts),
        }
    }

    async fn events(&self, options: &EventsOptions) -> Result<EventStream> {
        let call = Call::get("/events")
            .query("since", options.since.as_deref().unwrap_or_default())
            .query("until", options.until.as_deref().unwrap_or_default())
            .filters(&options.filters);
        Ok(streams::json_lines(streams::pieces(self.send(call).await?.response)).boxed())
    }
}
