//! Removal of links that returns when they are gone, not when the kernel has cleaned up behind them.
//!
//! A link leaves the namespace, and its removal is announced (`RTM_DELLINK` to `RTNLGRP_LINK`), before the kernel waits for all
//! readers that may still hold it (`rcu_barrier` in `netdev_run_todo`). The request is acknowledged only after that wait, tens of
//! milliseconds later. Nobody needs it: so a thread of its own sends the request and the announcement is waited for.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, TryRecvError};

use netlink_packet_route::RouteNetlinkMessage;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::{LinkError, Request, RouteSocket};

/// Sends `request`, which removes the links of `indexes`, and returns when all of them are gone or the request has failed.
pub(super) fn remove(
    mut socket: RouteSocket,
    request: Request,
    indexes: BTreeSet<u32>,
) -> Result<(), LinkError> {
    let listener = RouteSocket::open_for_links()?;
    let answered = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(open_error)?);
    let (sender, answer) = mpsc::channel();
    let wake = answered.clone();
    let removal = move || {
        // Nobody listens any more when the links were gone first.
        let _ = sender.send(socket.apply(vec![request]));
        let _ = rustix::io::write(&*wake, &1_u64.to_ne_bytes());
    };
    std::thread::Builder::new()
        .name("link-removal".to_owned())
        .spawn(removal)
        .map_err(LinkError::Open)?;
    wait(listener, &answered, &answer, indexes)
}

fn wait(
    mut listener: RouteSocket,
    answered: &rustix::fd::OwnedFd,
    answer: &mpsc::Receiver<Result<(), LinkError>>,
    mut indexes: BTreeSet<u32>,
) -> Result<(), LinkError> {
    loop {
        match answer.try_recv() {
            Ok(result) => return result,
            // The thread has ended without an answer, which its code cannot do: what is left is told by the next look.
            Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => {}
        }
        // An overflowing queue loses announcements, not the answer.
        for message in listener.announcements().unwrap_or_default() {
            if let RouteNetlinkMessage::DelLink(link) = message {
                indexes.remove(&link.header.index);
            }
        }
        if indexes.is_empty() {
            return Ok(());
        }
        let mut sources = [
            PollFd::new(&listener, PollFlags::IN),
            PollFd::new(answered, PollFlags::IN),
        ];
        match poll(&mut sources, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(open_error(error)),
        }
    }
}

fn open_error(error: rustix::io::Errno) -> LinkError {
    LinkError::Open(io::Error::from(error))
}
