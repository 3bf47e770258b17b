//! Relative paths of a file, resolved against a directory.

use std::path::Path as FilePath;

use super::diagnostic::Diagnostic;
use super::node::{Node, Value};
use super::report::{Path, Report};
use super::sources::{Files, absolute, normal};

/// What paths are resolved with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base<'a> {
    /// The directory; may itself be relative to one that is applied later.
    pub(crate) directory: &'a FilePath,
    /// What `~` stands for.
    pub(crate) home: Option<&'a str>,
    /// Symbolic links of watched paths are followed when files are given.
    pub(crate) files: Option<&'a dyn Files>,
}

/// Resolves all paths of a file.
pub(crate) fn resolve(root: &mut Node, base: Base<'_>, report: &mut Report<'_>) {
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        let path = Path::ROOT.key("services");
        for (name, service) in services.iter_mut() {
            resolve_service(service, base, &path.key(name), report);
        }
    }
    resolve_resources(root, base);
}

/// Resolves the paths of what is not a service.
pub(crate) fn resolve_resources(root: &mut Node, base: Base<'_>) {
    for section in ["configs", "secrets"] {
        for resource in entries(root.get_mut(section)) {
            if let Some(file) = resource.get_mut("file") {
                text(file, |path| base.join(path));
            }
        }
    }
    for volume in entries(root.get_mut("volumes")) {
        resolve_local_volume(volume, base);
    }
}

/// Resolves the paths of one service.
pub(crate) fn resolve_service(
    service: &mut Node,
    base: Base<'_>,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    if let Some(build) = service.get_mut("build") {
        if let Some(context) = build.get_mut("context") {
            text(context, |path| base.context(path));
        }
        for context in entries(build.get_mut("additional_contexts")) {
            text(context, |path| base.context(path));
        }
        for key in entries(build.get_mut("ssh")) {
            text(key, |path| {
                if path.is_empty() {
                    String::new()
                } else {
                    base.join(path)
                }
            });
        }
    }
    for file in items(service.get_mut("env_file")) {
        if let Some(path) = file.get_mut("path") {
            text(path, |path| base.join_some(path));
        }
    }
    for file in items(service.get_mut("label_file")) {
        text(file, |path| base.join_some(path));
    }
    if let Some(watch) = service
        .get_mut("develop")
        .and_then(|develop| develop.get_mut("watch"))
    {
        for rule in items(Some(watch)) {
            if let Some(path) = rule.get_mut("path") {
                text(path, |path| base.follow(path));
            }
        }
    }
    let volumes_path = path.key("volumes");
    for (index, mount) in items(service.get_mut("volumes")).enumerate() {
        resolve_mount(mount, base, &volumes_path.item(index), report);
    }
}

fn resolve_mount(mount: &mut Node, base: Base<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    if mount.get("type").and_then(Node::as_str) != Some("bind") {
        return;
    }
    match mount.get_mut("source") {
        Some(source) => text(source, |path| base.host_path(path)),
        _ => {
            let problem = Diagnostic::error(
                "missing-attribute",
                format!("the bind mount `{path}` needs `source`"),
            )
            .at(report.locate(mount.span), "")
            .help("add `source: <host path>`");
            report.push(problem);
            mount.value = Value::Invalid;
        }
    }
}

/// A local volume that is a bind mount in disguise.
fn resolve_local_volume(volume: &mut Node, base: Base<'_>) {
    if volume.get("driver").and_then(Node::as_str) != Some("local") {
        return;
    }
    let Some(options) = volume.get_mut("driver_opts") else {
        return;
    };
    if options.get("o").and_then(Node::as_str) == Some("bind")
        && let Some(device) = options.get_mut("device")
    {
        text(device, |path| base.join(path));
    }
}

impl Base<'_> {
    fn expand_home(&self, path: &str) -> String {
        match (path.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) => display(&normal(
                &FilePath::new(home).join(rest.trim_start_matches('/')),
            )),
            _ => path.to_owned(),
        }
    }

    fn join(&self, path: &str) -> String {
        let path = self.expand_home(path);
        if path.starts_with('/') {
            return path;
        }
        display(&absolute(self.directory, FilePath::new(&path)))
    }

    /// The source of a bind mount: it may be a path of a Windows machine.
    fn host_path(&self, path: &str) -> String {
        let drive = matches!(path.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
        if drive || path.starts_with("\\\\") {
            return path.to_owned();
        }
        self.join(path)
    }

    fn join_some(&self, path: &str) -> String {
        if path.is_empty() {
            String::new()
        } else {
            self.join(path)
        }
    }

    fn context(&self, path: &str) -> String {
        const REMOTE: [&str; 4] = ["github.com/", "git@", "service:", "git://"];
        if path.is_empty()
            || path.contains("://")
            || REMOTE.iter().any(|prefix| path.starts_with(prefix))
        {
            return path.to_owned();
        }
        self.join(path)
    }

    fn follow(&self, path: &str) -> String {
        if path.is_empty() {
            return String::new();
        }
        let joined = self.join(path);
        let real = self
            .files
            .and_then(|files| files.canonical(FilePath::new(&joined)));
        real.map_or(joined, |real| display(&real))
    }
}

fn display(path: &FilePath) -> String {
    path.to_string_lossy().into_owned()
}

fn text(node: &mut Node, change: impl FnOnce(&str) -> String) {
    if let Some(old) = node.as_str() {
        node.value = Value::String(change(old));
    }
}

fn entries(node: Option<&mut Node>) -> impl Iterator<Item = &mut Node> {
    node.and_then(Node::as_map_mut)
        .into_iter()
        .flat_map(|map| map.values_mut())
}

fn items(node: Option<&mut Node>) -> impl Iterator<Item = &mut Node> {
    node.and_then(Node::as_list_mut).into_iter().flatten()
}
