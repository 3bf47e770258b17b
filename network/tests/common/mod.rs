//! A private host for each test: a fresh network namespace on a thread of its own, with containers, neighbours and
//! servers in further namespaces. Everything goes away with the thread.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stderr,
    reason = "each test file uses its part; a skipped test says why"
)]

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use hoist_kernel::netns;
use hoist_network::link::bridge::{self, BridgePlan, Reach};
use hoist_network::link::endpoint::{EndpointPlan, Gateways};
use hoist_network::sandbox::{self, EmbeddedDns, SandboxPlan};
use hoist_network::{MacAddress, NetworkConfig};
use ipnetwork::IpNetwork;

/// Long enough for a busy machine; only tests that fail wait for it.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long "nothing comes" is waited for.
pub const SILENCE: Duration = Duration::from_millis(400);

/// Runs a test on a thread in a fresh network namespace: the "host".
pub fn on_private_host(test: impl FnOnce() + Send) {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "nothing is skipped in CI");
        eprintln!("skipped: network namespaces need root");
        return;
    }
    netns::create_with(test).expect("root may make a network namespace");
}

/// The same, on a tokio runtime of that thread.
pub fn on_private_host_async<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    on_private_host(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(test());
    });
}

/// Runs a Debian tool in this thread's namespace and gives what it printed.
pub fn run(command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(words[0])
        .args(&words[1..])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The test engine's configuration.
pub fn config() -> NetworkConfig {
    NetworkConfig {
        tag: "test".to_owned(),
        table: "hoist_test".to_owned(),
        ..NetworkConfig::default()
    }
}

/// A network `br-<name>` with this gateway, made.
pub fn network(name: &str, gateway: &str, reach: Reach) -> BridgePlan {
    let alias = config().alias(name);
    let plan = BridgePlan {
        name: format!("br-{name}"),
        group: bridge::group_of(&alias),
        alias,
        addresses: gateway.split(',').map(ip).collect(),
        mtu: None,
        reach,
    };
    bridge::ensure(&plan).expect("the bridge is made");
    plan
}

/// The usual network.
pub const OPEN: Reach = Reach::Open { masquerade: true };

pub fn ip(text: &str) -> IpNetwork {
    text.parse().expect("an address with a prefix length")
}

pub fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address with a port")
}

/// A namespace on a network.
#[derive(Debug)]
pub struct Container {
    pub netns: OwnedFd,
    pub dns: Option<hoist_network::dns::DnsSockets>,
    pub plan: EndpointPlan,
}

/// The endpoint `name` on a bridge.
pub fn endpoint(bridge: &BridgePlan, name: &str, addresses: &str) -> EndpointPlan {
    let addresses: Vec<IpNetwork> = addresses.split(',').map(ip).collect();
    EndpointPlan {
        host_name: format!("veth{name}"),
        alias: config().alias(name),
        group: bridge.group,
        bridge: bridge.name.clone(),
        name: "eth0".to_owned(),
        mac: MacAddress::derived_from(&addresses),
        addresses,
        mtu: None,
        sysctls: Vec::new(),
        isolated: false,
    }
}

/// A container with one endpoint; its default routes go to the bridge's addresses unless the network is internal.
pub fn container(bridge: &BridgePlan, name: &str, addresses: &str) -> Container {
    container_with(bridge, name, addresses, EmbeddedDns::Off)
}

pub fn container_with(
    bridge: &BridgePlan,
    name: &str,
    addresses: &str,
    dns: EmbeddedDns,
) -> Container {
    let plan = endpoint(bridge, name, addresses);
    let mut gateways = Gateways::default();
    if bridge.reach != Reach::Internal {
        for gateway in &bridge.addresses {
            match gateway.ip() {
                IpAddr::V4(gateway) => gateways.ipv4 = Some(gateway),
                IpAddr::V6(gateway) => gateways.ipv6 = Some(gateway),
            }
        }
    }
    let made = sandbox::create(&SandboxPlan {
        endpoints: vec![plan.clone()],
        gateways,
        dns,
        ..SandboxPlan::default()
    })
    .expect("the sandbox is made");
    Container {
        netns: made.netns,
        dns: made.dns,
        plan,
    }
}

/// A machine on the host's own network 192.0.2.0/24, where the host is 192.0.2.1.
pub fn neighbour() -> Container {
    if !run("ip -o link").contains("lan0") {
        run("ip link add lan0 type bridge");
        run("ip addr add 192.0.2.1/24 dev lan0");
        run("ip link set lan0 up");
    }
    run("ip link set lo up");
    let lan = BridgePlan {
        name: "lan0".to_owned(),
        alias: String::new(),
        group: 0,
        addresses: vec![ip("192.0.2.1/24")],
        mtu: None,
        reach: OPEN,
    };
    container(&lan, "lan", "192.0.2.2/24")
}

impl Container {
    /// Runs something inside.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::run_in(self.netns.as_fd(), work).expect("the namespace can be entered")
    }

    /// A TCP server inside that tells each client the client's address.
    pub fn serve(&self, at: &str) -> Server {
        self.inside(|| Server::start(at))
    }

    /// What a TCP server answers to a client inside.
    pub fn fetch(&self, from: &str) -> io::Result<String> {
        self.inside(|| fetch(from, PATIENCE))
    }

    /// Whether a client inside gets nothing.
    pub fn is_cut_off_from(&self, server: &str) -> bool {
        self.inside(|| fetch(server, SILENCE)).is_err()
    }
}

/// A running TCP server; its thread ends with the test process.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
}

impl Server {
    /// Starts one in this thread's namespace.
    pub fn start(at: &str) -> Self {
        let listener = TcpListener::bind(at).unwrap_or_else(|error| panic!("{at}: {error}"));
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let peer = stream.peer_addr().map(|peer| peer.ip().to_string());
                let _ = stream.write_all(peer.unwrap_or_default().as_bytes());
            }
        });
        Self { address }
    }
}

/// What a TCP server says, in this thread's namespace.
pub fn fetch(from: &str, patience: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&socket(from), patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// An UDP server that answers with the client's address; starts in this thread's namespace.
pub fn serve_udp(at: &str) {
    let socket = UdpSocket::bind(at).unwrap_or_else(|error| panic!("{at}: {error}"));
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(from.ip().to_string().as_bytes(), from);
        }
    });
}

/// Asks an UDP server once from a socket of this thread's namespace.
pub fn ask_udp(socket: &UdpSocket, server: &str, patience: Duration) -> io::Result<String> {
    socket.set_read_timeout(Some(patience))?;
    socket.send_to(b"?", server)?;
    let mut buffer = [0; 2048];
    let (length, _) = socket.recv_from(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
