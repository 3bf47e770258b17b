//! Serves containers' DNS sockets on the engine's runtime.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use simple_dns::RCODE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::message::{self, Transport, Verdict};
use super::records::{Directory, EndpointNames};
use super::sockets::DnsSockets;
use super::{resolv_conf, upstream};

/// Relayed queries at once, of all containers; beyond, REFUSED (as Docker).
const RELAYED_TOTAL: usize = 1024;
/// Relayed queries at once of one container: a quarter, so that no four can starve the rest.
const RELAYED_PER_CONTAINER: usize = 256;
/// TCP connections of one container at once; more wait in the kernel.
const CONNECTIONS_PER_CONTAINER: usize = 64;
/// A TCP client has so long to send a query, or to take its answer.
const TCP_IDLE: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Queries taken from a socket before other tasks get their turn.
const BURST: usize = 64;

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct DnsOptions {
    /// The host's resolver configuration; read anew whenever it changes.
    pub resolv_conf: PathBuf,
}

/// What one container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Ids of its networks; the first that knows a name answers.
    pub networks: Vec<String>,
    /// Who is asked for all other names.
    pub upstreams: Upstreams,
}

/// Who is asked for names that are not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstreams {
    /// The host's name servers.
    Host,
    /// These (`dns:` of the service), in order.
    Servers(Vec<IpAddr>),
    /// Nobody, answer SERVFAIL: the container is in internal networks only (CVE-2024-29018).
    Nobody,
}

/// The embedded DNS of one engine.
#[derive(Debug)]
pub struct DnsServer {
    shared: Arc<Shared>,
    served: Mutex<HashMap<String, Served>>,
}

#[derive(Debug)]
struct Served {
    view: Arc<RwLock<View>>,
    /// Dropping it ends the tasks.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    directory: RwLock<Directory>,
    relayed: Arc<Semaphore>,
    host: Mutex<HostServers>,
}

/// The host's name servers and the state of the file they came from.
#[derive(Debug)]
struct HostServers {
    path: PathBuf,
    read_at: Option<SystemTime>,
    servers: Vec<SocketAddr>,
}

impl DnsServer {
    /// A server that knows no names and serves nobody.
    pub fn new(options: DnsOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                directory: RwLock::new(Directory::new()),
                relayed: Arc::new(Semaphore::new(RELAYED_TOTAL)),
                host: Mutex::new(HostServers {
                    path: options.resolv_conf,
                    read_at: None,
                    servers: Vec::new(),
                }),
            }),
            served: Mutex::new(HashMap::new()),
        }
    }

    /// Adds a network, or renames it.
    pub fn put_network(&self, id: &str, name: &str) {
        self.change(|directory| directory.put_network(id, name));
    }

    /// Removes a network with its names.
    pub fn remove_network(&self, id: &str) {
        self.change(|directory| directory.remove_network(id));
    }

    /// Adds or replaces the names of an endpoint; `endpoint` is unique in the network, a container's id for instance.
    pub fn put_endpoint(&self, network: &str, endpoint: &str, names: EndpointNames) {
        self.change(|directory| directory.put_endpoint(network, endpoint, names));
    }

    /// Removes the names of an endpoint.
    pub fn remove_endpoint(&self, network: &str, endpoint: &str) {
        self.change(|directory| directory.remove_endpoint(network, endpoint));
    }

    /// Serves a container's sockets until [`Self::stop`]. Must be called on a tokio runtime. Serving the same
    /// container again replaces what was.
    ///
    /// # Errors
    /// The sockets could not be handed to the runtime.
    pub fn serve(&self, container: &str, sockets: DnsSockets, view: View) -> io::Result<()> {
        sockets.udp.set_nonblocking(true)?;
        sockets.tcp.set_nonblocking(true)?;
        let udp = UdpSocket::from_std(sockets.udp)?;
        let tcp = TcpListener::from_std(sockets.tcp)?;
        let view = Arc::new(RwLock::new(view));
        let client = Client {
            shared: Arc::clone(&self.shared),
            view: Arc::clone(&view),
            relayed: Arc::new(Semaphore::new(RELAYED_PER_CONTAINER)),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(Arc::new(udp), client.clone()));
        tasks.spawn(serve_tcp(tcp, client));
        let served = Served {
            view,
            _tasks: tasks,
        };
        lock(&self.served).insert(container.to_owned(), served);
        Ok(())
    }

    /// Changes what a container sees (`network connect`). Nothing happens when it is not served.
    pub fn set_view(&self, container: &str, view: View) {
        if let Some(served) = lock(&self.served).get(container) {
            *served.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        }
    }

    /// Ends the service of a container; its sockets close.
    pub fn stop(&self, container: &str) {
        lock(&self.served).remove(container);
    }

    fn change(&self, change: impl FnOnce(&mut Directory)) {
        let directory = self.shared.directory.write();
        change(&mut directory.unwrap_or_else(PoisonError::into_inner));
    }
}

/// One container's side of the server.
#[derive(Debug, Clone)]
struct Client {
    shared: Arc<Shared>,
    view: Arc<RwLock<View>>,
    relayed: Arc<Semaphore>,
}

/// What is left to do for a query.
enum Work {
    Reply(Vec<u8>),
    Relay(Vec<SocketAddr>),
    Nothing,
}

impl Client {
    /// Answers from the directory, or says whom to ask. Never waits.
    fn decide(&self, query: &[u8], transport: Transport) -> Work {
        let view = read(&self.view);
        let directory = read(&self.shared.directory);
        let verdict = message::answer(
            query,
            &directory,
            &view.networks,
            transport,
            &mut rand::rng(),
        );
        match verdict {
            Verdict::Reply(bytes) => Work::Reply(bytes),
            Verdict::Ignore => Work::Nothing,
            Verdict::Forward => {
                let servers = match &view.upstreams {
                    Upstreams::Nobody => Vec::new(),
                    Upstreams::Host => lock(&self.shared.host).current(),
                    Upstreams::Servers(servers) => {
                        servers.iter().copied().map(upstream::port_53).collect()
                    }
                };
                if servers.is_empty() {
                    Work::Reply(message::failure(query, RCODE::ServerFailure))
                } else {
                    Work::Relay(servers)
                }
            }
        }
    }

    /// Relays a query; REFUSED when too many are on their way.
    async fn relay(&self, query: &[u8], servers: &[SocketAddr], transport: Transport) -> Vec<u8> {
        let permits = (
            Arc::clone(&self.relayed).try_acquire_owned(),
            Arc::clone(&self.shared.relayed).try_acquire_owned(),
        );
        let (Ok(_own), Ok(_total)) = permits else {
            return message::failure(query, RCODE::Refused);
        };
        upstream::relay(query, servers, transport)
            .await
            .unwrap_or_else(|| message::failure(query, RCODE::ServerFailure))
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, client: Client) {
    // Dropped with this task, and the relayed queries with it.
    let mut relayed = JoinSet::new();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        if socket.readable().await.is_err() {
            sleep(ACCEPT_PAUSE).await;
        }
        for _ in 0..BURST {
            let Ok((length, from)) = socket.try_recv_from(&mut buffer) else {
                break;
            };
            let query = buffer.get(..length).unwrap_or_default();
            match client.decide(query, Transport::Udp) {
                // A full send buffer is the client's loss, as with any datagram.
                Work::Reply(bytes) => drop(socket.try_send_to(&bytes, from)),
                Work::Nothing => {}
                Work::Relay(servers) if relayed.len() < 2 * RELAYED_PER_CONTAINER => {
                    let (client, socket, query) =
                        (client.clone(), Arc::clone(&socket), query.to_vec());
                    relayed.spawn(async move {
                        let answer = client.relay(&query, &servers, Transport::Udp).await;
                        let _ = socket.send_to(&answer, from).await;
                    });
                }
                Work::Relay(_) => {
                    let bytes = message::failure(query, RCODE::Refused);
                    let _ = socket.try_send_to(&bytes, from);
                }
            }
        }
        while relayed.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
}

async fn serve_tcp(listener: TcpListener, client: Client) {
    let capacity = Arc::new(Semaphore::new(CONNECTIONS_PER_CONTAINER));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&capacity).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let client = client.clone();
                connections.spawn(async move {
                    // A broken connection concerns its client only.
                    let _ = serve_connection(stream, client).await;
                    drop(permit);
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(mut stream: TcpStream, client: Client) -> io::Result<()> {
    loop {
        let length = timeout(TCP_IDLE, stream.read_u16()).await??;
        let mut query = vec![0; usize::from(length)];
        timeout(TCP_IDLE, stream.read_exact(&mut query)).await??;
        let answer = match client.decide(&query, Transport::Tcp) {
            Work::Reply(bytes) => bytes,
            Work::Relay(servers) => client.relay(&query, &servers, Transport::Tcp).await,
            Work::Nothing => return Ok(()),
        };
        let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend(answer);
        timeout(TCP_IDLE, stream.write_all(&framed)).await??;
    }
}

impl HostServers {
    /// The servers, read anew when the file has changed.
    fn current(&mut self) -> Vec<SocketAddr> {
        let modified = std::fs::metadata(&self.path)
            .and_then(|metadata| metadata.modified())
            .ok();
        if self.read_at.is_none() || self.read_at != modified {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            self.servers = resolv_conf::name_servers(&text)
                .into_iter()
                .map(upstream::port_53)
                .collect();
            self.read_at = modified;
        }
        self.servers.clone()
    }
}

/// A poisoned lock still holds whole values: every change under it is one assignment or one insertion.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}
