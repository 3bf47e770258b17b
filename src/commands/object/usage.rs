//! `hoist system df`: what takes room on the disk.

use clap::Args;
use hoist_api::system::DataUsage;
use serde_json::{Value, json};

use super::builder;
use crate::commands::ps::Row;
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::listing::{self, Columns, Format};
use crate::ui::human;

/// Show what takes room on the disk
#[derive(Args, Debug, Clone)]
pub(crate) struct DfArgs {
    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Each object
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

const COLUMNS: &Columns = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

pub(super) async fn df(context: &Context, args: DfArgs) -> Result<(), Failure> {
    let format = Format::read(args.format.as_deref())?;
    let engine = connect::engine(context).await?;
    let usage = engine.data_usage().await?;
    if args.verbose && matches!(format, Format::Table) {
        for (title, columns, rows) in details(&usage) {
            context.ui.line(&format!("{title} space usage:\n"))?;
            listing::print(&context.ui, &Format::Table, columns, &rows)?;
            context.ui.line("")?;
        }
        let cache = &usage.build_cache;
        let held = size(cache.iter().map(|record| record.size).sum());
        context.ui.line(&format!("Build cache usage: {held}\n"))?;
        let rows: Vec<Value> = cache.iter().map(builder::row).collect();
        return listing::print(&context.ui, &Format::Table, builder::COLUMNS, &rows);
    }
    match args.verbose {
        true => listing::print(&context.ui, &format, COLUMNS, &[everything(&usage)]),
        false => listing::print(&context.ui, &format, COLUMNS, &summary(&usage)),
    }
}

/// Every object as its own list has it, for programs.
fn everything(usage: &DataUsage) -> Value {
    let images = usage.images.iter();
    let images: Vec<Value> = images
        .flat_map(|image| super::image::rows(image, true))
        .collect();
    let containers = usage.containers.iter();
    let containers: Vec<Value> = containers
        .map(|container| super::container::list::row(container, true))
        .collect();
    let volumes: Vec<Value> = usage.volumes.iter().map(super::volume::row).collect();
    let cache: Vec<Value> = usage.build_cache.iter().map(builder::row).collect();
    json!({"Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": cache})
}

/// Bytes as people read them; none when the engine does not know.
pub(super) fn size(bytes: i64) -> String {
    human::long_size(u64::try_from(bytes).unwrap_or(0))
}

/// A row for each kind of object.
fn summary(usage: &DataUsage) -> Vec<Value> {
    let row = |kind: &str, (total, active): (usize, usize), all: i64, free: i64| {
        let percent = match all {
            0 => String::new(),
            all => format!(" ({}%)", free.saturating_mul(100) / all),
        };
        json!({
            "Active": active.to_string(),
            "Reclaimable": format!("{}{percent}", size(free)),
            "Size": size(all),
            "TotalCount": total.to_string(),
            "Type": kind,
        })
    };
    let used = |image: &&hoist_api::image::ImageSummary| image.containers > 0;
    let active = usage.images.iter().filter(used).count();
    let free = usage.images.iter().filter(|image| !used(image));
    let own = |image: &hoist_api::image::ImageSummary| image.size - image.shared_size.max(0);
    let images = row(
        "Images",
        (usage.images.len(), active),
        usage.layers_size,
        free.map(own).sum(),
    );
    let written = |c: &hoist_api::container::ContainerSummary| c.size_rw.unwrap_or(0);
    let running = |c: &&hoist_api::container::ContainerSummary| {
        matches!(c.state.as_str(), "running" | "paused" | "restarting")
    };
    let containers = &usage.containers;
    let containers = row(
        "Containers",
        (containers.len(), containers.iter().filter(running).count()),
        containers.iter().map(written).sum(),
        containers.iter().filter(|c| !running(c)).map(written).sum(),
    );
    let of = |v: &hoist_api::volume::Volume| v.usage_data.clone().unwrap_or_default();
    let volumes = &usage.volumes;
    let volumes = row(
        "Local Volumes",
        (
            volumes.len(),
            volumes.iter().filter(|v| of(v).ref_count > 0).count(),
        ),
        volumes.iter().map(|v| of(v).size.max(0)).sum(),
        volumes
            .iter()
            .filter(|v| of(v).ref_count <= 0)
            .map(|v| of(v).size.max(0))
            .sum(),
    );
    let cache = &usage.build_cache;
    let cache = row(
        "Build Cache",
        (
            cache.len(),
            cache.iter().filter(|record| record.in_use).count(),
        ),
        // What images have, too, is counted there.
        cache
            .iter()
            .filter(|record| !record.shared)
            .map(|record| record.size)
            .sum(),
        cache
            .iter()
            .filter(|record| !record.in_use && !record.shared)
            .map(|r| r.size)
            .sum(),
    );
    vec![images, containers, volumes, cache]
}

type Details = (&'static str, &'static Columns, Vec<Value>);

/// A list for each kind of object.
fn details(usage: &DataUsage) -> [Details; 3] {
    let now = jiff::Timestamp::now().as_second();
    let image = |image: &hoist_api::image::ImageSummary| {
        let (repository, tag) = super::image::names_of(image).swap_remove(0);
        json!({
            "Repository": repository, "Tag": tag, "ID": human::short_id(&image.id),
            "CreatedSince": human::ago(image.created, now), "Size": size(image.size),
            "SharedSize": size(image.shared_size), "UniqueSize": size(image.size - image.shared_size.max(0)),
            "Containers": image.containers.max(0).to_string(),
        })
    };
    let container = |c: &hoist_api::container::ContainerSummary| {
        let row = Row::of(c, false);
        let all = row.json();
        json!({
            "ID": row.id, "Image": row.image, "Command": row.command, "LocalVolumes": all["LocalVolumes"],
            "Size": size(c.size_rw.unwrap_or(0)), "RunningFor": row.running_for, "Status": row.status, "Names": row.name,
        })
    };
    let volume = |v: &hoist_api::volume::Volume| {
        let used = v.usage_data.clone().unwrap_or_default();
        json!({"Name": v.name, "Links": used.ref_count.max(0).to_string(), "Size": size(used.size)})
    };
    [
        (
            "Images",
            &[
                ("Repository", "REPOSITORY"),
                ("Tag", "TAG"),
                ("ID", "IMAGE ID"),
                ("CreatedSince", "CREATED"),
                ("Size", "SIZE"),
                ("SharedSize", "SHARED SIZE"),
                ("UniqueSize", "UNIQUE SIZE"),
                ("Containers", "CONTAINERS"),
            ],
            usage.images.iter().map(image).collect(),
        ),
        (
            "Containers",
            &[
                ("ID", "CONTAINER ID"),
                ("Image", "IMAGE"),
                ("Command", "COMMAND"),
                ("LocalVolumes", "LOCAL VOLUMES"),
                ("Size", "SIZE"),
                ("RunningFor", "CREATED"),
                ("Status", "STATUS"),
                ("Names", "NAMES"),
            ],
            usage.containers.iter().map(container).collect(),
        ),
        (
            "Local Volumes",
            &[
                ("Name", "VOLUME NAME"),
                ("Links", "LINKS"),
                ("Size", "SIZE"),
            ],
            usage.volumes.iter().map(volume).collect(),
        ),
    ]
}
