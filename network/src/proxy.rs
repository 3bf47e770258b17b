//! A small relay for connections that address translation cannot bring to a container: from `[::]` and `[::1]` to a
//! container with IPv4 only, and whatever else reaches a claim's socket. Half-closed connections stay half-closed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::ports::Claim;

/// Connections or UDP clients one relay serves at once; more wait (TCP) or are dropped (UDP).
const CAPACITY: usize = 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A UDP client that is silent for so long is forgotten (as Docker's proxy).
const UDP_IDLE: Duration = Duration::from_secs(90);
/// Pause after a failed accept or receive: out of descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const DATAGRAM: usize = 65_536;

/// A running relay; dropping it ends it and its connections.
#[derive(Debug)]
pub struct Proxy {
    tasks: JoinSet<()>,
}

impl Proxy {
    /// Relays what arrives at a claim to `target`. Needs a tokio runtime; a claim without a socket (SCTP) gives a
    /// relay that does nothing.
    ///
    /// # Errors
    /// The socket could not be copied or handed to the runtime.
    pub fn start(claim: &Claim, target: SocketAddr) -> io::Result<Self> {
        let mut tasks = JoinSet::new();
        if let Some(listener) = claim.tcp() {
            let listener = listener.try_clone()?;
            listener.set_nonblocking(true)?;
            tasks.spawn(relay_tcp(TcpListener::from_std(listener)?, target));
        } else if let Some(socket) = claim.udp() {
            let socket = socket.try_clone()?;
            socket.set_nonblocking(true)?;
            tasks.spawn(relay_udp(UdpSocket::from_std(socket)?, target));
        }
        Ok(Self { tasks })
    }

    /// Ends the relay and its connections.
    pub fn stop(mut self) {
        self.tasks.abort_all();
    }
}

async fn relay_tcp(listener: TcpListener, target: SocketAddr) {
    let capacity = Arc::new(Semaphore::new(CAPACITY));
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&capacity).acquire_owned().await else {
            return;
        };
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(_) => {
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        connections.spawn(async move {
            // A failed connection is the client's to see: its own is closed.
            let _ = relay_connection(client, target).await;
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn relay_connection(mut client: TcpStream, target: SocketAddr) -> io::Result<()> {
    let mut server = timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await??;
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn relay_udp(socket: UdpSocket, target: SocketAddr) {
    let socket = Arc::new(socket);
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answers: JoinSet<SocketAddr> = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        tokio::select! {
            Some(ended) = answers.join_next() => {
                if let Ok(client) = ended {
                    clients.remove(&client);
                }
            }
            received = socket.recv_from(&mut buffer) => {
                let Ok((length, client)) = received else {
                    // Those of earlier answers (ICMP); the socket goes on.
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let Some(upstream) = upstream_of(&mut clients, client, target).await else {
                    continue;
                };
                if upstream.fresh {
                    answers.spawn(return_answers(
                        Arc::clone(&upstream.socket),
                        Arc::clone(&socket),
                        client,
                    ));
                }
                let _ = upstream.socket.send(buffer.get(..length).unwrap_or_default()).await;
            }
        }
    }
}

struct Upstream {
    socket: Arc<UdpSocket>,
    fresh: bool,
}

/// The socket that speaks to the target for this client; none when it cannot be made or there are too many.
async fn upstream_of(
    clients: &mut HashMap<SocketAddr, Arc<UdpSocket>>,
    client: SocketAddr,
    target: SocketAddr,
) -> Option<Upstream> {
    if let Some(socket) = clients.get(&client) {
        return Some(Upstream {
            socket: Arc::clone(socket),
            fresh: false,
        });
    }
    if clients.len() >= CAPACITY {
        return None;
    }
    let any: IpAddr = if target.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = Arc::new(UdpSocket::bind((any, 0)).await.ok()?);
    socket.connect(target).await.ok()?;
    clients.insert(client, Arc::clone(&socket));
    Some(Upstream {
        socket,
        fresh: true,
    })
}

/// Sends the target's answers back until the target is silent for [`UDP_IDLE`]. Gives the client's address.
async fn return_answers(
    upstream: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
) -> SocketAddr {
    let mut buffer = vec![0; DATAGRAM];
    let mut last = Instant::now();
    loop {
        match timeout(UDP_IDLE, upstream.recv(&mut buffer)).await {
            Ok(Ok(length)) => {
                last = Instant::now();
                let _ = socket
                    .send_to(buffer.get(..length).unwrap_or_default(), client)
                    .await;
            }
            // Nobody listens there (ICMP port unreachable): the client may try again later.
            Ok(Err(_)) if last.elapsed() < UDP_IDLE => sleep(ACCEPT_PAUSE).await,
            Ok(Err(_)) | Err(_) => return client,
        }
    }
}
