//! `image ls --tree`: images with all their names, what they hold, and whether containers use them.

use std::collections::BTreeMap;

use hoist_api::image::ImageSummary;

use crate::context::Context;
use crate::failure::Failure;
use crate::ui::human;
use crate::ui::table::Table;

/// What a container uses.
const IN_USE: &str = "U";

/// Prints images, the one that was made last first. An image here is for one platform, so that nothing is below its names.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print(context: &Context, images: &[ImageSummary]) -> Result<(), Failure> {
    let mut by_id: BTreeMap<&str, &ImageSummary> = BTreeMap::new();
    for image in images {
        by_id.insert(&image.id, image);
    }
    let mut images: Vec<&ImageSummary> = by_id.into_values().collect();
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let mut table = Table::new(&["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"]);
    for image in images {
        let size = human::size(u64::try_from(image.size).unwrap_or(0));
        let used = if image.containers > 0 { IN_USE } else { "" };
        let names = match image.repo_tags.as_slice() {
            [] => vec!["<untagged>".to_owned()],
            names => names.to_vec(),
        };
        for name in names {
            table.row(vec![
                name,
                human::short_id(&image.id).to_owned(),
                size.clone(),
                // What was unpacked is all that is kept.
                human::size(0),
                used.to_owned(),
            ]);
        }
    }
    context.ui.line(&table.render())
}
