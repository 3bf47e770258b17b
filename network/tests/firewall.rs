//! The rule set in a real kernel: nft reads it as we print it, and packets go where it says.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::net::UdpSocket;

use common::*;
use hoist_network::conntrack;
use hoist_network::firewall::{Firewall, NetworkRules, Outcome, Protocol, PublishedPort, Ruleset};
use hoist_network::link::bridge::{BridgePlan, Reach};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

fn rules_of(networks: &[&BridgePlan]) -> Ruleset {
    Ruleset {
        networks: networks
            .iter()
            .map(|network| NetworkRules {
                bridge: network.name.clone(),
                subnets: network
                    .addresses
                    .iter()
                    .map(|gateway| {
                        ipnetwork::IpNetwork::new(gateway.network(), gateway.prefix()).unwrap()
                    })
                    .collect(),
                reach: network.reach,
            })
            .collect(),
        published: Vec::new(),
    }
}

fn publish(host: &str, target: &str, protocol: Protocol) -> PublishedPort {
    let (host_ip, host_port) = match host.rsplit_once(':') {
        Some((address, port)) => (Some(common::address(address)), port),
        None => (None, host),
    };
    PublishedPort {
        host_ip,
        host_port: host_port.parse().unwrap(),
        protocol,
        target: socket(target),
    }
}

fn applied(ruleset: &Ruleset) -> Firewall {
    let mut firewall = Firewall::open(&config().table).unwrap();
    firewall.apply(ruleset).unwrap();
    firewall
}

/// Layout differs between versions of nft, and so may the order of a set's elements: compare words, elements sorted.
fn words(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut parts = text.split("elements = { ");
    let mut sorted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (elements, rest) = part.split_once(" }").unwrap();
        let mut elements: Vec<&str> = elements.split(", ").collect();
        elements.sort_unstable();
        sorted += &format!("elements = {{ {} }}{rest}", elements.join(", "));
    }
    sorted
}

#[test]
fn nft_lists_the_table_as_it_is_printed() {
    on_private_host(|| {
        let one = network("one", "10.9.1.1/24,fd00:9:1::1/64", OPEN);
        let two = network("two", "10.9.2.1/22", Reach::Internal);
        let mut ruleset = rules_of(&[&one, &two]);
        ruleset.published = vec![
            publish("8080", "10.9.1.2:80", Protocol::Tcp),
            publish("127.0.0.1:8081", "10.9.1.2:81", Protocol::Udp),
        ];
        applied(&ruleset);
        let listed = run("nft list table inet hoist_test");
        assert_eq!(
            words(&listed),
            words(&ruleset.table("hoist_test").to_string())
        );
    });
}

#[test]
fn published_ports_answer_from_everywhere() {
    on_private_host(|| {
        let net = network("net", "10.9.1.1/24", OPEN);
        let web = container(&net, "web", "10.9.1.2/24");
        let other = container(&net, "oth", "10.9.1.3/24");
        let far = neighbour();
        web.serve("10.9.1.2:80");
        let mut ruleset = rules_of(&[&net]);
        ruleset.published = vec![publish("8080", "10.9.1.2:80", Protocol::Tcp)];
        let _firewall = applied(&ruleset);

        assert_eq!(far.fetch("192.0.2.1:8080").unwrap(), "192.0.2.2");
        assert_eq!(fetch("127.0.0.1:8080", PATIENCE).unwrap(), "10.9.1.1");
        assert_eq!(fetch("192.0.2.1:8080", PATIENCE).unwrap(), "192.0.2.1");
        assert_eq!(
            other.fetch("192.0.2.1:8080").unwrap(),
            "10.9.1.1",
            "a neighbour in the network"
        );
        assert_eq!(web.fetch("10.9.1.1:8080").unwrap(), "10.9.1.1", "itself");
        assert_eq!(other.fetch("10.9.1.2:80").unwrap(), "10.9.1.3", "directly");
    });
}

#[test]
fn nothing_else_is_reachable() {
    on_private_host(|| {
        let net = network("net", "10.9.1.1/24", OPEN);
        let away = network("awa", "10.9.2.1/24", OPEN);
        let web = container(&net, "web", "10.9.1.2/24");
        let stranger = container(&away, "str", "10.9.2.2/24");
        let far = neighbour();
        web.serve("10.9.1.2:80");
        web.serve("10.9.1.2:81");
        let mut ruleset = rules_of(&[&net, &away]);
        ruleset.published = vec![publish("127.0.0.1:8080", "10.9.1.2:80", Protocol::Tcp)];
        let _firewall = applied(&ruleset);

        assert_eq!(fetch("127.0.0.1:8080", PATIENCE).unwrap(), "10.9.1.1");
        assert!(
            far.is_cut_off_from("192.0.2.1:8080"),
            "published on 127.0.0.1 only"
        );
        assert!(far.is_cut_off_from("10.9.1.2:81"), "not published");
        assert!(
            far.is_cut_off_from("10.9.1.2:80"),
            "published, but asked for directly"
        );
        assert!(stranger.is_cut_off_from("10.9.1.2:80"), "another network");
        // CVE-2020-8558: a neighbour that sends packets for 127.0.0.1 over the wire.
        far.inside(|| {
            run("sysctl -qw net.ipv4.conf.all.route_localnet=1");
            run("ip route del local 127.0.0.0/8 dev lo table local");
            run("ip route add 127.0.0.0/8 via 192.0.2.1 dev eth0");
        });
        assert!(far.is_cut_off_from("127.0.0.1:8080"));
    });
}

#[test]
fn a_published_port_is_reached_from_another_network_through_the_host() {
    on_private_host(|| {
        let net = network("net", "10.9.1.1/24", OPEN);
        let away = network("awa", "10.9.2.1/24", OPEN);
        let inner = network("int", "10.9.3.1/24", Reach::Internal);
        let web = container(&net, "web", "10.9.1.2/24");
        let stranger = container(&away, "str", "10.9.2.2/24");
        let locked = container(&inner, "loc", "10.9.3.2/24");
        web.serve("10.9.1.2:80");
        let mut ruleset = rules_of(&[&net, &away, &inner]);
        ruleset.published = vec![publish("8080", "10.9.1.2:80", Protocol::Tcp)];
        let _firewall = applied(&ruleset);
        assert_eq!(stranger.fetch("10.9.2.1:8080").unwrap(), "10.9.1.1");
        assert!(
            locked.is_cut_off_from("10.9.3.1:8080"),
            "an internal network"
        );
    });
}

#[test]
fn packets_leave_with_the_hosts_address_unless_the_network_is_internal() {
    on_private_host(|| {
        let net = network("net", "10.9.1.1/24", OPEN);
        let inner = network("int", "10.9.2.1/24", Reach::Internal);
        let plain = network("pla", "10.9.3.1/24", Reach::Open { masquerade: false });
        let far = neighbour();
        far.serve("192.0.2.2:80");
        let _firewall = applied(&rules_of(&[&net, &inner, &plain]));
        let open = container(&net, "ope", "10.9.1.2/24");
        let locked = container(&inner, "loc", "10.9.2.2/24");
        let routed = container(&plain, "rou", "10.9.3.2/24");
        assert_eq!(open.fetch("192.0.2.2:80").unwrap(), "192.0.2.1");
        assert_eq!(routed.fetch("192.0.2.2:80").unwrap(), "10.9.3.2");
        locked.inside(|| run("ip route add default via 10.9.2.1"));
        assert!(locked.is_cut_off_from("192.0.2.2:80"));
        // The host itself reaches an internal container, and is reached.
        locked.serve("10.9.2.2:80");
        assert_eq!(fetch("10.9.2.2:80", PATIENCE).unwrap(), "10.9.2.1");
    });
}

#[test]
fn ipv6_is_published_and_masqueraded_too() {
    on_private_host(|| {
        let net = network("net", "10.9.1.1/24,fd00:9:1::1/64", OPEN);
        let web = container(&net, "web", "10.9.1.2/24,fd00:9:1::2/64");
        let lan = neighbour();
        run("ip -6 addr add fd00:2::1/64 dev lan0 nodad");
        lan.inside(|| {
            run("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0");
            run("ip -6 addr add fd00:2::2/64 dev eth0 nodad")
        });
        web.serve("[fd00:9:1::2]:80");
        lan.serve("[fd00:2::2]:80");
        let mut ruleset = rules_of(&[&net]);
        ruleset.published = vec![publish("8080", "[fd00:9:1::2]:80", Protocol::Tcp)];
        let _firewall = applied(&ruleset);
        assert_eq!(lan.fetch("[fd00:2::1]:8080").unwrap(), "fd00:2::2");
        assert_eq!(web.fetch("[fd00:2::2]:80").unwrap(), "fd00:2::1");
        lan.inside(|| run("ip -6 route add fd00:9:1::/64 via fd00:2::1"));
        assert!(lan.is_cut_off_from("[fd00:9:1::2]:80"), "directly");
    });
}

#[test]
fn a_udp_flow_follows_its_port_to_a_new_container() {
    on_private_host(|| {
        let net = network("net", "10.9.1.1/24", OPEN);
        let first = container(&net, "fir", "10.9.1.2/24");
        let second = container(&net, "sec", "10.9.1.3/24");
        let far = neighbour();
        first.inside(|| serve_udp("10.9.1.2:53"));
        second.inside(|| serve_udp("10.9.1.3:53"));
        let mut ruleset = rules_of(&[&net]);
        let old = publish("5300", "10.9.1.2:53", Protocol::Udp);
        ruleset.published = vec![old];
        let mut firewall = applied(&ruleset);
        let client = far.inside(|| UdpSocket::bind("192.0.2.2:0")).unwrap();
        assert_eq!(
            ask_udp(&client, "192.0.2.1:5300", PATIENCE).unwrap(),
            "192.0.2.2"
        );

        let new = publish("5300", "10.9.1.3:53", Protocol::Udp);
        ruleset.published = vec![new];
        firewall.apply(&ruleset).unwrap();
        drop(first);
        let stale = conntrack::Stale::between(&[old], &[new]);
        assert!(conntrack::forget(&stale).unwrap() > 0);
        assert_eq!(
            ask_udp(&client, "192.0.2.1:5300", PATIENCE).unwrap(),
            "192.0.2.2"
        );
    });
}

#[test]
fn a_change_costs_its_difference_and_equals_a_fresh_table() {
    on_private_host(|| {
        let one = network("one", "10.9.1.1/24", OPEN);
        let two = network("two", "10.9.2.1/24", OPEN);
        let mut ruleset = rules_of(&[&one]);
        let mut firewall = applied(&ruleset);
        assert_eq!(firewall.apply(&ruleset).unwrap(), Outcome::Unchanged);
        ruleset.published = (0..1000)
            .map(|port| publish(&(20_000 + port).to_string(), "10.9.1.2:80", Protocol::Tcp))
            .collect();
        assert_eq!(firewall.apply(&ruleset).unwrap(), Outcome::Changed);
        ruleset.networks = rules_of(&[&two]).networks;
        ruleset.published.truncate(3);
        assert_eq!(firewall.apply(&ruleset).unwrap(), Outcome::Changed);
        let listed = run("nft list table inet hoist_test");
        assert_eq!(
            words(&listed),
            words(&ruleset.table("hoist_test").to_string())
        );
        firewall.remove().unwrap();
        firewall.remove().unwrap();
        assert_eq!(run("nft list tables"), "");
    });
}

#[test]
fn a_table_that_others_changed_is_made_anew() {
    on_private_host(|| {
        let net = network("net", "10.9.1.1/24", OPEN);
        let mut ruleset = rules_of(&[&net]);
        let mut firewall = applied(&ruleset);
        run("nft delete table inet hoist_test");
        run("nft add table inet hoist_test");
        run("nft add map inet hoist_test published4_any { type ipv4_addr : ipv4_addr ; }");
        ruleset.published = vec![publish("8080", "10.9.1.2:80", Protocol::Tcp)];
        assert_eq!(firewall.apply(&ruleset).unwrap(), Outcome::Replaced);
        let listed = run("nft list table inet hoist_test");
        assert_eq!(
            words(&listed),
            words(&ruleset.table("hoist_test").to_string())
        );
    });
}

#[test]
fn without_networks_there_is_no_table() {
    on_private_host(|| {
        let net = network("net", "10.9.1.1/24", OPEN);
        let mut firewall = applied(&rules_of(&[&net]));
        firewall.apply(&Ruleset::default()).unwrap();
        assert_eq!(run("nft list ruleset"), "");
        firewall.apply(&Ruleset::default()).unwrap();
        assert_eq!(firewall.ensure().unwrap(), Outcome::Unchanged);
        firewall.apply(&rules_of(&[&net])).unwrap();
        assert!(run("nft list tables").contains("hoist_test"));
    });
}

#[test]
fn a_refused_part_is_named_and_changes_nothing() {
    on_private_host(|| {
        let net = network("net", "10.9.1.1/24", OPEN);
        let mut ruleset = rules_of(&[&net]);
        let _firewall = applied(&ruleset);
        let before = run("nft list ruleset");
        // A name of 300 bytes is longer than the kernel takes.
        ruleset.published = vec![publish("8080", "10.9.1.2:80", Protocol::Tcp)];
        let refused = Firewall::open(&"x".repeat(300))
            .unwrap()
            .apply(&ruleset)
            .unwrap_err();
        assert!(
            refused.to_string().starts_with("add table inet xxx"),
            "{refused}"
        );
        assert_eq!(run("nft list ruleset"), before);
    });
}

#[test]
fn any_order_of_changes_ends_in_the_table_that_was_asked_for() {
    on_private_host(|| {
        let bridges: Vec<String> = (0..4).map(|number| format!("br-{number}")).collect();
        let mut firewall = Firewall::open(&config().table).unwrap();
        let mut random = SmallRng::seed_from_u64(5);
        for step in 0..60 {
            let mut ruleset = Ruleset::default();
            for (number, bridge) in bridges.iter().enumerate() {
                let reach = match random.random_range(0..4) {
                    0 => continue,
                    1 => Reach::Internal,
                    kind => Reach::Open {
                        masquerade: kind == 2,
                    },
                };
                let prefix = random.random_range(16..=30);
                ruleset.networks.push(NetworkRules {
                    bridge: bridge.clone(),
                    subnets: vec![ip(&format!("10.{number}.0.0/{prefix}"))],
                    reach,
                });
            }
            for _ in 0..random.random_range(0..12) {
                let host_ip =
                    ["", "0.0.0.0:", "127.0.0.1:", "192.0.2.1:"][random.random_range(0..4)];
                let port = 8000 + random.random_range(0..20);
                let protocol = [Protocol::Tcp, Protocol::Udp][random.random_range(0..2)];
                let target = format!("10.0.0.{}:80", random.random_range(2..9));
                ruleset
                    .published
                    .push(publish(&format!("{host_ip}{port}"), &target, protocol));
            }
            firewall.apply(&ruleset).unwrap();
            let expected = if ruleset.networks.is_empty() {
                String::new()
            } else {
                ruleset.table("hoist_test").to_string()
            };
            assert_eq!(
                words(&run("nft list ruleset")),
                words(&expected),
                "step {step}"
            );
        }
    });
}
