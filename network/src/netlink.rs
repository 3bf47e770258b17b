//! A blocking netlink socket: send a batch, read its answers. Used for rtnetlink and nfnetlink alike.
//!
//! The kernel works on a netlink request during `sendmsg`, so when that returns every answer is queued already:
//! nothing here waits. Only the last message of a batch asks for an acknowledgement; errors of all others come by
//! themselves (netlink(7)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr};

/// `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// netlink(7) flags.
pub(crate) const NLM_F_REQUEST: u16 = 0x01;
pub(crate) const NLM_F_ACK: u16 = 0x04;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const MSG_DONTWAIT: i32 = 0x40;
/// An interrupted dump is asked for again this many times.
pub(crate) const DUMP_ATTEMPTS: usize = 8;
const RECEIVE_BUFFER: usize = 128 * 1024;
const SEND_BUFFER: usize = 8 * 1024 * 1024;

/// What the kernel says about one message of a batch.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Sequence number of the message it answers.
    pub(crate) sequence: u32,
    /// None: done. Else the error, with the kernel's own explanation when it gives one.
    pub(crate) error: Option<io::Error>,
}

/// A netlink socket of the namespace in which it was opened.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
    /// Where datagrams are received; made once, for a message costs less than its memory.
    buffer: Vec<u8>,
    /// Answers of an earlier exchange may still be queued.
    dirty: bool,
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlink").finish_non_exhaustive()
    }
}

impl Netlink {
    /// Opens a socket for a netlink protocol (`netlink_sys::protocols`).
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Both only make messages shorter or better worded: an old kernel may refuse them.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        // A batch is one message: make room for the largest rule set. Root may exceed the limit.
        rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, SEND_BUFFER)
            .or_else(|_| rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER))?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(RECEIVE_BUFFER),
            dirty: false,
        })
    }

    /// A sequence number for the next message.
    pub(crate) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// Sends messages and gives all answers up to that to the message numbered `last`, or all there are.
    pub(crate) fn exchange(&mut self, messages: &[u8], last: u32) -> io::Result<Vec<Answer>> {
        self.begin(messages)?;
        let mut answers: Vec<Answer> = Vec::new();
        while answers.last().is_none_or(|answer| answer.sequence != last) {
            if !self.receive(MSG_DONTWAIT)? {
                break;
            }
            for message in Messages::new(&self.buffer) {
                if message.kind == NLMSG_ERROR {
                    answers.push(parse_answer(&message));
                }
            }
        }
        self.dirty = false;
        Ok(answers)
    }

    /// Sends one dump request and hands every message of the answer to `each` as `(type, payload)`. A dump during
    /// which things changed ends with an error of kind "interrupted": ask again.
    pub(crate) fn dump(
        &mut self,
        request: &[u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        self.begin(request)?;
        let mut interrupted = false;
        while self.receive(0)? {
            for message in Messages::new(&self.buffer) {
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE if interrupted => return Err(io::ErrorKind::Interrupted.into()),
                    NLMSG_DONE => {
                        self.dirty = false;
                        return dump_result(&message);
                    }
                    NLMSG_ERROR => return parse_answer(&message).error.map_or(Ok(()), Err),
                    kind => each(kind, message.payload),
                }
            }
        }
        Ok(())
    }

    /// Sends one request that is answered by one message, and gives `(type, payload)`.
    pub(crate) fn get(&mut self, request: &[u8]) -> io::Result<Option<(u16, Vec<u8>)>> {
        self.begin(request)?;
        if !self.receive(MSG_DONTWAIT)? {
            return Ok(None);
        }
        let Some(message) = Messages::new(&self.buffer).next() else {
            return Ok(None);
        };
        self.dirty = false;
        if message.kind != NLMSG_ERROR {
            return Ok(Some((message.kind, message.payload.to_vec())));
        }
        parse_answer(&message).error.map_or(Ok(None), Err)
    }

    /// Makes the kernel send the announcements of a multicast group here, too.
    pub(crate) fn join(&mut self, group: u32) -> io::Result<()> {
        self.socket.add_membership(group)
    }

    /// Hands every message that has arrived to `each` as `(type, payload)`; never waits.
    pub(crate) fn announcements(&mut self, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        while self.receive(MSG_DONTWAIT)? {
            for message in Messages::new(&self.buffer) {
                each(message.kind, message.payload);
            }
        }
        Ok(())
    }

    /// Throws away what an earlier, failed exchange may have left, and sends.
    fn begin(&mut self, messages: &[u8]) -> io::Result<()> {
        while self.dirty && self.receive(MSG_DONTWAIT)? {}
        self.dirty = true;
        self.socket.send(messages, 0)?;
        Ok(())
    }

    /// Receives one datagram into the buffer; false when there is none.
    fn receive(&mut self, flags: i32) -> io::Result<bool> {
        self.buffer.clear();
        loop {
            match self.socket.recv(&mut self.buffer, flags) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One message inside a datagram.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of a datagram; stops at the first malformed one.
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub(crate) fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(u32_at(self.rest, 0)?).ok()?;
        if length < HEADER || length > self.rest.len() {
            return None;
        }
        let message = Message {
            kind: u16_at(self.rest, 4)?,
            flags: u16_at(self.rest, 6)?,
            sequence: u32_at(self.rest, 8)?,
            payload: self.rest.get(HEADER..length)?,
        };
        self.rest = self.rest.get(align(length)..).unwrap_or_default();
        Some(message)
    }
}

/// The attributes (`struct nlattr`) in a payload: `(type without flags, value)`.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The attribute of one type in a payload.
pub(crate) fn attribute(payload: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(payload).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// A string attribute without its final NUL.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let value = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(value.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let value = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(value.try_into().ok()?))
}

pub(crate) fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// `struct nlmsgerr`: errno, the header it answers, maybe the whole message, maybe attributes.
fn parse_answer(message: &Message<'_>) -> Answer {
    let code = u32_at(message.payload, 0).map_or(0, u32::cast_signed);
    let sequence = u32_at(message.payload, 4 + 8).unwrap_or(message.sequence);
    if code == 0 {
        return Answer {
            sequence,
            error: None,
        };
    }
    let plain = io::Error::from_raw_os_error(code.saturating_neg());
    let error = match explanation(message) {
        Some(text) if !text.is_empty() => {
            let kind = plain.kind();
            io::Error::new(kind, format!("{plain}: {text}"))
        }
        _ => plain,
    };
    Answer {
        sequence,
        error: Some(error),
    }
}

/// The end of a dump carries an error number too: an interrupted one says so there.
fn dump_result(message: &Message<'_>) -> io::Result<()> {
    match u32_at(message.payload, 0).map_or(0, u32::cast_signed) {
        code if code < 0 => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Ok(()),
    }
}

fn explanation(message: &Message<'_>) -> Option<String> {
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let inner = if message.flags & NLM_F_CAPPED != 0 {
        HEADER
    } else {
        usize::try_from(u32_at(message.payload, 4)?).ok()?
    };
    let rest = message.payload.get(4 + align(inner)..)?;
    attribute(rest, NLMSGERR_ATTR_MSG).map(text)
}
