//! rtnetlink requests in batches over a blocking socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::LinkError;
use crate::netlink::{self, Netlink};

/// The multicast group of links (rtnetlink(7)).
const RTNLGRP_LINK: u32 = 1;

/// One change, with words for its failure.
#[derive(Debug)]
pub(crate) struct Request {
    /// The message.
    pub(crate) message: RouteNetlinkMessage,
    /// Flags besides "request" (`NLM_F_CREATE`, ...).
    pub(crate) flags: u16,
    /// What is being done to which object: `create bridge br-1`.
    pub(crate) what: String,
}

/// A blocking rtnetlink socket of the namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct RouteSocket {
    netlink: Netlink,
}

impl RouteSocket {
    /// Opens a socket in the calling thread's namespace.
    pub(crate) fn open() -> Result<Self, LinkError> {
        Netlink::open(netlink_sys::protocols::NETLINK_ROUTE)
            .map(|netlink| Self { netlink })
            .map_err(LinkError::Open)
    }

    /// Opens a socket that is told of every link that comes, changes or goes.
    pub(crate) fn open_for_links() -> Result<Self, LinkError> {
        let mut socket = Self::open()?;
        socket.netlink.join(RTNLGRP_LINK).map_err(LinkError::Open)?;
        Ok(socket)
    }

    /// What was announced since the last call. Never waits.
    pub(crate) fn announcements(&mut self) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut found = Vec::new();
        self.netlink
            .announcements(|kind, payload| found.extend(parse(kind, payload)))?;
        Ok(found)
    }

    /// Carries out requests in order, all in one system call. The kernel tries every one even when an earlier
    /// failed; the first failure is returned.
    pub(crate) fn apply(&mut self, requests: Vec<Request>) -> Result<(), LinkError> {
        let mut batch = Vec::new();
        let mut sent = Vec::with_capacity(requests.len());
        let last = requests.len().saturating_sub(1);
        for (index, request) in requests.into_iter().enumerate() {
            let acknowledge = if index == last { netlink::NLM_F_ACK } else { 0 };
            let sequence = self.netlink.next_sequence();
            let flags = netlink::NLM_F_REQUEST | acknowledge | request.flags;
            append(&mut batch, request.message, flags, sequence);
            sent.push((sequence, request.what));
        }
        if sent.is_empty() {
            return Ok(());
        }
        let what = || {
            sent.first()
                .map_or_else(String::new, |(_, what)| what.clone())
        };
        let number = sent.last().map_or(0, |(sequence, _)| *sequence);
        let answers =
            self.netlink
                .exchange(&batch, number)
                .map_err(|source| LinkError::Request {
                    what: what(),
                    source,
                })?;
        let failed = answers
            .into_iter()
            .find_map(|answer| Some((answer.sequence, answer.error?)));
        match failed {
            None => Ok(()),
            Some((sequence, source)) => Err(LinkError::Request {
                what: sent
                    .iter()
                    .find(|(of, _)| *of == sequence)
                    .map_or_else(what, |(_, what)| what.clone()),
                source,
            }),
        }
    }

    /// Asks for all objects of the kind `message` asks for. Objects this library cannot read are left out.
    pub(crate) fn dump(
        &mut self,
        message: RouteNetlinkMessage,
        what: &str,
    ) -> Result<Vec<RouteNetlinkMessage>, LinkError> {
        let flags = netlink::NLM_F_REQUEST | netlink::NLM_F_DUMP;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut request = Vec::new();
            let sequence = self.netlink.next_sequence();
            append(&mut request, message.clone(), flags, sequence);
            let mut found = Vec::new();
            let each = |kind, payload: &[u8]| found.extend(parse(kind, payload));
            match self.netlink.dump(&request, each) {
                Ok(()) => return Ok(found),
                Err(error)
                    if error.kind() == io::ErrorKind::Interrupted
                        && attempt < netlink::DUMP_ATTEMPTS => {}
                Err(source) => {
                    return Err(LinkError::Request {
                        what: what.to_owned(),
                        source,
                    });
                }
            }
        }
    }

    /// The link of this name.
    pub(crate) fn link(&mut self, name: &str) -> Result<Option<LinkMessage>, LinkError> {
        let mut wanted = LinkMessage::default();
        wanted
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        let mut request = Vec::new();
        let sequence = self.netlink.next_sequence();
        let message = RouteNetlinkMessage::GetLink(wanted);
        append(&mut request, message, netlink::NLM_F_REQUEST, sequence);
        match self.netlink.get(&request) {
            Ok(found) => Ok(found
                .and_then(|(kind, payload)| parse(kind, &payload))
                .and_then(|message| match message {
                    RouteNetlinkMessage::NewLink(link) => Some(link),
                    _ => None,
                })),
            // ENODEV has no kind of its own in std.
            Err(error) if error.to_string().starts_with("No such device") => Ok(None),
            Err(source) => Err(LinkError::Request {
                what: format!("look up link {name}"),
                source,
            }),
        }
    }

    /// The index of the link of this name.
    pub(crate) fn index(&mut self, name: &str) -> Result<u32, LinkError> {
        match self.link(name)? {
            Some(link) => Ok(link.header.index),
            None => Err(LinkError::Missing {
                name: name.to_owned(),
            }),
        }
    }
}

impl AsFd for RouteSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

/// The name of a link.
pub(crate) fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}

/// The alias of a link; empty when it has none.
pub(crate) fn alias(link: &LinkMessage) -> &str {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfAlias(alias) => Some(alias.as_str()),
            _ => None,
        })
        .unwrap_or_default()
}

/// The group of a link.
pub(crate) fn group(link: &LinkMessage) -> u32 {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Group(group) => Some(*group),
            _ => None,
        })
        .unwrap_or_default()
}

fn append(batch: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = batch.len();
    batch.resize(start + netlink::align(message.buffer_len()), 0);
    if let Some(place) = batch.get_mut(start..) {
        message.serialize(place);
    }
}

fn parse(kind: u16, payload: &[u8]) -> Option<RouteNetlinkMessage> {
    // The library reads whole messages only: put the header back.
    let length = netlink::HEADER + payload.len();
    let mut whole = Vec::with_capacity(length);
    whole.extend(u32::try_from(length).ok()?.to_ne_bytes());
    whole.extend(kind.to_ne_bytes());
    whole.extend([0_u8; 10]);
    whole.extend(payload);
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&whole)
        .ok()?
        .payload
    {
        NetlinkPayload::InnerMessage(message) => Some(message),
        _ => None,
    }
}
