//! Frames on a stream socket: `u32` length and `u16` number of descriptors, both little endian, then the value.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hoist_kernel::{KernelError, scm};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest value: a program with a large environment has some hundred KiB.
pub const MAX_LENGTH: usize = 8 * 1024 * 1024;
const HEADER: usize = 6;
const CHUNK: usize = 64 * 1024;

/// A connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed.
    #[error("the connection failed")]
    Socket(#[from] KernelError),
    /// The peer has closed.
    #[error("the connection was closed")]
    Closed,
    /// A frame is longer than [`MAX_LENGTH`].
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// A frame promised descriptors that did not come.
    #[error("descriptors of a frame are missing")]
    MissingDescriptors,
    /// The value is not one of the protocol, or cannot be encoded.
    #[error("a message cannot be understood")]
    Value(#[from] postcard::Error),
}

impl FrameError {
    /// Whether a non-blocking socket had nothing to give or no room to take.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Self::Socket(error) if error.errno == rustix::io::Errno::AGAIN)
    }
}

/// A frame ready to be sent: bytes, and descriptors for the first of them.
#[derive(Debug)]
pub struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

impl Outgoing {
    /// Encodes a message.
    ///
    /// # Errors
    /// [`FrameError::TooLong`], [`FrameError::Value`].
    pub fn encode(message: &impl Serialize, descriptors: Vec<OwnedFd>) -> Result<Self, FrameError> {
        let bytes = postcard::to_extend(message, vec![0; HEADER])?;
        Self::seal(bytes, descriptors)
    }

    fn seal(mut bytes: Vec<u8>, descriptors: Vec<OwnedFd>) -> Result<Self, FrameError> {
        let length = bytes.len() - HEADER;
        if length > MAX_LENGTH || descriptors.len() > scm::MAX_FDS {
            return Err(FrameError::TooLong(length));
        }
        let header = u32::try_from(length).map_err(|_| FrameError::TooLong(length))?;
        let count = u16::try_from(descriptors.len()).map_err(|_| FrameError::TooLong(length))?;
        bytes[..4].copy_from_slice(&header.to_le_bytes());
        bytes[4..HEADER].copy_from_slice(&count.to_le_bytes());
        Ok(Self {
            bytes,
            sent: 0,
            descriptors,
        })
    }

    /// Sends what the socket takes; whether all of it is sent. Blocks on a blocking socket until it is.
    ///
    /// # Errors
    /// [`FrameError::Socket`]; `EAGAIN` is not an error but `false`.
    pub fn send(&mut self, socket: impl AsFd) -> Result<bool, FrameError> {
        while self.sent < self.bytes.len() {
            let borrowed: Vec<BorrowedFd<'_>> = self.descriptors.iter().map(AsFd::as_fd).collect();
            match scm::send(&socket, &self.bytes[self.sent..], &borrowed) {
                Ok(sent) => {
                    self.sent += sent;
                    self.descriptors.clear();
                }
                Err(error) if error.errno == rustix::io::Errno::AGAIN => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

/// Bytes and descriptors that have come, not yet taken as messages.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    start: usize,
    descriptors: VecDeque<OwnedFd>,
}

impl Incoming {
    /// Reads once from the socket.
    ///
    /// # Errors
    /// [`FrameError::Closed`] at the end, [`FrameError::Socket`] also for `EAGAIN`.
    pub fn receive(&mut self, socket: impl AsFd) -> Result<(), FrameError> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let before = self.bytes.len();
        self.bytes.resize(before + CHUNK, 0);
        let mut descriptors = Vec::new();
        let result = scm::receive(socket, &mut self.bytes[before..], &mut descriptors);
        self.bytes.truncate(before + *result.as_ref().unwrap_or(&0));
        self.descriptors.extend(descriptors);
        if result? == 0 {
            Err(FrameError::Closed)
        } else {
            Ok(())
        }
    }

    /// Takes the next message, when all of it is there.
    ///
    /// # Errors
    /// Those of a peer that breaks the protocol; the connection cannot go on.
    pub fn take<M: DeserializeOwned>(&mut self) -> Result<Option<(M, Vec<OwnedFd>)>, FrameError> {
        let ready = &self.bytes[self.start..];
        let Some((header, rest)) = ready.split_at_checked(HEADER) else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let count = usize::from(u16::from_le_bytes([header[4], header[5]]));
        if length > MAX_LENGTH {
            return Err(FrameError::TooLong(length));
        }
        let Some(value) = rest.get(..length) else {
            return Ok(None);
        };
        if self.descriptors.len() < count {
            return Err(FrameError::MissingDescriptors);
        }
        let message = postcard::from_bytes(value)?;
        self.start += HEADER + length;
        Ok(Some((message, self.descriptors.drain(..count).collect())))
    }
}
