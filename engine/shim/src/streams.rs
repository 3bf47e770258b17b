//! The container's standard streams: read for the log and for attached clients, written from clients.
//!
//! A client that does not read stops the container's output once [`SINK_LIMIT`] bytes wait for it, as a
//! terminal would; one that goes away is forgotten.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::json_log::{LineCutter, Stream};
use crate::log_file::LogFile;
use crate::time;

/// Bytes that wait for a client before the container has to.
const SINK_LIMIT: usize = 1 << 20;
/// Bytes of input that wait for the container before a client has to.
const INPUT_LIMIT: usize = 64 * 1024;
const CHUNK: usize = 64 * 1024;

/// One output stream.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stream: Stream,
    /// `None` once it has ended.
    pub(crate) source: Option<OwnedFd>,
    cutter: LineCutter,
}

impl Output {
    pub(crate) fn new(stream: Stream, source: OwnedFd) -> Self {
        Self {
            stream,
            source: Some(source),
            cutter: LineCutter::new(stream),
        }
    }
}

/// A client's end of an output stream.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) stream: Stream,
    pub(crate) client: OwnedFd,
    pending: VecDeque<u8>,
}

impl Sink {
    /// Whether something waits to be written.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// A client's end of the input stream.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) client: OwnedFd,
}

/// All streams of a container.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) outputs: Vec<Output>,
    pub(crate) sinks: Vec<Sink>,
    pub(crate) feeds: Vec<Feed>,
    /// Where input goes; `None` when it is closed or was never open.
    pub(crate) input: Option<OwnedFd>,
    input_pending: VecDeque<u8>,
    /// Close the input when what is pending is written.
    input_closing: bool,
    /// Close the input when the first client's ends.
    pub(crate) stdin_once: bool,
    /// Whether input and output are one terminal, whose input cannot be closed.
    pub(crate) terminal: bool,
}

impl Streams {
    /// Whether output may be read now.
    pub(crate) fn may_read_output(&self) -> bool {
        self.sinks
            .iter()
            .all(|sink| sink.pending.len() < SINK_LIMIT)
    }

    /// Whether clients' input may be read now.
    pub(crate) fn may_read_input(&self) -> bool {
        self.input_pending.len() < INPUT_LIMIT
    }

    /// Whether the input wants to be written.
    pub(crate) fn has_input(&self) -> bool {
        !self.input_pending.is_empty()
    }

    /// Whether every output has ended.
    pub(crate) fn are_drained(&self) -> bool {
        self.outputs.iter().all(|output| output.source.is_none())
    }

    /// Whether a client still has to be written to.
    pub(crate) fn has_waiting_sinks(&self) -> bool {
        self.sinks.iter().any(|sink| !sink.pending.is_empty())
    }

    /// Reads once from an output.
    pub(crate) fn read_output(&mut self, index: usize, log: &mut LogFile) {
        let output = &mut self.outputs[index];
        let Some(source) = &output.source else { return };
        let mut buffer = [0; CHUNK];
        match rustix::io::read(source, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A terminal without its other end gives EIO.
            Ok(0) | Err(_) => self.end_output(index, log),
            Ok(length) => {
                let data = &buffer[..length];
                output
                    .cutter
                    .push(data, time::now(), &mut |entry| log.append(entry));
                log.flush();
                let stream = output.stream;
                for sink in self.sinks.iter_mut().filter(|sink| sink.stream == stream) {
                    sink.pending.extend(data);
                }
                self.flush_sinks();
            }
        }
    }

    /// An output has ended, or is not waited for any more.
    pub(crate) fn end_output(&mut self, index: usize, log: &mut LogFile) {
        let output = &mut self.outputs[index];
        output.source = None;
        output
            .cutter
            .finish(time::now(), &mut |entry| log.append(entry));
        log.flush();
    }

    /// Connects a client's end to an output.
    pub(crate) fn add_sink(&mut self, stream: Stream, client: OwnedFd) {
        let _ = rustix::io::ioctl_fionbio(&client, true);
        self.sinks.push(Sink {
            stream,
            client,
            pending: VecDeque::new(),
        });
    }

    /// Connects a client's end to the input.
    pub(crate) fn add_feed(&mut self, client: OwnedFd) {
        let _ = rustix::io::ioctl_fionbio(&client, true);
        self.feeds.push(Feed { client });
    }

    /// Writes what waits for clients; forgets those that are gone.
    pub(crate) fn flush_sinks(&mut self) {
        self.sinks
            .retain_mut(|sink| write_pending(&sink.client, &mut sink.pending));
    }

    /// Forgets a client's output end that was closed.
    pub(crate) fn drop_sink(&mut self, index: usize) {
        if index < self.sinks.len() {
            self.sinks.remove(index);
        }
    }

    /// Reads once from a client.
    pub(crate) fn read_feed(&mut self, index: usize) {
        let Some(feed) = self.feeds.get(index) else {
            return;
        };
        let mut buffer = [0; 16 * 1024];
        match rustix::io::read(&feed.client, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(0) | Err(_) => {
                self.feeds.remove(index);
                if self.stdin_once {
                    self.close_input();
                }
            }
            Ok(length) => {
                if self.input.is_some() && !self.input_closing {
                    self.input_pending.extend(&buffer[..length]);
                    self.flush_input();
                }
            }
        }
    }

    /// Writes what waits for the container.
    pub(crate) fn flush_input(&mut self) {
        let Some(input) = &self.input else { return };
        let alive = write_pending(input, &mut self.input_pending);
        if !alive || (self.input_closing && self.input_pending.is_empty()) {
            self.input = None;
            self.input_pending.clear();
        }
    }

    /// Closes the input once everything is written. A terminal's stays open: it has no end.
    pub(crate) fn close_input(&mut self) {
        if !self.terminal {
            self.input_closing = true;
            self.flush_input();
        }
    }

    /// The container has ended: closes what clients hold.
    pub(crate) fn close_clients(&mut self) {
        self.flush_sinks();
        self.sinks.retain(|sink| !sink.pending.is_empty());
        self.feeds.clear();
        self.input = None;
    }
}

/// Writes as much as the descriptor takes; whether it is still good.
fn write_pending(fd: &OwnedFd, pending: &mut VecDeque<u8>) -> bool {
    while !pending.is_empty() {
        let (front, _) = pending.as_slices();
        match rustix::io::write(fd, front) {
            Ok(0) | Err(Errno::AGAIN) => return true,
            Ok(length) => drop(pending.drain(..length)),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
