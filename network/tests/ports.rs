//! Port claims and the relay.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};

use common::*;
use hoist_network::firewall::Protocol;
use hoist_network::ports::{HostPorts, PortRequest, Ports};
use hoist_network::proxy::Proxy;

fn request(host_ip: Option<&str>, first: u16, last: u16, protocol: Protocol) -> PortRequest {
    PortRequest {
        host_ip: host_ip.map(address),
        ports: HostPorts::Range { first, last },
        protocol,
    }
}

fn with_lo(test: impl FnOnce() + Send) {
    on_private_host(|| {
        run("ip link set lo up");
        test();
    });
}

#[test]
fn a_claim_holds_both_families() {
    with_lo(|| {
        let mut ports = Ports::new();
        let claims = ports
            .claim(&request(None, 8080, 8080, Protocol::Tcp), "container web")
            .unwrap();
        let addresses: Vec<String> = claims
            .iter()
            .map(|claim| claim.address().to_string())
            .collect();
        assert_eq!(addresses, ["0.0.0.0:8080", "[::]:8080"]);
        assert!(TcpListener::bind("127.0.0.1:8080").is_err());
        assert!(TcpListener::bind("[::1]:8080").is_err());
        ports.release(claims);
        assert!(TcpListener::bind("127.0.0.1:8080").is_ok());
    });
}

#[test]
fn a_conflict_names_the_holder() {
    with_lo(|| {
        let mut ports = Ports::new();
        let tcp = |ip, port| request(ip, port, port, Protocol::Tcp);
        let _held = ports
            .claim(&tcp(None, 8080), "container shop-web-1")
            .unwrap();
        let check = |ports: &mut Ports, request: PortRequest, expected: &str| {
            let error = ports.claim(&request, "container other").unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            &mut ports,
            tcp(Some("127.0.0.1"), 8080),
            "bind for 127.0.0.1:8080/tcp failed: port is already allocated by container shop-web-1",
        );
        let foreign = TcpListener::bind("127.0.0.1:9000").unwrap();
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        let expected = format!(
            "bind for 0.0.0.0:9000/tcp failed: port is already allocated by process {} ({})",
            std::process::id(),
            name.trim()
        );
        check(&mut ports, tcp(None, 9000), &expected);
        drop(foreign);
        check(
            &mut ports,
            tcp(Some("192.0.2.77"), 8081),
            "bind for 192.0.2.77:8081/tcp failed: this machine has no address 192.0.2.77",
        );
        assert!(
            ports
                .claim(&request(None, 8080, 8080, Protocol::Udp), "x")
                .is_ok(),
            "other protocol"
        );
    });
}

#[test]
fn a_range_gives_its_first_port_that_is_free_on_all_addresses() {
    with_lo(|| {
        let mut ports = Ports::new();
        let _first = TcpListener::bind("127.0.0.1:7000").unwrap();
        let _second = TcpListener::bind("[::1]:7001").unwrap();
        let claims = ports
            .claim(&request(None, 7000, 7003, Protocol::Tcp), "x")
            .unwrap();
        assert!(claims.iter().all(|claim| claim.address().port() == 7002));
        let rest = ports
            .claim(&request(None, 7000, 7003, Protocol::Tcp), "y")
            .unwrap();
        assert_eq!(rest[0].address().port(), 7003);
        let error = ports
            .claim(&request(None, 7002, 7003, Protocol::Tcp), "z")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "all ports of 7002-7003/tcp are already allocated; 0.0.0.0:7003 was tried last by y"
        );
    });
}

#[test]
fn an_ephemeral_port_is_the_same_on_all_addresses() {
    with_lo(|| {
        let any = PortRequest {
            host_ip: None,
            ports: HostPorts::Ephemeral,
            protocol: Protocol::Udp,
        };
        let mut ports = Ports::new();
        let claims = ports.claim(&any, "x").unwrap();
        assert_eq!(claims.len(), 2);
        assert_eq!(claims[0].address().port(), claims[1].address().port());
        assert_ne!(claims[0].address().port(), 0);
    });
}

#[test]
fn a_claim_outlives_its_engine_in_anothers_hands() {
    with_lo(|| {
        let mut ports = Ports::new();
        let claims = ports
            .claim(&request(None, 8080, 8080, Protocol::Tcp), "a")
            .unwrap();
        let kept: Vec<_> = claims
            .iter()
            .map(|claim| claim.descriptor().unwrap().try_clone_to_owned().unwrap())
            .collect();
        drop(ports);
        drop(claims);
        // No engine: a connection waits.
        let mut waiting = TcpStream::connect("127.0.0.1:8080").unwrap();
        let mut ports = Ports::new();
        let adopted: Vec<_> = kept
            .into_iter()
            .map(|descriptor| ports.adopt(descriptor, "a").unwrap())
            .collect();
        let addresses: Vec<String> = adopted
            .iter()
            .map(|claim| claim.address().to_string())
            .collect();
        assert_eq!(addresses, ["0.0.0.0:8080", "[::]:8080"]);
        let server = Server::start("127.0.0.1:0");
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let _proxy = Proxy::start(&adopted[0], server.address).unwrap();
            let text = tokio::task::spawn_blocking(move || {
                let mut text = String::new();
                waiting.read_to_string(&mut text).map(|_| text)
            });
            assert_eq!(text.await.unwrap().unwrap(), "127.0.0.1");
        });
        let error = ports
            .claim(&request(None, 8080, 8080, Protocol::Tcp), "b")
            .unwrap_err();
        assert!(
            error.to_string().ends_with("already allocated by a"),
            "{error}"
        );
    });
}

#[test]
fn the_relay_brings_ipv6_to_an_ipv4_container_and_keeps_half_closed_connections() {
    with_lo(|| {
        let net = network("net", "10.9.1.1/24", OPEN);
        let web = container(&net, "web", "10.9.1.2/24");
        let listener = web.inside(|| TcpListener::bind("10.9.1.2:80")).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = String::new();
            stream.read_to_string(&mut all).unwrap();
            write!(stream, "after the end: {all}").unwrap();
        });
        web.inside(|| serve_udp("10.9.1.2:53"));
        let mut ports = Ports::new();
        let tcp = ports
            .claim(&request(None, 8080, 8080, Protocol::Tcp), "web")
            .unwrap();
        let udp = ports
            .claim(&request(None, 5300, 5300, Protocol::Udp), "web")
            .unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _guard = runtime.enter();
        let _proxies = (
            Proxy::start(&tcp[1], socket("10.9.1.2:80")).unwrap(),
            Proxy::start(&udp[1], socket("10.9.1.2:53")).unwrap(),
        );
        let mut stream = TcpStream::connect("[::1]:8080").unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "after the end: hello");
        let client = UdpSocket::bind("[::1]:0").unwrap();
        assert_eq!(
            ask_udp(&client, "[::1]:5300", PATIENCE).unwrap(),
            "10.9.1.1"
        );
        assert_eq!(
            ask_udp(&client, "[::1]:5300", PATIENCE).unwrap(),
            "10.9.1.1"
        );
    });
}
