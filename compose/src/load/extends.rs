//! `extends`: a service takes over another one, of its own file or of another, and overrides it.

use std::path::{Path as FilePath, PathBuf};
use std::rc::Rc;

use super::diagnostic::Diagnostic;
use super::expand::expand;
use super::loader::{Loader, Scope};
use super::merge::{Marks, Target, merge, settle};
use super::node::{Key, Map, MergeTag, Node, Origin, Span, Value};
use super::paths::{self, Base};
use super::report::Path;
use super::schema::{ROOT, SERVICE};
use super::sources::{absolute, relative};
use super::suggest;
use super::unify::unify;

/// Services of one file, and where paths in them lead.
pub(crate) struct FileServices {
    pub(crate) services: Map,
    pub(crate) path: PathBuf,
    pub(crate) directory: PathBuf,
}

/// More services than this in a row are taken for a mistake.
const LONGEST_CHAIN: usize = 100;

/// One link of a chain, to find circles.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    path: PathBuf,
    service: String,
}

/// What an `extends` asks for.
struct Wanted {
    service: String,
    service_span: Span,
    file: Option<(String, Span)>,
    span: Span,
}

impl Loader<'_> {
    /// Resolves the `extends` of all services of a file.
    pub(crate) fn apply_extends(&mut self, root: &mut Node, path: &FilePath, scope: &Scope) {
        let Some(section) = root.get_mut("services") else {
            return;
        };
        let Some(services) = section.as_map_mut() else {
            return;
        };
        let uses_extends = services
            .values()
            .any(|service| service.get("extends").is_some());
        if !uses_extends {
            return;
        }
        let names: Vec<Key> = services.keys().cloned().collect();
        let mut file = FileServices {
            services: std::mem::take(services),
            path: path.to_path_buf(),
            directory: scope.directory.clone(),
        };
        for name in names {
            self.extend_service(&name, &mut file, scope, &mut Vec::new());
            if self.budget.nodes == 0 {
                // It was told; every further service would only cost more.
                break;
            }
        }
        if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
            *services = file.services;
        }
    }

    fn extend_service(
        &mut self,
        name: &str,
        file: &mut FileServices,
        scope: &Scope,
        chain: &mut Vec<(Link, Span)>,
    ) {
        let link = Link {
            path: file.path.clone(),
            service: name.to_owned(),
        };
        if chain.iter().any(|(seen, _)| *seen == link) || chain.len() > LONGEST_CHAIN {
            self.circle(&link, chain);
            return;
        }
        let Some(service) = file.services.get_mut(name) else {
            return;
        };
        let Some(map) = service.as_map_mut() else {
            return;
        };
        let Some(extends) = map
            .shift_remove("extends")
            .filter(|extends| extends.tag != Some(MergeTag::Reset))
        else {
            return;
        };
        let Some(wanted) = self.wanted(&extends, name) else {
            return;
        };
        chain.push((link, wanted.span));
        let base = self.base_service(&wanted, file, scope, chain);
        chain.pop();
        let Some(mut base) = base else { return };
        if !self.spend_nodes(base.size(), Some(wanted.span)) {
            return;
        }
        let Some(service) = file.services.get_mut(name) else {
            return;
        };
        let child = std::mem::replace(service, Node::new(Value::Invalid, Span::NONE));
        let (key_span, span) = (child.key_span, child.span);
        take_over(&mut base, wanted.span);
        self.report(|report| {
            let services = Path::ROOT.key("services");
            let path = &services.key(name);
            merge(
                &mut base,
                child,
                Target {
                    ty: &SERVICE,
                    path,
                    marks: Marks::Keep,
                },
                report,
            );
        });
        (base.key_span, base.span) = (key_span, span);
        if let Some(service) = file.services.get_mut(name) {
            *service = base;
        }
    }

    fn wanted(&mut self, extends: &Node, name: &str) -> Option<Wanted> {
        let (service, file) = match &extends.value {
            Value::String(service) => (Some(service.clone()), None),
            Value::Map(map) => {
                let file = map
                    .get("file")
                    .and_then(|file| Some((file.as_str()?.to_owned(), file.span)));
                (
                    map.get("service").and_then(Node::as_str).map(str::to_owned),
                    file,
                )
            }
            Value::Invalid => return None,
            _ => (None, None),
        };
        if service.is_none() {
            let place = self.sources.locate(extends.key_or_value());
            let problem = Diagnostic::error(
                "missing-attribute",
                format!("`services.{name}.extends` needs `service`"),
            )
            .at(place, "")
            .help("write `extends: {service: <name>}`, or just `extends: <name>`");
            self.findings.push(problem);
        }
        let service_span = extends
            .get("service")
            .map_or(extends.span, |node| node.span);
        Some(Wanted {
            service: service?,
            service_span,
            file,
            span: extends.span,
        })
    }

    /// The service to take over, with its own `extends` resolved.
    fn base_service(
        &mut self,
        wanted: &Wanted,
        file: &mut FileServices,
        scope: &Scope,
        chain: &mut Vec<(Link, Span)>,
    ) -> Option<Node> {
        let asking = chain.last().map(|(link, _)| link.service.clone());
        let asking = asking.as_deref().unwrap_or_default();
        let Some((name, span)) = &wanted.file else {
            if !file.services.contains_key(&wanted.service) {
                self.no_such_service(wanted, file, asking);
                return None;
            }
            self.extend_service(&wanted.service, file, scope, chain);
            return file
                .services
                .get(&wanted.service)
                .filter(|base| base.as_map().is_some())
                .cloned();
        };
        let path = self.local_path(name, *span, &file.directory, "extends")?;
        let mut other = self.file_services(&path, *span, scope)?;
        if !other.services.contains_key(&wanted.service) {
            self.no_such_service(wanted, &other, asking);
            return None;
        }
        let had_extends = other
            .services
            .get(&wanted.service)
            .is_some_and(|base| base.get("extends").is_some());
        if had_extends {
            self.extend_service(&wanted.service, &mut other, scope, chain);
        }
        let base = other
            .services
            .get(&wanted.service)
            .filter(|base| base.as_map().is_some())
            .cloned();
        self.extends_files.insert((path, scope.id), Rc::new(other));
        base
    }

    /// The services of another file: interpolated, expanded, paths led to the project directory. Each file is read once.
    /// Marks of `!reset` and `!override` stay: they work on what its services extend.
    fn file_services(
        &mut self,
        path: &FilePath,
        span: Span,
        scope: &Scope,
    ) -> Option<FileServices> {
        let key = (path.to_path_buf(), scope.id);
        if let Some(known) = self.extends_files.remove(&key) {
            return Rc::into_inner(known);
        }
        let told = self.findings.len();
        let documents = self.documents(path, Some(span));
        self.lead_here(told, span, "taken over by this `extends`");
        let documents = documents?;
        let mut root = Node::empty_map(Span::NONE);
        let lenient = self.options.skip.interpolation;
        for mut document in documents {
            self.interpolate(&mut document, scope);
            self.report(|report| {
                merge(
                    &mut root,
                    document,
                    Target {
                        ty: &ROOT,
                        path: &Path::ROOT,
                        marks: Marks::Keep,
                    },
                    report,
                );
                unify(&mut root, &ROOT, &Path::ROOT, report);
                expand(&mut root, lenient, report);
                unify(&mut root, &ROOT, &Path::ROOT, report);
            });
        }
        let directory = path.parent().unwrap_or(FilePath::new("/")).to_path_buf();
        let way = relative(&scope.directory, &directory);
        let home = self.options.environment.get("HOME").cloned();
        self.report(|report| {
            paths::resolve(
                &mut root,
                Base {
                    directory: &way,
                    home: home.as_deref(),
                    files: None,
                },
                report,
            );
        });
        self.lead_here(told, span, "taken over by this `extends`");
        let services = root
            .get_mut("services")
            .and_then(Node::as_map_mut)
            .map(std::mem::take)
            .unwrap_or_default();
        Some(FileServices {
            services,
            path: path.to_path_buf(),
            directory,
        })
    }

    /// A path that must be a file of this machine.
    pub(crate) fn local_path(
        &mut self,
        name: &str,
        span: Span,
        directory: &FilePath,
        what: &str,
    ) -> Option<PathBuf> {
        let path = absolute(directory, FilePath::new(name));
        let git = name.starts_with("git@")
            || name.starts_with("github.com/")
            || name.contains(".git#")
            || name.ends_with(".git");
        if name.starts_with("oci://")
            || name.contains("://")
            || (git && self.files.kind(&path).is_none())
        {
            let place = self.sources.locate(span);
            let problem = Diagnostic::error(
                "remote-file",
                format!("`{what}` from `{name}`: files of other machines cannot be read yet"),
            )
            .at(place, "")
            .help("fetch it first, and write the path of the local copy");
            self.findings.push(problem);
            return None;
        }
        Some(path)
    }

    fn no_such_service(&mut self, wanted: &Wanted, file: &FileServices, asking: &str) {
        let message = format!(
            "cannot extend service `{}` in {}: there is no such service",
            wanted.service,
            file.path.display()
        );
        // A service cannot extend itself.
        let others = file.services.iter().filter(|(name, service)| {
            wanted.file.is_some() || (name.as_str() != asking && service.as_map().is_some())
        });
        let known: Vec<&str> = others.map(|(name, _)| name.as_str()).collect();
        let otherwise = if wanted.file.is_some() {
            "check the name"
        } else {
            "of another file, name it as `extends: {file: …, service: …}`, also when that file is included or overridden"
        };
        let help = match suggest::nearest(&wanted.service, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if wanted.file.is_some() => suggest::one_of(&known, otherwise),
            None => otherwise.to_owned(),
        };
        let problem = Diagnostic::error("unknown-service", message)
            .at(self.sources.locate(wanted.service_span), "");
        self.findings.push(problem.help(help));
    }

    fn circle(&mut self, link: &Link, chain: &[(Link, Span)]) {
        let Some((_, last)) = chain.last() else {
            return;
        };
        let place = self.sources.locate(*last);
        let Some(start) = chain.iter().position(|(seen, _)| seen == link) else {
            let message = format!(
                "this chain of `extends` is too long: it has more than {LONGEST_CHAIN} services"
            );
            let problem = Diagnostic::error("extends-circle", message).at(place, "");
            self.findings
                .push(problem.help("let these services extend fewer others in a row"));
            return;
        };
        let names = chain[start..]
            .iter()
            .map(|(link, _)| link.service.as_str())
            .chain([link.service.as_str()]);
        let message = format!(
            "services extend each other in a circle: {}",
            names.collect::<Vec<_>>().join(" → ")
        );
        let mut problem =
            Diagnostic::error("extends-circle", message).at(place, "the circle closes here");
        for (link, span) in &chain[start..chain.len() - 1] {
            problem = problem.and(
                self.sources.locate(*span),
                format!("`{}` extends", link.service),
            );
        }
        if !self
            .findings
            .iter()
            .any(|finding| finding.code == "extends-circle")
        {
            self.findings
                .push(problem.help("remove one of these `extends`"));
        }
    }
}

/// Marks what comes from the base, and lets its own marks rest.
fn take_over(base: &mut Node, span: Span) {
    settle(base);
    let origin = Rc::new(Origin::Extends(span));
    if let Some(map) = base.as_map_mut() {
        for attribute in map.values_mut() {
            if matches!(
                attribute.origin.as_deref(),
                None | Some(Origin::Override(_))
            ) {
                attribute.origin = Some(Rc::clone(&origin));
            }
        }
    }
}
