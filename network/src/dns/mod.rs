//! The embedded DNS at 127.0.0.11: names of one engine's containers, everything else relayed.
//!
//! [`records`] is the store, [`message`] answers one query from it (pure), [`sockets`] are made inside a
//! container's namespace, [`server`] serves them from the engine, `upstream` relays, [`resolv_conf`] reads and
//! writes resolver configuration. A client can slow down or break only itself: local answers never wait, relayed
//! queries are bounded for each container and in total, each TCP connection is a task with a deadline.

pub mod message;
pub mod records;
pub mod resolv_conf;
pub mod server;
pub mod sockets;
mod upstream;

pub use records::{Directory, EndpointNames};
pub use server::{DnsOptions, DnsServer, Upstreams, View};
pub use sockets::DnsSockets;

use std::net::Ipv4Addr;

/// Where a container finds the embedded DNS, port 53.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
