//! Limits and device rules as writes to control groups, for version 1, version 2 and both at a time.
//!
//! A limit whose controller the machine does not have is a warning, never an error. On a hybrid machine, where
//! controllers are on version 1, the container is also put into a group of the bare version 2 tree: for
//! `cgroup.kill`, and because clone3(2) can start a process there.

mod devices;

use std::path::{Path, PathBuf};

use hoist_kernel::init::program::OnFailure;
use hoist_shim::protocol::{CgroupGroup, CgroupPlan, CgroupValue, CgroupWrite, OomCounter};

use super::machine::{CgroupHierarchy, CgroupLayout, CgroupTree};
use super::spec::{Resources, RuntimeSpec};

/// Makes the plan of a container's groups.
pub(super) fn plan(
    spec: &RuntimeSpec,
    layout: &CgroupLayout,
    warnings: &mut Vec<String>,
) -> CgroupPlan {
    let mut plan = CgroupPlan::default();
    let rules = devices::rules(spec, warnings);
    if layout.is_unified() {
        if let Some(tree) = &layout.v2 {
            add_tree(&mut plan, spec, tree, warnings);
            plan.device_filter = devices::filter(&rules);
        }
        return plan;
    }
    for hierarchy in &layout.v1 {
        let directory = hierarchy.mount_point.join(&spec.cgroup);
        let mut group = Group::new(directory, true);
        add_controllers(&mut group, spec, hierarchy, &rules);
        plan.groups.push(group.finish());
    }
    if let Some(hierarchy) = layout.hierarchy("memory") {
        let file = hierarchy
            .mount_point
            .join(&spec.cgroup)
            .join("memory.oom_control");
        plan.oom = Some(OomCounter { file });
    }
    warn_of_missing(
        &spec.resources,
        |controller| layout.hierarchy(controller).is_some(),
        warnings,
    );
    if let Some(tree) = &layout.v2 {
        let directory = tree.mount_point.join(&spec.cgroup);
        plan.groups
            .push(Group::new(directory.clone(), false).finish());
        plan.unified = Some(directory);
    }
    plan
}

/// A group that is being filled.
struct Group {
    group: CgroupGroup,
}

impl Group {
    fn new(directory: PathBuf, join: bool) -> Self {
        Self {
            group: CgroupGroup {
                directory,
                parents: Vec::new(),
                writes: Vec::new(),
                join,
            },
        }
    }

    fn write(&mut self, file: &str, value: impl ToString, on_failure: OnFailure) {
        let file = self.group.directory.join(file);
        self.group.writes.push(CgroupWrite {
            file,
            value: CgroupValue::Text(value.to_string()),
            on_failure,
        });
    }

    /// A limit that the user asked for: it is a warning when this machine cannot give it.
    fn limit(&mut self, file: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.write(file, value, OnFailure::Warn);
        }
    }

    fn finish(self) -> CgroupGroup {
        self.group
    }
}

fn add_controllers(
    group: &mut Group,
    spec: &RuntimeSpec,
    hierarchy: &CgroupHierarchy,
    rules: &[devices::Rule],
) {
    let resources = &spec.resources;
    for controller in &hierarchy.controllers {
        match controller.as_str() {
            "cpuset" => add_cpuset(group, spec, hierarchy),
            "devices" => {
                for rule in devices::v1_writes(rules) {
                    group.write(rule.file, rule.value, OnFailure::Fail);
                }
            }
            controller => add_limits(group, resources, controller),
        }
    }
}

fn add_limits(group: &mut Group, resources: &Resources, controller: &str) {
    match controller {
        "cpu" => {
            group.limit("cpu.shares", resources.cpu_shares);
            group.limit("cpu.cfs_period_us", resources.cpu_period);
            group.limit("cpu.cfs_quota_us", resources.cpu_quota);
        }
        "memory" => add_memory(group, resources),
        "pids" => group.limit("pids.max", resources.pids.map(most_processes)),
        "blkio" => {
            group.limit("blkio.weight", resources.blkio_weight);
            for throttle in &resources.throttles {
                let file = format!("blkio.throttle.{}_device", throttle.kind.v1_name());
                let (device, rate) = (throttle.device_text(), throttle.rate);
                group.limit(&file, Some(format!("{device} {rate}")));
            }
        }
        _ => {}
    }
}

/// The writes that give the groups of a running container these limits: file and value. A limit that is not set is left alone.
pub(crate) fn updates(
    resources: &Resources,
    cgroup: &Path,
    layout: &CgroupLayout,
) -> Vec<(PathBuf, String)> {
    let mut groups = Vec::new();
    if let (true, Some(tree)) = (layout.is_unified(), &layout.v2) {
        let mut group = Group::new(tree.mount_point.join(cgroup), false);
        let has = |controller: &str| tree.controllers.iter().any(|name| name == controller);
        add_tree_limits(&mut group, resources, has);
        groups.push(group);
    } else {
        for hierarchy in &layout.v1 {
            let mut group = Group::new(hierarchy.mount_point.join(cgroup), false);
            for controller in &hierarchy.controllers {
                match controller.as_str() {
                    "cpuset" => add_cpuset_limits(&mut group, resources),
                    controller => add_limits(&mut group, resources, controller),
                }
            }
            groups.push(group);
        }
    }
    let writes = groups.into_iter().flat_map(|group| group.group.writes);
    let text = |write: CgroupWrite| match write.value {
        CgroupValue::Text(value) => Some((write.file, value)),
        CgroupValue::FromAbove => None,
    };
    writes.filter_map(text).collect()
}

fn add_cpuset_limits(group: &mut Group, resources: &Resources) {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    group.limit("cpuset.cpus", some(&resources.cpuset_cpus));
    group.limit("cpuset.mems", some(&resources.cpuset_mems));
}

/// A new cpuset is empty and takes no process: each level takes over what the one above has.
fn add_cpuset(group: &mut Group, spec: &RuntimeSpec, hierarchy: &CgroupHierarchy) {
    const FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];
    let from_above = |file: PathBuf| CgroupWrite {
        file,
        value: CgroupValue::FromAbove,
        on_failure: OnFailure::Warn,
    };
    let mut directory = hierarchy.mount_point.clone();
    for part in spec.cgroup.parent().unwrap_or(Path::new("")) {
        directory.push(part);
        group
            .group
            .parents
            .extend(FILES.map(|file| from_above(directory.join(file))));
    }
    let asked = [&spec.resources.cpuset_cpus, &spec.resources.cpuset_mems];
    for (file, asked) in FILES.into_iter().zip(asked) {
        if asked.is_empty() {
            let file = group.group.directory.join(file);
            group.group.writes.push(from_above(file));
        } else {
            group.limit(file, Some(asked));
        }
    }
}

/// Memory before memory and swap, which may not be less.
fn add_memory(group: &mut Group, resources: &Resources) {
    group.limit("memory.limit_in_bytes", resources.memory);
    let swap = resources.memory_swap.or_else(|| default_swap(resources));
    group.limit("memory.memsw.limit_in_bytes", swap);
    group.limit("memory.soft_limit_in_bytes", resources.memory_reservation);
    group.limit("memory.swappiness", resources.memory_swappiness);
    if resources.oom_kill_disable {
        group.limit("memory.oom_control", Some(1));
    }
}

/// Without a limit for memory and swap together, Docker gives as much swap as memory.
fn default_swap(resources: &Resources) -> Option<i64> {
    let memory = i64::try_from(resources.memory?).ok()?;
    memory.checked_mul(2)
}

fn add_tree(
    plan: &mut CgroupPlan,
    spec: &RuntimeSpec,
    tree: &CgroupTree,
    warnings: &mut Vec<String>,
) {
    let has = |controller: &str| tree.controllers.iter().any(|name| name == controller);
    // Version 2's word for blkio is io.
    let has_named = |name: &str| has(if name == "blkio" { "io" } else { name });
    warn_of_missing(&spec.resources, has_named, warnings);
    let wanted: Vec<String> = ["cpu", "cpuset", "memory", "pids", "io"]
        .iter()
        .filter(|controller| has(controller))
        .map(|controller| format!("+{controller}"))
        .collect();
    let directory = tree.mount_point.join(&spec.cgroup);
    let mut group = Group::new(directory.clone(), false);
    let mut above = tree.mount_point.clone();
    let parents = spec.cgroup.parent().unwrap_or(Path::new(""));
    for part in std::iter::once(None).chain(parents.iter().map(Some)) {
        above.extend(part);
        // One by one: a controller that cannot be switched on must not keep the others off.
        for value in &wanted {
            let file = above.join("cgroup.subtree_control");
            let write = CgroupWrite {
                file,
                value: CgroupValue::Text(value.clone()),
                on_failure: OnFailure::Warn,
            };
            group.group.parents.push(write);
        }
    }
    add_tree_limits(&mut group, &spec.resources, has);
    plan.oom = has("memory").then(|| OomCounter {
        file: directory.join("memory.events"),
    });
    plan.groups.push(group.finish());
    plan.unified = Some(directory);
}

fn add_tree_limits(group: &mut Group, resources: &Resources, has: impl Fn(&str) -> bool) {
    if has("cpu") {
        group.limit("cpu.weight", resources.cpu_shares.map(weight_of_shares));
        if resources.cpu_quota.is_some() || resources.cpu_period.is_some() {
            let quota = resources.cpu_quota.filter(|quota| *quota > 0);
            let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            let period = resources.cpu_period.unwrap_or(100_000);
            group.limit("cpu.max", Some(format!("{quota} {period}")));
        }
    }
    if has("memory") {
        group.limit("memory.max", resources.memory);
        group.limit("memory.swap.max", v2_swap(resources));
        group.limit("memory.low", resources.memory_reservation);
    }
    if has("pids") {
        group.limit("pids.max", resources.pids.map(most_processes));
    }
    if has("cpuset") {
        add_cpuset_limits(group, resources);
    }
    if has("io") {
        group.limit(
            "io.weight",
            resources
                .blkio_weight
                .map(|weight| format!("default {}", io_weight(weight))),
        );
        for throttle in &resources.throttles {
            let (device, key) = (throttle.device_text(), throttle.kind.v2_name());
            group.limit("io.max", Some(format!("{device} {key}={}", throttle.rate)));
        }
    }
}

/// The kernel's word for no limit is not a number.
fn most_processes(limit: u64) -> String {
    match limit {
        0 => "max".to_owned(),
        limit => limit.to_string(),
    }
}

/// Docker's number is memory and swap together, version 2's is swap alone.
fn v2_swap(resources: &Resources) -> Option<String> {
    let memory = i64::try_from(resources.memory?).ok()?;
    match resources.memory_swap {
        Some(-1) => Some("max".to_owned()),
        Some(both) if both > 0 => Some(both.saturating_sub(memory).max(0).to_string()),
        _ => Some(memory.to_string()),
    }
}

/// The conversion that runc and crun use since 2025: 1024 shares are weight 100, and the ends meet.
fn weight_of_shares(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144) as f64;
    let log = shares.log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    (10_f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

/// 10 to 1000 of version 1 onto 1 to 10000.
fn io_weight(weight: u16) -> u32 {
    1 + (u32::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

fn warn_of_missing(resources: &Resources, has: impl Fn(&str) -> bool, warnings: &mut Vec<String>) {
    let wanted = [
        (
            "cpu",
            resources.cpu_shares.is_some() || resources.cpu_quota.is_some(),
        ),
        (
            "cpuset",
            !resources.cpuset_cpus.is_empty() || !resources.cpuset_mems.is_empty(),
        ),
        (
            "memory",
            resources.memory.is_some() || resources.memory_reservation.is_some(),
        ),
        ("pids", resources.pids.is_some()),
        ("blkio", !resources.throttles.is_empty()),
    ];
    for (controller, _) in wanted
        .iter()
        .filter(|(controller, wanted)| *wanted && !has(controller))
    {
        warnings.push(format!(
            "this machine has no {controller} controller: the limit is not applied"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_as_in_runc() {
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000), (512, 59)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        assert_eq!((io_weight(10), io_weight(1000)), (1, 10_000));
    }

    #[test]
    fn swap_is_what_is_left_of_both() {
        let check = |memory, both, expected: Option<&str>| {
            let resources = Resources {
                memory,
                memory_swap: both,
                ..Resources::default()
            };
            assert_eq!(v2_swap(&resources).as_deref(), expected);
        };
        check(None, Some(10), None);
        check(Some(100), None, Some("100"));
        check(Some(100), Some(100), Some("0"));
        check(Some(100), Some(150), Some("50"));
        check(Some(100), Some(-1), Some("max"));
    }
}
