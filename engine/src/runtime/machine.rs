//! What this machine offers, found once at the engine's start.

use std::path::{Path, PathBuf};

use hoist_kernel::init::program::Instruction;

use super::capabilities;
use super::seccomp::{self, Facts};

/// Facts that [`super::lower`] needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Kernel release, major and minor.
    pub kernel: (u32, u32),
    /// Capabilities that the engine itself may give away, as bits.
    pub capabilities: u64,
    /// Control groups.
    pub cgroups: CgroupLayout,
    /// Paths that this machine has and that are masked besides the usual ones: thermal events of each processor.
    pub masked_paths: Vec<String>,
    /// The default seccomp profile, compiled for the default capabilities: what nearly every container gets.
    pub default_filter: DefaultFilter,
}

/// A filter made once, and for which capabilities.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DefaultFilter {
    /// Capabilities as bits.
    pub capabilities: u64,
    /// The program; empty: none was made.
    pub program: Vec<Instruction>,
}

/// Where control groups are mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CgroupLayout {
    /// Version 1 hierarchies.
    pub v1: Vec<CgroupHierarchy>,
    /// The version 2 tree, on a hybrid machine beside version 1.
    pub v2: Option<CgroupTree>,
}

/// A version 1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupHierarchy {
    /// Its controllers, or `name=…`.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount_point: PathBuf,
}

/// The version 2 tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupTree {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Controllers that it can give.
    pub controllers: Vec<String>,
}

impl CgroupLayout {
    /// Where a control group is, in every hierarchy.
    #[must_use]
    pub fn directories(&self, group: &Path) -> Vec<PathBuf> {
        let v1 = self.v1.iter().map(|hierarchy| &hierarchy.mount_point);
        let v2 = self.v2.iter().map(|tree| &tree.mount_point);
        v1.chain(v2).map(|mount| mount.join(group)).collect()
    }

    /// Finds the mounted hierarchies in the text of `/proc/self/mountinfo`, without their controllers of version 2.
    pub fn from_mountinfo(text: &str) -> Self {
        let mut layout = Self::default();
        for line in text.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let left: Vec<&str> = left.split(' ').collect();
            let right: Vec<&str> = right.split(' ').collect();
            // A bind mount of a part of a hierarchy, as containers have it, is not where groups are made.
            let (Some(root), Some(place), Some(kind)) = (left.get(3), left.get(4), right.first())
            else {
                continue;
            };
            if *root != "/" {
                continue;
            }
            let mount_point = PathBuf::from(unescape(place));
            match *kind {
                "cgroup2" if layout.v2.is_none() => {
                    layout.v2 = Some(CgroupTree {
                        mount_point,
                        controllers: Vec::new(),
                    });
                }
                "cgroup" => {
                    let options = right.get(2).copied().unwrap_or_default().split(',');
                    let controllers: Vec<String> = options
                        .filter(|option| is_controller(option))
                        .map(str::to_owned)
                        .collect();
                    let known = layout
                        .v1
                        .iter()
                        .any(|hierarchy| hierarchy.controllers == controllers);
                    if !known && !controllers.is_empty() {
                        layout.v1.push(CgroupHierarchy {
                            controllers,
                            mount_point,
                        });
                    }
                }
                _ => {}
            }
        }
        layout
    }

    /// The version 1 hierarchy of a controller.
    pub fn hierarchy(&self, controller: &str) -> Option<&CgroupHierarchy> {
        let has = |hierarchy: &&CgroupHierarchy| {
            hierarchy.controllers.iter().any(|name| name == controller)
        };
        self.v1.iter().find(has)
    }

    /// Whether limits are version 2's: no controller is on version 1.
    pub fn is_unified(&self) -> bool {
        self.v2.is_some()
            && self
                .v1
                .iter()
                .all(|hierarchy| hierarchy.controllers[0].starts_with("name="))
    }
}

impl Machine {
    /// Looks at `/proc` and the mounted control groups.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn detect() -> std::io::Result<Self> {
        let mut cgroups =
            CgroupLayout::from_mountinfo(&std::fs::read_to_string("/proc/self/mountinfo")?);
        if let Some(tree) = &mut cgroups.v2 {
            let file = tree.mount_point.join("cgroup.controllers");
            let text = std::fs::read_to_string(file).unwrap_or_default();
            tree.controllers = text.split_whitespace().map(str::to_owned).collect();
        }
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let status = std::fs::read_to_string("/proc/self/status")?;
        let capabilities = parse_capabilities(&status);
        let kernel = parse_release(&release);
        Ok(Self {
            kernel,
            capabilities,
            cgroups,
            masked_paths: thermal_paths(),
            default_filter: default_filter(kernel, capabilities),
        })
    }
}

/// They tell a neighbour's load, to the precision that attacks on keys need.
fn thermal_paths() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/devices/system/cpu") else {
        return Vec::new();
    };
    let paths = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("thermal_throttle"));
    let existing = paths.filter(|path| path.is_dir());
    existing
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

fn default_filter(kernel: (u32, u32), available: u64) -> DefaultFilter {
    let capabilities = capabilities::select(&[], &[], available, &mut Vec::new());
    let facts = Facts {
        kernel,
        capabilities,
    };
    let program = seccomp::compile(&seccomp::default_profile(), &facts).unwrap_or_default();
    DefaultFilter {
        capabilities,
        program,
    }
}

fn is_controller(option: &str) -> bool {
    let others = [
        "rw",
        "ro",
        "xattr",
        "clone_children",
        "noprefix",
        "favordynmods",
        "nofavordynmods",
    ];
    !others.contains(&option)
        && !option.starts_with("release_agent=")
        && !option.starts_with("cpuset_v2")
}

/// `\040` and its like, as mountinfo writes blanks.
fn unescape(text: &str) -> String {
    ["040 ", "011\t", "012\n", "134\\"]
        .iter()
        .fold(text.to_owned(), |text, pair| {
            let (code, character) = pair.split_at(3);
            text.replace(&format!("\\{code}"), character)
        })
}

fn parse_release(text: &str) -> (u32, u32) {
    let mut numbers = text
        .split(|character: char| !character.is_ascii_digit())
        .map(|part| part.parse().ok());
    let mut next = || numbers.next().flatten().unwrap_or_default();
    (next(), next())
}

fn parse_capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
23 20 0:20 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
24 23 0:21 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
25 23 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
26 23 0:23 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
27 23 0:24 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw,nsdelegate
90 23 0:22 /docker/abc /elsewhere rw - cgroup cgroup rw,memory
91 23 0:22 / /again rw - cgroup cgroup rw,memory
";

    #[test]
    fn hierarchies_are_found() {
        let layout = CgroupLayout::from_mountinfo(HYBRID);
        let seen: Vec<String> = layout
            .v1
            .iter()
            .map(|hierarchy| {
                format!(
                    "{} {}",
                    hierarchy.controllers.join("+"),
                    hierarchy.mount_point.display()
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                "cpu+cpuacct /sys/fs/cgroup/cpu,cpuacct",
                "memory /sys/fs/cgroup/memory",
                "name=systemd /sys/fs/cgroup/systemd"
            ]
        );
        assert_eq!(
            layout.v2.as_ref().unwrap().mount_point,
            PathBuf::from("/sys/fs/cgroup/uni fied")
        );
        assert!(!layout.is_unified());
        let unified =
            CgroupLayout::from_mountinfo("1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
        assert!(unified.is_unified());
    }

    #[test]
    fn numbers_of_proc_are_read() {
        assert_eq!(parse_release("6.18.44-fc-v595\n"), (6, 18));
        assert_eq!(parse_release("odd"), (0, 0));
        assert_eq!(
            parse_capabilities("Name:\tx\nCapPrm:\t000001fffeffffff\n"),
            0x1ff_feff_ffff
        );
    }
}
