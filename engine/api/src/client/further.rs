//! The rest of the API: what neither planning nor our command line needs, so that every operation has a method.
//!
//! Engines of ours have no swarms, plugins and checkpoints; they answer as Docker's do that have none either.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hyper::Method;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::containers::BodyStream;
use super::engine::TAR;
use super::request::Call;
use super::transport::Connection;
use super::{Client, streams};
use crate::Filters;
use crate::engine::{ByteStream, ProgressStream};
use crate::error::{ApiError, ErrorKind, Result};
use crate::wire::wire;

wire! {
    /// A checkpoint of a container.
    pub struct Checkpoint {
        /// Name.
        pub name: String,
    }

    /// Body of a checkpoint's creation.
    pub struct CheckpointCreate {
        /// Its name.
        #[serde(rename = "CheckpointID")]
        pub checkpoint_id: String,
        /// Directory on the engine's machine; empty: the engine's own.
        pub checkpoint_dir: String,
        /// Stop the container.
        pub exit: bool,
    }
}

/// What a build by `POST /build` is asked for: the classic one of Docker's engine, which ours speaks, too.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ClassicBuild {
    /// The Dockerfile's path in the context; empty: `Dockerfile`.
    pub dockerfile: String,
    /// Names `repo[:tag]` of the image.
    pub tags: Vec<String>,
    /// Instead of a body: a git repository, an archive or a Dockerfile by URL.
    pub remote: String,
    /// Build arguments; without a value an argument is as the engine has it.
    pub arguments: BTreeMap<String, Option<String>>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Stage to stop at; empty: the last.
    pub target: String,
    /// `os/arch[/variant]`; empty: the engine's own.
    pub platform: String,
    /// Network of `RUN`: `default`, `none`, `host`.
    pub network: String,
    /// Images whose layers may be taken over.
    pub cache_from: Vec<String>,
    /// Lines `name:address` of `/etc/hosts` during `RUN`.
    pub extra_hosts: Vec<String>,
    /// Do every step anew.
    pub no_cache: bool,
    /// Fetch base images although they are there.
    pub pull: bool,
    /// Keep the containers of steps, which are removed otherwise.
    pub keep_containers: bool,
    /// Logins by registry, as the API's `AuthConfig`. Never logged.
    pub registries: BTreeMap<String, Value>,
}

/// Without arguments and logins, which may be secret.
impl std::fmt::Debug for ClassicBuild {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ClassicBuild")
            .field("dockerfile", &self.dockerfile)
            .field("tags", &self.tags)
            .field("remote", &self.remote)
            .field("target", &self.target)
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

fn json_of(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        ApiError::new(
            ErrorKind::Protocol,
            format!("cannot write the request: {error}"),
        )
    })
}

impl ClassicBuild {
    fn call(&self) -> Result<Call> {
        let map = |empty: bool, text: Result<String>| if empty { Ok(String::new()) } else { text };
        let mut call = Call::post("/build")
            .query("dockerfile", &self.dockerfile)
            .query("remote", &self.remote)
            .query("target", &self.target)
            .query("platform", &self.platform)
            .query("networkmode", &self.network)
            .query("extrahosts", &self.extra_hosts.join(","))
            .query(
                "buildargs",
                &map(self.arguments.is_empty(), json_of(&self.arguments))?,
            )
            .query(
                "labels",
                &map(self.labels.is_empty(), json_of(&self.labels))?,
            )
            .query(
                "cachefrom",
                &map(self.cache_from.is_empty(), json_of(&self.cache_from))?,
            )
            .flag("nocache", self.no_cache)
            .flag("pull", self.pull)
            .query("rm", if self.keep_containers { "0" } else { "1" })
            .flag("forcerm", !self.keep_containers);
        for tag in &self.tags {
            call = call.query("t", tag);
        }
        if !self.registries.is_empty() {
            let logins = URL_SAFE.encode(json_of(&self.registries)?);
            call = call.header("x-registry-config", logins);
        }
        Ok(call)
    }
}

impl Client {
    /// Builds an image by `POST /build`, with Docker's engine, too. The lines come as the builder says them; the image's id is the
    /// `ID` of one's `aux`. `context` is a tar archive, compressed or not; none with [`ClassicBuild::remote`]. Dropping the stream ends
    /// the build. [`Engine::image_build`](crate::Engine::image_build) is the way with an engine of ours.
    ///
    /// # Errors
    /// The request is refused; what fails later comes in the stream.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(context: Vec<u8>) -> hoist_api::Result<()> {
    /// use futures_util::StreamExt as _;
    /// use hoist_api::client::{ClassicBuild, Client, Endpoint};
    /// use hoist_api::engine::body_of;
    ///
    /// let engine = Client::connect(Endpoint::parse("unix:///var/run/docker.sock")?).negotiated().await?;
    /// let build = ClassicBuild { tags: vec!["app:1".to_owned()], ..ClassicBuild::default() };
    /// let mut lines = engine.image_build_classic(&build, Some(body_of(context))).await?;
    /// while let Some(line) = lines.next().await {
    ///     print!("{}", line?.stream);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn image_build_classic(
        &self,
        build: &ClassicBuild,
        context: Option<ByteStream>,
    ) -> Result<ProgressStream> {
        let call = build.call()?;
        let call = match context {
            Some(context) => call.stream(context, TAR),
            None => call,
        };
        let answer = self.send(call).await?.response;
        Ok(streams::progress(streams::pieces(answer)))
    }

    /// One image, or all of a repository, as an archive that `image_load` reads.
    ///
    /// # Errors
    /// There is none.
    pub async fn image_get(&self, image: &str) -> Result<BodyStream> {
        let answer = self.send(Call::get(format!("/images/{image}/get"))).await?;
        Ok(streams::pieces(answer.response))
    }

    /// Removes a legacy link, not the container that it names: `container_remove_link("web", "db")` removes `web/db`.
    ///
    /// # Errors
    /// There is no such link.
    pub async fn container_remove_link(&self, container: &str, alias: &str) -> Result<()> {
        let call = Call::delete(format!("/containers/{container}/{alias}"));
        self.empty(call.flag("link", true)).await
    }

    /// Attaches by a web socket: the connection after the upgrade, for a library of web sockets to speak on.
    ///
    /// # Errors
    /// There is no such container, or the engine refuses.
    pub async fn container_attach_websocket(&self, container: &str) -> Result<Connection> {
        let call = Call::get(format!("/containers/{container}/attach/ws"))
            .query("stream", "1")
            .query("stdin", "1")
            .query("stdout", "1")
            .query("stderr", "1")
            .upgrade_to("websocket")
            .header("sec-websocket-version", "13".to_owned())
            // A library would check the answer; any sixteen bytes will do.
            .header("sec-websocket-key", "aG9pc3QtYXBpLWNsaWVudA==".to_owned());
        self.upgraded(call).await
    }

    /// The checkpoints of a container; `directory` as it was created with.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn container_checkpoints(
        &self,
        container: &str,
        directory: &str,
    ) -> Result<Vec<Checkpoint>> {
        let call = Call::get(format!("/containers/{container}/checkpoints"));
        let found: Option<Vec<Checkpoint>> = self.json(call.query("dir", directory)).await?;
        Ok(found.unwrap_or_default())
    }

    /// Makes a checkpoint of a running container.
    ///
    /// # Errors
    /// The engine cannot.
    pub async fn container_checkpoint_create(
        &self,
        container: &str,
        body: &CheckpointCreate,
    ) -> Result<()> {
        self.empty(Call::post(format!("/containers/{container}/checkpoints")).json(body)?)
            .await
    }

    /// Removes a checkpoint.
    ///
    /// # Errors
    /// There is none.
    pub async fn container_checkpoint_remove(&self, container: &str, name: &str) -> Result<()> {
        self.empty(Call::delete(format!(
            "/containers/{container}/checkpoints/{name}"
        )))
        .await
    }

    /// Changes a volume of a swarm. `version` is the number of the state that the change starts from.
    ///
    /// # Errors
    /// There are no such volumes outside swarms.
    pub async fn volume_update(&self, volume: &str, version: u64, spec: &Value) -> Result<()> {
        let call = Call::new(Method::PUT, format!("/volumes/{volume}"))
            .query("version", &version.to_string());
        self.empty(call.json(&serde_json::json!({"Spec": spec}))?)
            .await
    }

    /// Plugins of the engine.
    ///
    /// # Errors
    /// The engine fails.
    pub async fn plugins(&self, filters: &Filters) -> Result<Vec<Value>> {
        let found: Option<Vec<Value>> = self.json(Call::get("/plugins").filters(filters)).await?;
        Ok(found.unwrap_or_default())
    }

    /// What a plugin of a registry asks to be allowed.
    ///
    /// # Errors
    /// There is none, or the engine takes no plugins.
    pub async fn plugin_privileges(&self, remote: &str) -> Result<Vec<Value>> {
        self.json(Call::get("/plugins/privileges").query("remote", remote))
            .await
    }

    /// Fetches a plugin and allows it what `privileges` lists.
    ///
    /// # Errors
    /// There is none, or the engine takes no plugins.
    pub async fn plugin_pull(
        &self,
        (remote, name): (&str, &str),
        privileges: &[Value],
        auth: &str,
    ) -> Result<ProgressStream> {
        let call = Call::post("/plugins/pull")
            .query("remote", remote)
            .query("name", name)
            .registry_auth(auth)
            .json(&privileges)?;
        let answer = self.send(call).await?.response;
        Ok(streams::progress(streams::pieces(answer)))
    }

    /// Makes a plugin of an archive.
    ///
    /// # Errors
    /// It is none, or the engine takes no plugins.
    pub async fn plugin_create(&self, name: &str, archive: ByteStream) -> Result<()> {
        let call = Call::post("/plugins/create")
            .query("name", name)
            .stream(archive, TAR);
        self.empty(call).await
    }

    /// Makes the engine the first of a swarm; the node's id.
    ///
    /// # Errors
    /// It is in one already, or has no swarms.
    pub async fn swarm_init(&self, body: &Value) -> Result<String> {
        self.json(Call::post("/swarm/init").json(body)?).await
    }

    /// Makes the engine one of a swarm.
    ///
    /// # Errors
    /// It is in one already, or has no swarms.
    pub async fn swarm_join(&self, body: &Value) -> Result<()> {
        self.empty(Call::post("/swarm/join").json(body)?).await
    }

    /// Takes the engine out of its swarm.
    ///
    /// # Errors
    /// It is in none.
    pub async fn swarm_leave(&self, force: bool) -> Result<()> {
        self.empty(Call::post("/swarm/leave").flag("force", force))
            .await
    }

    /// BuildKit's gRPC: a connection that speaks HTTP/2 from now on.
    ///
    /// # Errors
    /// The engine does not speak it.
    pub async fn buildkit(&self) -> Result<Connection> {
        self.upgraded(Call::post("/grpc").upgrade_to("h2c")).await
    }

    /// A session of BuildKit's: the engine is the client of the HTTP/2 that is spoken from now on. `headers` name it
    /// (`X-Docker-Expose-Session-Uuid`, …).
    ///
    /// # Errors
    /// The engine does not speak it.
    pub async fn buildkit_session(&self, headers: &[(&'static str, &str)]) -> Result<Connection> {
        let call = Call::post("/session").upgrade_to("h2c");
        let call = headers.iter().fold(call, |call, (name, value)| {
            call.header(name, (*value).to_owned())
        });
        self.upgraded(call).await
    }

    async fn upgraded(&self, call: Call) -> Result<Connection> {
        let response = self.send(call).await?.response;
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| {
            ApiError::new(
                ErrorKind::Protocol,
                format!("the engine does not leave HTTP: {error}"),
            )
        })?;
        Ok(Connection::over(TokioIo::new(upgraded)))
    }
}
