//! Networks for containers: addresses, bridges, veth pairs, nftables, host-port claims, embedded DNS.
//!
//! This crate knows network namespaces, links, rules and sockets. It does not know containers, images, Docker's
//! API or any stored record: callers pass values in and keep what they get back.
//!
//! Three rules hold everywhere:
//!
//! * Everything goes through netlink, `/proc/sys` and sockets. No `ip`, `nft`, `iptables` or `sysctl` is executed.
//! * A thread never switches its network namespace and comes back. Work inside another namespace runs on a thread
//!   made for it (`hoist_kernel::netns`).
//! * Functions that talk to the kernel act in the network namespace of the calling thread. They block (most for
//!   well under a millisecond, deleting links for tens of milliseconds): call them from a blocking task.

#![forbid(unsafe_code)]

pub mod config;
pub mod conntrack;
pub mod dns;
pub mod firewall;
pub mod ipam;
pub mod link;
mod netlink;
pub mod ports;
pub mod proxy;
pub mod reconcile;
pub mod sandbox;
pub mod sysctl;

pub use config::NetworkConfig;
pub use link::MacAddress;
