//! The embedded DNS with real resolvers, through the translation rules of a container's namespace.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use common::*;
use hoist_kernel::netns;
use hoist_network::dns::{DnsOptions, DnsServer, DnsSockets, EndpointNames, Upstreams, View};
use hoist_network::sandbox::EmbeddedDns;

struct Stage {
    server: DnsServer,
    client: Container,
}

const NO_RESOLV_CONF: &str = "/nonexistent/resolv.conf";

fn stage(upstreams: Upstreams, tracking: EmbeddedDns) -> Stage {
    run("ip link set lo up");
    let net = network("net", "10.9.1.1/24", OPEN);
    let mut client = container_with(&net, "cli", "10.9.1.2/24", tracking);
    let server = DnsServer::new(DnsOptions {
        resolv_conf: NO_RESOLV_CONF.into(),
    });
    server.put_network("n", "shop_default");
    server.put_endpoint("n", "web", names(&["shop-web-1", "web"], &["10.9.1.3"]));
    server.put_endpoint("n", "api1", names(&["shop-api-1", "api"], &["10.9.1.4"]));
    server.put_endpoint("n", "api2", names(&["shop-api-2", "api"], &["10.9.1.5"]));
    let view = View {
        networks: vec!["n".to_owned()],
        upstreams,
    };
    let sockets = client.dns.take().unwrap();
    server.serve("cli", sockets, view).unwrap();
    Stage { server, client }
}

fn names(names: &[&str], addresses: &[&str]) -> EndpointNames {
    EndpointNames {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        addresses: addresses.iter().map(|text| address(text)).collect(),
    }
}

impl Stage {
    /// Runs dig inside, away from the runtime's thread.
    async fn dig(&self, arguments: &str) -> String {
        let netns = self.client.netns.try_clone().unwrap();
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        tokio::task::spawn_blocking(move || {
            let output = netns::run_in(netns.as_fd(), || {
                Command::new("dig")
                    .args(["@127.0.0.11", "+time=15", "+tries=1"])
                    .args(&arguments)
                    .output()
                    .expect("dig (package bind9-dnsutils) runs")
            });
            String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
        })
        .await
        .unwrap()
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn names_of_containers_resolve_by_udp_and_tcp() {
    on_private_host_async(|| async {
        for tracking in [EmbeddedDns::AllTracked, EmbeddedDns::LoopbackTracked] {
            let stage = stage(Upstreams::Nobody, tracking);
            assert_eq!(stage.dig("+short web").await.trim(), "10.9.1.3");
            assert_eq!(
                stage.dig("+short +tcp WEB.shop_default").await.trim(),
                "10.9.1.3"
            );
            let replicas = stage.dig("+short api").await;
            assert_eq!(sorted(&replicas), ["10.9.1.4", "10.9.1.5"]);
            assert_eq!(
                stage.dig("+short -x 10.9.1.3").await.trim(),
                "shop-web-1.shop_default."
            );
            let no_data = stage.dig("web AAAA").await;
            assert!(
                no_data.contains("status: NOERROR") && no_data.contains("ANSWER: 0"),
                "{no_data}"
            );
            let internal = stage.dig("example.org").await;
            assert!(internal.contains("status: SERVFAIL"), "{internal}");
            stage.server.remove_endpoint("n", "api1");
            assert_eq!(stage.dig("+short api").await.trim(), "10.9.1.5");
            run("ip link del vethcli");
            run("ip link del br-net");
        }
    });
}

#[test]
fn the_c_library_resolves_too() {
    on_private_host_async(|| async {
        let stage = stage(Upstreams::Nobody, EmbeddedDns::AllTracked);
        let netns = stage.client.netns.try_clone().unwrap();
        // A resolver that only knows 127.0.0.11, in a mount namespace of its own.
        let script = "mount --bind \"$0\" /etc/resolv.conf && getent ahostsv4 api";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "nameserver 127.0.0.11\noptions ndots:0\n").unwrap();
        let output = tokio::task::spawn_blocking(move || {
            netns::run_in(netns.as_fd(), || {
                Command::new("unshare")
                    .args(["-m", "sh", "-c", script])
                    .arg(file.path())
                    .output()
                    .unwrap()
            })
            .unwrap()
        })
        .await
        .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains("10.9.1.4") && text.contains("10.9.1.5"),
            "{output:?}"
        );
    });
}

/// A name server on port 53 of an address of the host: it answers every A query with 203.0.113.7, or with a code.
fn upstream(at: &str, code: u8) {
    let socket = UdpSocket::bind((at, 53)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question_end = buffer[12..length]
                .iter()
                .position(|byte| *byte == 0)
                .unwrap()
                + 12
                + 5;
            let mut reply = buffer[..question_end].to_vec();
            reply[2] = 0x81;
            reply[3] = 0x80 | code;
            reply[6..12].fill(0);
            if code == 0 {
                reply[7] = 1;
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 7]);
            }
            socket.send_to(&reply, from).unwrap();
        }
    });
}

#[test]
fn other_names_are_relayed_and_a_failing_server_is_passed_over() {
    on_private_host_async(|| async {
        run("ip link set lo up");
        upstream("127.0.0.54", 0);
        upstream("127.0.0.53", 5);
        let servers = Upstreams::Servers(vec![address("127.0.0.53"), address("127.0.0.54")]);
        let stage = stage(servers, EmbeddedDns::LoopbackTracked);
        assert_eq!(stage.dig("+short example.org").await.trim(), "203.0.113.7");
        let refused = View {
            networks: vec!["n".to_owned()],
            upstreams: Upstreams::Servers(vec![address("127.0.0.53")]),
        };
        stage.server.set_view("cli", refused);
        let told = stage.dig("example.org").await;
        assert!(told.contains("status: REFUSED"), "{told}");
        assert_eq!(stage.dig("+short web").await.trim(), "10.9.1.3");
    });
}

#[test]
fn the_hosts_servers_are_read_anew_when_they_change() {
    on_private_host_async(|| async {
        run("ip link set lo up");
        upstream("127.0.0.54", 0);
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut stage = stage(Upstreams::Nobody, EmbeddedDns::LoopbackTracked);
        stage.server = DnsServer::new(DnsOptions {
            resolv_conf: file.path().to_owned(),
        });
        let net = network("two", "10.9.2.1/24", OPEN);
        stage.client = container_with(&net, "two", "10.9.2.2/24", EmbeddedDns::AllTracked);
        let view = View {
            networks: Vec::new(),
            upstreams: Upstreams::Host,
        };
        let sockets = stage.client.dns.take().unwrap();
        stage.server.serve("two", sockets, view).unwrap();
        assert!(stage.dig("example.org").await.contains("SERVFAIL"));
        std::fs::write(&file, "nameserver 127.0.0.54\n").unwrap();
        assert_eq!(stage.dig("+short example.org").await.trim(), "203.0.113.7");
    });
}

#[test]
fn a_slow_client_stalls_nobody() {
    on_private_host_async(|| async {
        run("ip link set lo up");
        // Nobody listens behind this server: relayed queries hang until they time out.
        let _silent = UdpSocket::bind("127.0.0.55:53").unwrap();
        let stage = stage(
            Upstreams::Servers(vec![address("127.0.0.55")]),
            EmbeddedDns::LoopbackTracked,
        );
        let netns = stage.client.netns.try_clone().unwrap();
        let held = tokio::task::spawn_blocking(move || {
            netns::run_in(netns.as_fd(), || {
                let slow: Vec<TcpStream> = (0..60)
                    .map(|_| {
                        let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
                        stream.write_all(&[0]).unwrap();
                        stream
                    })
                    .collect();
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let query = [
                    0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'x', 2, b'y', b'z', 0, 0, 1, 0, 1,
                ];
                for _ in 0..3000 {
                    socket.send_to(&query, "127.0.0.11:53").unwrap();
                }
                (slow, socket)
            })
            .unwrap()
        })
        .await
        .unwrap();
        assert_eq!(stage.dig("+short web").await.trim(), "10.9.1.3");
        assert_eq!(stage.dig("+short +tcp web").await.trim(), "10.9.1.3");
        drop(held);
    });
}

#[test]
fn queries_wait_in_the_sockets_while_the_engine_is_away() {
    on_private_host_async(|| async {
        run("ip link set lo up");
        let net = network("net", "10.9.1.1/24", OPEN);
        let mut client = container_with(&net, "cli", "10.9.1.2/24", EmbeddedDns::LoopbackTracked);
        let first = client.dns.take().unwrap();
        let [udp, tcp] = first
            .descriptors()
            .map(|fd| fd.try_clone_to_owned().unwrap());
        drop(first);
        let asked = client.netns.try_clone().unwrap();
        let answer = tokio::task::spawn_blocking(move || {
            netns::run_in(asked.as_fd(), || {
                let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
                stream
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                let query = [
                    0, 21, 0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'w', b'e', b'b', 0, 0, 1, 0, 1,
                ];
                stream.write_all(&query).unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut answer).unwrap();
                answer
            })
            .unwrap()
        });
        let server = DnsServer::new(DnsOptions {
            resolv_conf: NO_RESOLV_CONF.into(),
        });
        server.put_endpoint("n", "web", names(&["web"], &["10.9.1.3"]));
        let view = View {
            networks: vec!["n".to_owned()],
            upstreams: Upstreams::Nobody,
        };
        server
            .serve("cli", DnsSockets::adopt(udp, tcp), view)
            .unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer[answer.len() - 4..], [10, 9, 1, 3]);
        server.stop("cli");
    });
}

#[test]
fn the_container_may_listen_on_port_53_itself() {
    on_private_host(|| {
        let net = network("net", "10.9.1.1/24", OPEN);
        let client = container_with(&net, "cli", "10.9.1.2/24", EmbeddedDns::AllTracked);
        client.inside(|| {
            UdpSocket::bind("0.0.0.0:53").unwrap();
            std::net::TcpListener::bind("0.0.0.0:53").unwrap();
        });
    });
}
