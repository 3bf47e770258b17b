//! Named volumes.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// Body of a volume's creation.
    pub struct VolumeCreate {
        /// Name; empty: a random one.
        pub name: String,
        /// `local`; empty: `local`.
        pub driver: String,
        /// Driver options.
        pub driver_opts: BTreeMap<String, String>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
    }

    /// How much a volume holds.
    pub struct VolumeUsage {
        /// Bytes, -1 when not computed.
        pub size: i64,
        /// Containers that use it, -1 when not computed.
        pub ref_count: i64,
    }

    /// A volume.
    pub struct Volume {
        /// Name.
        pub name: String,
        /// `local`.
        pub driver: String,
        /// Path on the host.
        pub mountpoint: String,
        /// RFC 3339.
        pub created_at: String,
        /// `local`.
        pub scope: String,
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// Driver options.
        pub options: Option<BTreeMap<String, String>>,
        /// Only when asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub usage_data: Option<VolumeUsage>,
    }

    /// A list of volumes.
    pub struct VolumeList {
        /// The volumes.
        pub volumes: Vec<Volume>,
        /// What could not be listed.
        pub warnings: Option<Vec<String>>,
    }

    /// Answer to the removal of all volumes that nothing uses.
    pub struct VolumesPruned {
        /// Their names.
        pub volumes_deleted: Vec<String>,
        /// Bytes freed.
        pub space_reclaimed: i64,
    }
}
