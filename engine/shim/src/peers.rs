//! Connections of engines: frames in, frames out, never waiting for one of them.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::frame::{FrameError, Incoming, Outgoing};
use crate::protocol::{Event, FromShim, Request};

/// Messages that wait for a connection before it is given up.
const BACKLOG: usize = 1024;

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) socket: OwnedFd,
    incoming: Incoming,
    outgoing: VecDeque<Outgoing>,
    /// The engine said that it leaves in order.
    pub(crate) leaving: bool,
}

impl Peer {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        let _ = rustix::io::ioctl_fionbio(&socket, true);
        Self {
            socket,
            incoming: Incoming::default(),
            outgoing: VecDeque::new(),
            leaving: false,
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) fn receive(&mut self) -> Result<(), FrameError> {
        match self.incoming.receive(&self.socket) {
            Err(error) if error.is_would_block() => Ok(()),
            result => result,
        }
    }

    /// The next complete request.
    ///
    /// # Errors
    /// When the peer breaks the protocol.
    pub(crate) fn request(&mut self) -> Result<Option<(Request, Vec<OwnedFd>)>, FrameError> {
        self.incoming.take()
    }

    /// Queues a message and sends what the socket takes.
    ///
    /// # Errors
    /// When the connection has ended or does not read.
    pub(crate) fn send(
        &mut self,
        message: &FromShim,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), FrameError> {
        if self.outgoing.len() >= BACKLOG {
            return Err(FrameError::Closed);
        }
        self.outgoing
            .push_back(Outgoing::encode(message, descriptors)?);
        self.flush()
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) fn flush(&mut self) -> Result<(), FrameError> {
        while let Some(first) = self.outgoing.front_mut() {
            if !first.send(&self.socket)? {
                break;
            }
            self.outgoing.pop_front();
        }
        Ok(())
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }
}

/// Tells every connection; forgets those that have ended.
pub(crate) fn broadcast(peers: &mut Vec<Peer>, event: &Event) {
    let message = FromShim::Event(event.clone());
    peers.retain_mut(|peer| peer.send(&message, Vec::new()).is_ok());
}
