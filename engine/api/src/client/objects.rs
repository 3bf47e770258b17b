//! Calls on images, networks, volumes and the whole engine beyond the [`Engine`](crate::Engine) trait.

use serde_json::Value;

use super::request::Call;
use super::{Client, streams};
use crate::Filters;
use crate::container::ContainerSummary;
use crate::engine::ProgressStream;
use crate::error::Result;
use crate::image::{ImageSummary, ImagesPruned, ImportImage};
use crate::network::NetworksPruned;
use crate::system::DataUsage;
use crate::volume::VolumesPruned;

impl Client {
    /// What takes room on the disk.
    ///
    /// # Errors
    /// The engine fails.
    pub async fn data_usage(&self) -> Result<DataUsage> {
        self.json(Call::get("/system/df")).await
    }

    /// Everything about an object in the engine's own words: what is newer than our types is kept. `kind` is the path's
    /// first part: `images`, `networks`, `volumes`.
    ///
    /// # Errors
    /// There is no such object, or the engine fails.
    pub async fn inspect_raw(&self, kind: &str, name: &str) -> Result<Value> {
        let path = match kind {
            "images" => format!("/images/{name}/json"),
            kind => format!("/{kind}/{name}"),
        };
        self.json(Call::get(path)).await
    }

    /// Everything about a network, as [`Client::inspect_raw`]; `verbose` also what only networks of swarms have.
    ///
    /// # Errors
    /// There is none, or the engine fails.
    pub async fn network_inspect_raw(&self, name: &str, verbose: bool) -> Result<Value> {
        self.json(Call::get(format!("/networks/{name}")).flag("verbose", verbose))
            .await
    }

    /// Facts about engine and host, in the engine's own words.
    ///
    /// # Errors
    /// The engine fails.
    pub async fn info_raw(&self) -> Result<Value> {
        self.json(Call::get("/info")).await
    }

    /// Makes an image of a root file system's archive at an address, which the engine itself fetches. Its id is the last line's status.
    ///
    /// # Errors
    /// The options are wrong, or the engine cannot fetch it.
    pub async fn image_import_from(
        &self,
        url: &str,
        options: &ImportImage,
    ) -> Result<ProgressStream> {
        let mut call = Call::post("/images/create")
            .query("fromSrc", url)
            .query("repo", &options.reference)
            .query("message", &options.message)
            .query("platform", &options.platform);
        for change in &options.changes {
            call = call.query("changes", change);
        }
        Ok(streams::progress(streams::pieces(
            self.send(call).await?.response,
        )))
    }

    /// Lists images, with `all` also those that only other images are made of.
    ///
    /// # Errors
    /// The filters are wrong, or the engine fails.
    pub async fn images_all(&self, filters: &Filters, all: bool) -> Result<Vec<ImageSummary>> {
        self.json(Call::get("/images/json").flag("all", all).filters(filters))
            .await
    }

    /// Removes images that nothing uses: without the filter `dangling=false` only those without a name.
    ///
    /// # Errors
    /// The filters are wrong, or the engine fails.
    pub async fn images_prune(&self, filters: &Filters) -> Result<ImagesPruned> {
        self.json(Call::post("/images/prune").filters(filters))
            .await
    }

    /// Removes networks that nothing uses.
    ///
    /// # Errors
    /// The filters are wrong, or the engine fails.
    pub async fn networks_prune(&self, filters: &Filters) -> Result<NetworksPruned> {
        self.json(Call::post("/networks/prune").filters(filters))
            .await
    }

    /// Removes volumes that nothing uses: without the filter `all=true` only anonymous ones.
    ///
    /// # Errors
    /// The filters are wrong, or the engine fails.
    pub async fn volumes_prune(&self, filters: &Filters) -> Result<VolumesPruned> {
        self.json(Call::post("/volumes/prune").filters(filters))
            .await
    }

    /// The newest container, running or not.
    ///
    /// # Errors
    /// The engine fails.
    pub async fn newest_container(&self) -> Result<Option<ContainerSummary>> {
        let call = Call::get("/containers/json")
            .flag("all", true)
            .query("limit", "1");
        let found: Vec<ContainerSummary> = self.json(call).await?;
        Ok(found.into_iter().next())
    }

    /// A connection that speaks the API's bytes for somebody else, as `system dial-stdio` does.
    ///
    /// # Errors
    /// The engine cannot be reached.
    pub async fn dial(&self) -> Result<super::transport::Connection> {
        self.pool.dial().await
    }
}
