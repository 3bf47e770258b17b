//! Phases that look at one service at a time, run one after the other for each service.
//!
//! A large project does not fit the processor's cache: walking all of it for each phase would wait for memory, and for
//! each further file it would walk what that file does not touch.

use std::rc::Rc;

use super::diagnostic::Diagnostic;
use super::expand::{Allowance, expand_resources, expand_service};
use super::merge::{Marks, Target, merge, settle};
use super::node::{Map, MergeTag, Node, Origin, Span, Value};
use super::report::{Path, Report};
use super::schema::{ROOT, check};
use super::unify::unify;

/// The key that all of this is about.
const SERVICES: &str = "services";

/// What merging a file needs beside the file.
pub(crate) struct Adding<'r, 's> {
    /// Values may still hold variables.
    pub(crate) lenient: bool,
    pub(crate) left: &'r mut Allowance,
    pub(crate) report: &'r mut Report<'s>,
}

impl Adding<'_, '_> {
    /// Merges a file into the model, then checks and expands what it touches.
    pub(crate) fn add(&mut self, model: &mut Node, mut document: Node) {
        let above = separate(model, &mut document);
        let target = Target {
            ty: &ROOT,
            path: &Path::ROOT,
            marks: Marks::Settle,
        };
        merge(model, document, target, self.report);
        match above {
            Some(above) => self.merge_services(model, above),
            None => self.complete_all(model),
        }
        without_services(model, |rest| {
            settle(rest);
            check(rest, &ROOT, &Path::ROOT, self.report);
            obsolete_version(rest, self.report);
            expand_resources(rest, self.lenient, self.report);
            unify(rest, &ROOT, &Path::ROOT, self.report);
        });
    }

    /// Merges each service and completes it while it is at hand.
    fn merge_services(&mut self, model: &mut Node, above: Map) {
        let (Some(services), Some(ty)) = (model.get_mut(SERVICES), ROOT.entry(SERVICES)) else {
            return;
        };
        let origin = services.origin.clone();
        let path = Path::ROOT.key(SERVICES);
        let target = Target {
            ty,
            path: &path,
            marks: Marks::Settle,
        };
        let mut misnamed = false;
        // All that go away go together: each removal moves those behind it.
        let mut resets = Map::new();
        for (name, service) in above {
            if service.tag == Some(MergeTag::Reset) {
                resets.insert(name, service);
                continue;
            }
            let one = Map::from_iter([(name.clone(), service)]);
            merge(services, Node::map(one, Span::NONE), target, self.report);
            if let Some(service) = services.get_mut(&name) {
                misnamed |= !self.complete(service, &name, origin.as_ref());
            }
        }
        merge(services, Node::map(resets, Span::NONE), target, self.report);
        if misnamed {
            check(services, ty, &path, self.report);
        }
    }

    fn complete_all(&mut self, model: &mut Node) {
        let (Some(section), Some(ty)) = (model.get_mut(SERVICES), ROOT.entry(SERVICES)) else {
            return;
        };
        let origin = section.origin.clone();
        let mut misnamed = false;
        for (name, service) in section
            .as_map_mut()
            .into_iter()
            .flat_map(|map| map.iter_mut())
        {
            misnamed |= !self.complete(service, name, origin.as_ref());
        }
        if misnamed {
            check(section, ty, &Path::ROOT.key(SERVICES), self.report);
        }
    }

    /// Checks and expands a service; false when it has no name that a service can have.
    fn complete(&mut self, service: &mut Node, name: &str, section: Option<&Rc<Origin>>) -> bool {
        let section_type = ROOT.entry(SERVICES);
        let Some(ty) = section_type.and_then(|section| section.entry(name)) else {
            return false;
        };
        let section_path = Path::ROOT.key(SERVICES);
        let path = &section_path.key(name);
        settle(service);
        let section = section.map(Rc::as_ref);
        self.report.enter(section);
        check(service, ty, path, self.report);
        self.report.leave(section);
        expand_service(service, path, (self.lenient, self.left), self.report);
        unify(service, ty, path, self.report);
        true
    }
}

/// The services of a file, when they only add to those of the model entry by entry.
fn separate(model: &Node, document: &mut Node) -> Option<Map> {
    let below = model.get(SERVICES);
    if below.is_some_and(|services| services.as_map().is_none()) {
        return None;
    }
    let services = document.get_mut(SERVICES)?;
    if services.tag.is_some() {
        return None;
    }
    services.as_map_mut().map(std::mem::take)
}

/// Runs phases on a tree without its services.
pub(crate) fn without_services(root: &mut Node, phases: impl FnOnce(&mut Node)) {
    let map = |root: &mut Node| {
        let services = root.get_mut(SERVICES).and_then(Node::as_map_mut);
        services.map(std::mem::take)
    };
    let services = map(root);
    phases(root);
    if let (Some(services), Some(place)) = (services, root.get_mut(SERVICES)) {
        place.value = Value::Map(Box::new(services));
    }
}

/// Runs phases on each service.
pub(crate) fn each_service(root: &mut Node, mut phases: impl FnMut(&mut Node, &Path<'_>)) {
    let services = root.get_mut(SERVICES).and_then(Node::as_map_mut);
    let path = Path::ROOT.key(SERVICES);
    for (name, service) in services.into_iter().flat_map(|map| map.iter_mut()) {
        phases(service, &path.key(name));
    }
}

fn obsolete_version(model: &mut Node, report: &mut Report<'_>) {
    let Some(version) = model
        .as_map_mut()
        .and_then(|map| map.shift_remove("version"))
    else {
        return;
    };
    if matches!(version.value, Value::Invalid) {
        return;
    }
    let message = "the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion";
    let warning = Diagnostic::warning("obsolete-version", message)
        .at(report.locate(version.key_or_value()), "");
    report.push(warning.help("remove this line"));
}
