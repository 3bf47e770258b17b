//! Relays a query to upstream name servers, byte for byte but for its identifier.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::{self, Transport};

/// How long one server may take (as Docker).
const SERVER_TIMEOUT: Duration = Duration::from_secs(4);
const MAX_SERVERS: usize = 3;
const DNS_PORT: u16 = 53;
const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;
const MAX_MESSAGE: usize = 65_535;

/// Asks the servers in order, over the client's own transport, and gives the first useful answer. A server that
/// fails or refuses is passed over; its answer is used when no other is better.
pub(super) async fn relay(
    query: &[u8],
    servers: &[SocketAddr],
    transport: Transport,
) -> Option<Vec<u8>> {
    let mut fallback = None;
    for server in servers.iter().take(MAX_SERVERS) {
        let attempt = timeout(SERVER_TIMEOUT, ask(query, *server, transport));
        let Ok(Ok(answer)) = attempt.await else {
            continue;
        };
        match message::response_code(&answer) {
            Some(SERVFAIL | REFUSED) => fallback = fallback.or(Some(answer)),
            _ => return Some(answer),
        }
    }
    fallback
}

/// Port 53 of a server's address.
pub(super) fn port_53(server: IpAddr) -> SocketAddr {
    SocketAddr::new(server, DNS_PORT)
}

async fn ask(query: &[u8], server: SocketAddr, transport: Transport) -> io::Result<Vec<u8>> {
    // A fresh identifier and a fresh port for each query: a forged answer has to guess both (RFC 5452).
    let identifier: u16 = rand::random();
    let mut sent = query.to_vec();
    set_identifier(&mut sent, identifier)?;
    let mut answer = match transport {
        Transport::Udp => ask_udp(&sent, server).await?,
        Transport::Tcp => ask_tcp(&sent, server).await?,
    };
    let original = message::identifier(query).unwrap_or_default();
    set_identifier(&mut answer, original)?;
    Ok(answer)
}

async fn ask_udp(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).unwrap_or_default();
        if answers(query, answer) {
            return Ok(answer.to_vec());
        }
    }
}

async fn ask_tcp(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(query);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if answers(query, &answer) {
        Ok(answer)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Whether a message is the answer to this query: same identifier, and the same question if it has one.
fn answers(query: &[u8], answer: &[u8]) -> bool {
    let response = answer.get(2).is_some_and(|byte| byte & 0x80 != 0);
    let without_question = answer.get(4..6) == Some(&[0, 0]);
    response
        && message::identifier(query) == message::identifier(answer)
        && (without_question || message::question_key(query) == message::question_key(answer))
}

fn set_identifier(message: &mut [u8], identifier: u16) -> io::Result<()> {
    let place = message.get_mut(..2).ok_or(io::ErrorKind::InvalidData)?;
    place.copy_from_slice(&identifier.to_be_bytes());
    Ok(())
}
