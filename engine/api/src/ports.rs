//! Asking whether host ports are free before anything is started: `POST /hoist/ports/check`, which Docker has no words for.

use crate::host_config::PortMap;
use crate::wire::wire;

wire! {
    /// Host ports that are about to be published.
    pub struct PortsCheck {
        /// By whom.
        pub wanted: Vec<WantedPorts>,
        /// Names or ids of containers that are stopped or removed before: what they hold counts as free.
        pub released: Vec<String>,
    }

    /// The ports of one container that is about to start.
    pub struct WantedPorts {
        /// Its name, for messages.
        pub container: String,
        /// What it publishes.
        pub port_bindings: PortMap,
    }

    /// A port that is not free.
    pub struct PortConflict {
        /// Which of the containers wanted it.
        pub container: String,
        /// Which port on which address, and who has it.
        pub message: String,
        /// What the user can do.
        pub hint: String,
    }

    /// Answer to a [`PortsCheck`].
    pub struct PortsChecked {
        /// What is not free; empty when everything is.
        pub conflicts: Vec<PortConflict>,
    }
}
