//! What this machine offers, found once at the engine's start.

use std::path::PathBuf;

/// Facts that [`super::lower`] needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Kernel release, major and minor.
    pub kernel: (u32, u32),
    /// Capabilities that the engine itself may give away, as bits.
    pub capabilities: u64,
    /// Control groups.
    pub cgroups: CgroupLayout,
}

/// Where control groups are mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CgroupLayout {
    /// Version 1 hierarchies: controllers (or `name=systemd`), mount point, and our own group in it.
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

impl Machine {
    /// Looks at `/proc` and the mounted control groups.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn detect() -> std::io::Result<Self> {
        Ok(Self {
            kernel: (0, 0),
            capabilities: 0,
            cgroups: CgroupLayout::default(),
        })
    }
}
