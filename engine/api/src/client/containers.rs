//! Calls on containers beyond the [`Engine`](crate::Engine) trait: what a command line needs and planning does not.

use std::future::Future;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use hyper::Method;
use serde_json::Value;

use super::Client;
use super::request::Call;
use super::streams;
use crate::archive::{FileChange, PATH_STAT_HEADER, PathStat, PutArchive};
use crate::container::{
    AttachOptions, CommitContainer, ContainerCommitted, ContainerCreate, ContainerCreated,
    ContainerUpdated, ContainersPruned, TopResponse, WaitCondition, WaitResponse,
};
use crate::engine::{Attached, ByteStream};
use crate::error::{ApiError, ErrorKind, Result};
use crate::inspect::ContainerInspect;
use crate::stats::{ContainerStats, StatsMode};
use crate::{Filters, ImageRef};

/// Bytes that the engine sends: an archive.
pub type BodyStream = BoxStream<'static, Result<Bytes>>;
/// Statistics, one item a moment.
pub type StatsStream = BoxStream<'static, Result<ContainerStats>>;

const TAR: &str = "application/x-tar";

fn path_of(container: &str, action: &str) -> String {
    format!("/containers/{container}/{action}")
}

fn path_stat(response: &hyper::Response<hyper::body::Incoming>) -> Result<PathStat> {
    match response.headers().get(PATH_STAT_HEADER) {
        Some(value) => PathStat::from_header(value.as_bytes()),
        None => Err(ApiError::new(
            ErrorKind::Protocol,
            "the engine does not say what is at the path",
        )),
    }
}

impl Client {
    /// As [`container_create`](crate::Engine::container_create), of an image for this platform, as `linux/arm64`; empty for any.
    ///
    /// # Errors
    /// There is no such image for the platform, the name is taken, or the engine cannot do what is asked for.
    pub async fn container_create_of(
        &self,
        name: &str,
        platform: &str,
        body: &ContainerCreate,
    ) -> Result<ContainerCreated> {
        let call = Call::post("/containers/create")
            .query("name", name)
            .query("platform", platform);
        self.json(call.json(body)?).await
    }

    /// Everything about a container, with the sizes of its layers, which takes longer.
    ///
    /// # Errors
    /// There is no such container, or the engine fails.
    pub async fn container_inspect_with_size(&self, container: &str) -> Result<ContainerInspect> {
        self.json(Call::get(path_of(container, "json")).flag("size", true))
            .await
    }

    /// The same in the engine's own words: what is newer than these types is kept.
    ///
    /// # Errors
    /// There is no such container, or the engine fails.
    pub async fn container_inspect_raw(&self, container: &str, size: bool) -> Result<Value> {
        self.json(Call::get(path_of(container, "json")).flag("size", size))
            .await
    }

    /// Begins to wait; when this returns, the engine has registered it, so that no end is missed
    /// whatever happens next. The returned future ends with the container.
    ///
    /// # Errors
    /// There is no such container, or the engine fails.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example() -> hoist_api::Result<()> {
    /// use hoist_api::Engine as _;
    /// use hoist_api::client::Client;
    /// use hoist_api::container::WaitCondition;
    ///
    /// let engine = Client::new("/run/hoist/hoist.sock");
    /// let end = engine.container_wait_begin("job", WaitCondition::NextExit).await?;
    /// engine.container_start("job").await?;
    /// println!("it left with {}", end.await?.status_code);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn container_wait_begin(
        &self,
        container: &str,
        condition: WaitCondition,
    ) -> Result<impl Future<Output = Result<WaitResponse>> + Send + use<>> {
        let call = Call::post(path_of(container, "wait")).query("condition", condition.as_str());
        let answer = self.send(call).await?;
        let client = self.clone();
        Ok(async move { client.read_json(answer).await })
    }

    /// As [`container_attach`](crate::Engine::container_attach), with the keys that end the attachment, as
    /// `ctrl-p,ctrl-q`; an engine without keys of its own leaves them to the caller.
    ///
    /// # Errors
    /// There is no such container, it is paused, or the engine fails.
    pub async fn container_attach_with_keys(
        &self,
        container: &str,
        options: AttachOptions,
        detach_keys: &str,
    ) -> Result<Attached> {
        let call = Call::post(path_of(container, "attach"))
            .upgrade()
            .flag("stdin", options.stdin)
            .flag("stdout", options.stdout)
            .flag("stderr", options.stderr)
            .flag("logs", options.logs)
            .flag("stream", options.stream)
            .query("detachKeys", detach_keys);
        let response = self.send(call).await?.response;
        let multiplexed = match streams::is_multiplexed(&response, self.version) {
            Some(multiplexed) => multiplexed,
            None => !self.has_terminal(container).await?,
        };
        streams::attached(response, multiplexed).await
    }

    /// Its processes, with columns as `ps` with these arguments shows them.
    ///
    /// # Errors
    /// It does not run, or the arguments are not understood.
    pub async fn container_top_with(&self, container: &str, ps_args: &str) -> Result<TopResponse> {
        self.json(Call::get(path_of(container, "top")).query("ps_args", ps_args))
            .await
    }

    /// What it uses.
    ///
    /// # Errors
    /// There is no such container, or the engine fails.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example() -> hoist_api::Result<()> {
    /// use futures_util::StreamExt as _;
    /// use hoist_api::client::Client;
    /// use hoist_api::stats::StatsMode;
    ///
    /// let engine = Client::new("/run/hoist/hoist.sock");
    /// let mut moments = engine.container_stats("web", StatsMode::Stream).await?;
    /// while let Some(moment) = moments.next().await {
    ///     println!("{} bytes", moment?.memory_stats.usage);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn container_stats(&self, container: &str, mode: StatsMode) -> Result<StatsStream> {
        let call = Call::get(path_of(container, "stats"))
            .query("stream", if mode == StatsMode::Stream { "1" } else { "0" })
            .flag("one-shot", mode == StatsMode::OneShot);
        let response = self.send(call).await?.response;
        Ok(streams::json_lines(streams::pieces(response)).boxed())
    }

    /// Which paths differ from its image.
    ///
    /// # Errors
    /// There is no such container, or the engine fails.
    pub async fn container_changes(&self, container: &str) -> Result<Vec<FileChange>> {
        let changes: Option<Vec<FileChange>> =
            self.json(Call::get(path_of(container, "changes"))).await?;
        Ok(changes.unwrap_or_default())
    }

    /// Its whole file system as a tar archive, without what is mounted into it.
    ///
    /// # Errors
    /// There is no such container, or the engine fails.
    pub async fn container_export(&self, container: &str) -> Result<BodyStream> {
        let answer = self.send(Call::get(path_of(container, "export"))).await?;
        Ok(streams::pieces(answer.response))
    }

    /// What is at a path in it.
    ///
    /// # Errors
    /// There is no such container or path.
    pub async fn container_path_stat(&self, container: &str, path: &str) -> Result<PathStat> {
        let call = Call::new(Method::HEAD, path_of(container, "archive")).query("path", path);
        let answer = self.send(call).await?;
        let stat = path_stat(&answer.response);
        self.body(answer).await?;
        stat
    }

    /// A file or directory of it as a tar archive, and what it is.
    ///
    /// # Errors
    /// There is no such container or path.
    pub async fn container_get_archive(
        &self,
        container: &str,
        path: &str,
    ) -> Result<(PathStat, BodyStream)> {
        let call = Call::get(path_of(container, "archive")).query("path", path);
        let response = self.send(call).await?.response;
        Ok((path_stat(&response)?, streams::pieces(response)))
    }

    /// Unpacks a tar archive in it, with a say in what may be replaced and to whom it belongs.
    ///
    /// # Errors
    /// There is no such container or directory, the place is read-only, or the archive is wrong.
    pub async fn container_put_archive_with(
        &self,
        container: &str,
        options: &PutArchive,
        body: ByteStream,
    ) -> Result<()> {
        let call = Call::new(Method::PUT, path_of(container, "archive"))
            .query("path", &options.path)
            .query(
                "noOverwriteDirNonDir",
                if options.no_overwrite_dir_non_dir {
                    "true"
                } else {
                    ""
                },
            )
            .query("copyUIDGID", if options.copy_uid_gid { "true" } else { "" })
            .stream(body, TAR);
        self.empty(call).await
    }

    /// Changes limits and the restart policy; only the fields given are changed, so the body is a
    /// JSON object with the keys of [`HostConfig`](crate::host_config::HostConfig).
    ///
    /// # Errors
    /// There is no such container, or a value cannot be set.
    pub async fn container_update(
        &self,
        container: &str,
        body: &Value,
    ) -> Result<ContainerUpdated> {
        self.json(Call::post(path_of(container, "update")).json(body)?)
            .await
    }

    /// Makes an image of it.
    ///
    /// # Errors
    /// There is no such container, the reference or a change is wrong, or the engine fails.
    pub async fn container_commit(
        &self,
        container: &str,
        options: &CommitContainer,
    ) -> Result<ContainerCommitted> {
        let mut call = Call::post("/commit")
            .query("container", container)
            .query("comment", &options.comment)
            .query("author", &options.author)
            .query("pause", if options.pause { "1" } else { "0" });
        if !options.reference.is_empty() {
            let reference: ImageRef = options
                .reference
                .parse()
                .map_err(|error| ApiError::bad_request(format!("{error}")))?;
            call = call
                .query("repo", &reference.familiar_repository())
                .query("tag", reference.tag().unwrap_or_default());
        }
        for change in &options.changes {
            call = call.query("changes", change);
        }
        self.json(call.json(&serde_json::json!({}))?).await
    }

    /// Removes all containers that do not run.
    ///
    /// # Errors
    /// The filters are wrong, or the engine fails.
    pub async fn containers_prune(&self, filters: &Filters) -> Result<ContainersPruned> {
        self.json(Call::post("/containers/prune").filters(filters))
            .await
    }
}
