//! What an engine has in the kernel: processes, mounts, links, nftables tables, cgroups. Counted, not asked of the engine.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything found, in words.
#[derive(Debug, Default)]
pub struct Leftovers(pub Vec<String>);

/// A process of the host.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    pub command: String,
}

impl Leftovers {
    /// Looks at the host of the calling thread, whose directory this is.
    pub fn of(dir: &Path) -> Leftovers {
        let mut found = Vec::new();
        found.extend(
            processes(dir)
                .iter()
                .map(|process| format!("process {}: {}", process.pid, process.command)),
        );
        found.extend(mounts(dir).iter().map(|at| format!("mount {at}")));
        found.extend(links().iter().map(|name| format!("link {name}")));
        found.extend(tables().iter().map(|name| format!("nftables {name}")));
        found.extend(
            cgroups(dir)
                .iter()
                .map(|path| format!("cgroup {}", path.display())),
        );
        Leftovers(found)
    }

    /// Whether the host is as new.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// The name of the cgroup that holds all containers of an engine with its root in `dir`.
pub fn cgroup_name(dir: &Path) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(dir.join("root").as_os_str().as_encoded_bytes());
    format!("hoist_{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2])
}

/// The host's processes other than the test itself and its warden: by mount namespace, and by cgroup for those that are
/// in namespaces of their own.
pub fn processes(dir: &Path) -> Vec<Process> {
    let own = fs::read_link("/proc/thread-self/ns/mnt").expect("proc is mounted");
    let cgroup = format!("/{}", cgroup_name(dir));
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("proc is mounted").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let path = entry.path();
        let inside = fs::read_link(path.join("ns/mnt")).is_ok_and(|namespace| namespace == own)
            || fs::read_to_string(path.join("cgroup")).is_ok_and(|text| text.contains(&cgroup));
        let command = fs::read_to_string(path.join("cmdline"))
            .unwrap_or_default()
            .replace('\0', " ");
        let zombie = fs::read_to_string(path.join("stat")).is_ok_and(|stat| stat.contains(") Z "));
        if inside
            && !zombie
            && !command.contains("tests/common/warden.sh")
            && pid != std::process::id()
        {
            found.push(Process {
                pid,
                command: command.trim_end().to_owned(),
            });
        }
    }
    found
}

/// Mounts beneath the host's directory other than the harness's own two.
fn mounts(dir: &Path) -> Vec<String> {
    let own = [dir.to_path_buf(), dir.join("root")];
    let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("proc is mounted");
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    points
        .filter(|at| at.starts_with(dir) && !own.contains(at))
        .map(|at| at.display().to_string())
        .collect()
}

fn links() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").expect("proc is mounted");
    let names = table
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next());
    names
        .map(|name| name.trim().to_owned())
        .filter(|name| name != "lo")
        .collect()
}

fn tables() -> Vec<String> {
    let output = Command::new("nft")
        .args(["list", "tables"])
        .output()
        .expect("nftables is installed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn cgroups(dir: &Path) -> Vec<PathBuf> {
    let name = cgroup_name(dir);
    let mut found = Vec::new();
    let mut ahead = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((path, depth)) = ahead.pop() {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy() == name.as_str() {
                found.push(entry.path());
            } else if depth < 2 {
                ahead.push((entry.path(), depth + 1));
            }
        }
    }
    found
}
