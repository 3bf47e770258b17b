//! Puts our rules back when others flush them: `nft flush ruleset`, a reload of Docker's, ufw's or firewalld's
//! rules. Listens to the kernel's own announcements; no polling.

use std::io;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};
use tokio::io::unix::AsyncFd;

use super::{Firewall, FirewallError, Outcome};
use crate::netlink::{self, Messages};

const NFNLGRP_NFTABLES: u32 = 7;
const NFT_MSG_NEWGEN: u16 = (10 << 8) | 15;
const NFTA_GEN_PROC_PID: u16 = 2;
/// A reload is many transactions: wait until they are through before looking.
const SETTLE: Duration = Duration::from_millis(100);

/// Why others' changes cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The socket could not be made.
    #[error("subscribe to nf_tables events")]
    Subscribe(#[source] io::Error),
    /// The socket failed.
    #[error("receive nf_tables events")]
    Receive(#[source] io::Error),
}

/// A subscription to others' changes of nftables, in the namespace where it was opened.
pub struct Watch {
    socket: AsyncFd<Socket>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    /// Subscribes. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`WatchError::Subscribe`].
    pub fn open() -> Result<Self, WatchError> {
        subscribe()
            .map(|socket| Self { socket })
            .map_err(WatchError::Subscribe)
    }

    /// Waits until another process has changed nftables and the changes have settled.
    ///
    /// # Errors
    /// [`WatchError::Receive`].
    pub async fn changed(&mut self) -> Result<(), WatchError> {
        loop {
            if self.next().await? {
                break;
            }
        }
        // Events that come meanwhile are part of the same change.
        while let Ok(event) = tokio::time::timeout(SETTLE, self.next()).await {
            event?;
        }
        Ok(())
    }

    /// Keeps `firewall` as it should be until the socket fails. `report` hears of every repair and failure.
    ///
    /// # Errors
    /// [`WatchError::Receive`].
    pub async fn keep(
        mut self,
        firewall: Arc<Mutex<Firewall>>,
        report: impl Fn(Result<Outcome, FirewallError>),
    ) -> Result<(), WatchError> {
        loop {
            self.changed().await?;
            let firewall = Arc::clone(&firewall);
            let ensure = tokio::task::spawn_blocking(move || {
                firewall
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .ensure()
            });
            match ensure.await {
                Ok(Ok(Outcome::Unchanged)) | Err(_) => {}
                Ok(outcome) => report(outcome),
            }
        }
    }

    /// Waits for one event; true when it is a change by another process.
    async fn next(&self) -> Result<bool, WatchError> {
        loop {
            let mut ready = self.socket.readable().await.map_err(WatchError::Receive)?;
            let received = ready.try_io(|socket| {
                let mut buffer = Vec::with_capacity(64 * 1024);
                socket.get_ref().recv(&mut buffer, 0)?;
                Ok(buffer)
            });
            match received {
                Ok(Ok(datagram)) => return Ok(is_foreign_change(&datagram)),
                // Events were lost (ENOBUFS): something changed.
                Ok(Err(error)) if error.to_string().starts_with("No buffer space") => {
                    return Ok(true);
                }
                Ok(Err(error)) => return Err(WatchError::Receive(error)),
                Err(_would_block) => {}
            }
        }
    }
}

fn subscribe() -> io::Result<AsyncFd<Socket>> {
    let mut socket = Socket::new(netlink_sys::protocols::NETLINK_NETFILTER)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.add_membership(NFNLGRP_NFTABLES)?;
    socket.set_non_blocking(true)?;
    register(socket)
}

#[allow(
    deprecated,
    reason = "its successor is an unsafe function; what it warns of (a descriptor that changes under it) cannot \
              happen: the socket owns its descriptor until it is dropped"
)]
fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    AsyncFd::new(socket)
}

/// Every transaction ends with a new generation, which names the process that made it.
fn is_foreign_change(datagram: &[u8]) -> bool {
    Messages::new(datagram)
        .filter(|message| message.kind == NFT_MSG_NEWGEN)
        .any(|message| {
            let attributes = message.payload.get(4..).unwrap_or_default();
            let process = netlink::attribute(attributes, NFTA_GEN_PROC_PID)
                .and_then(|value| Some(u32::from_be_bytes(value.try_into().ok()?)));
            process != Some(process::id())
        })
}
