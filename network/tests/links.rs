//! Bridges, endpoints and namespaces in a real kernel, checked with `ip`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::time::Duration;

use common::*;
use hoist_network::link::bridge::{self, Reach};
use hoist_network::link::endpoint::{self, Gateways};
use hoist_network::link::{LinkError, host};
use hoist_network::sandbox::{self, EmbeddedDns, SandboxPlan};
use hoist_network::{ipam, reconcile, sysctl};

#[test]
fn a_bridge_has_its_addresses_alias_and_settings() {
    on_private_host(|| {
        let plan = network("one", "10.9.1.1/24", OPEN);
        let link = run("ip -d link show br-one");
        assert!(link.contains("UP"), "{link}");
        assert!(link.contains("alias hoist:test:one"), "{link}");
        let addresses = run("ip addr show br-one");
        assert!(addresses.contains("inet 10.9.1.1/24"), "{addresses}");
        assert!(!addresses.contains("inet6"), "{addresses}");
        let settings = [
            ("ipv4/conf/br-one/route_localnet", "1"),
            ("ipv6/conf/br-one/accept_ra", "0"),
            ("ipv6/conf/br-one/disable_ipv6", "1"),
            ("ipv4/ip_forward", "1"),
        ];
        for (name, value) in settings {
            assert_eq!(sysctl::read(name).as_deref(), Some(value), "{name}");
        }
        let again = bridge::ensure(&plan).unwrap();
        assert!(!again.created && !again.forwarding_enabled);
        bridge::remove(&plan.name, &plan.alias).unwrap();
        bridge::remove(&plan.name, &plan.alias).unwrap();
        assert!(!run("ip link").contains("br-one"));
    });
}

#[test]
fn making_the_first_network_tells_that_forwarding_was_off() {
    on_private_host(|| {
        sysctl::write("ipv4/ip_forward", "0").unwrap();
        let mut plan = network("int", "10.9.2.1/24", Reach::Internal);
        assert_eq!(
            sysctl::read("ipv4/ip_forward").as_deref(),
            Some("0"),
            "internal"
        );
        plan.reach = OPEN;
        assert!(bridge::ensure(&plan).unwrap().forwarding_enabled);
    });
}

#[test]
fn a_foreign_bridge_is_never_touched() {
    on_private_host(|| {
        run("ip link add br-one type bridge");
        let mut plan = network("two", "10.9.2.1/24", OPEN);
        plan.name = "br-one".to_owned();
        assert!(matches!(
            bridge::ensure(&plan),
            Err(LinkError::Foreign { .. })
        ));
        let removed = bridge::remove("br-one", &plan.alias);
        assert!(matches!(removed, Err(LinkError::Foreign { .. })));
        assert!(run("ip link").contains("br-one"));
    });
}

#[test]
fn a_bridge_whose_maker_was_killed_is_finished_or_removed() {
    on_private_host(|| {
        let net = network("one", "10.9.1.1/24", OPEN);
        let half_made = || {
            run("ip link add br-one type bridge");
            run(&format!("ip link set br-one group {}", net.group));
        };
        bridge::remove(&net.name, &net.alias).unwrap();
        half_made();
        assert!(!bridge::ensure(&net).unwrap().created);
        assert!(run("ip addr show br-one").contains("10.9.1.1/24"));
        bridge::remove(&net.name, &net.alias).unwrap();
        half_made();
        bridge::remove(&net.name, &net.alias).unwrap();
        assert!(!run("ip link").contains("br-one"));
    });
}

#[test]
fn a_sandbox_has_its_link_address_and_route() {
    on_private_host(|| {
        let net = network("one", "10.9.1.1/24", OPEN);
        let made = container(&net, "web", "10.9.1.2/24");
        let inside = made.inside(|| {
            let ports = sysctl::read("ipv4/ip_unprivileged_port_start");
            assert_eq!(ports.as_deref(), Some("0"));
            let lo = run("ip -o link show lo");
            assert!(lo.contains("LOOPBACK,UP"), "{lo}");
            assert_eq!(
                sysctl::read("ipv6/conf/eth0/disable_ipv6").as_deref(),
                Some("1")
            );
            run("ip -o addr show eth0") + &run("ip route") + &run("ip -o link show eth0")
        });
        assert!(inside.contains("inet 10.9.1.2/24"), "{inside}");
        assert!(inside.contains("default via 10.9.1.1 dev eth0"), "{inside}");
        assert!(inside.contains(&made.plan.mac.to_string()), "{inside}");
        let outside = run("ip -d link show vethweb");
        assert!(outside.contains("master br-one"), "{outside}");
        assert!(outside.contains("alias hoist:test:web"), "{outside}");
    });
}

#[test]
fn removing_a_network_takes_its_ports_in_one_request() {
    on_private_host(|| {
        let net = network("one", "10.9.1.1/24", OPEN);
        let keep = network("two", "10.9.2.1/24", OPEN);
        let held: Vec<_> = (2..12)
            .map(|host| container(&net, &format!("a{host}"), &format!("10.9.1.{host}/24")))
            .collect();
        let _kept = container(&keep, "b1", "10.9.2.2/24");
        bridge::remove(&net.name, &net.alias).unwrap();
        let links = run("ip -o link");
        assert!(
            !links.contains("vetha") && !links.contains("br-one"),
            "{links}"
        );
        assert!(
            links.contains("vethb1") && links.contains("br-two"),
            "{links}"
        );
        drop(held);
    });
}

#[test]
fn a_foreign_link_in_the_group_saves_itself() {
    on_private_host(|| {
        let net = network("one", "10.9.1.1/24", OPEN);
        run("ip link add foreign7 type bridge");
        run(&format!("ip link set foreign7 group {}", net.group));
        bridge::remove(&net.name, &net.alias).unwrap();
        let links = run("ip -o link");
        assert!(
            links.contains("foreign7") && !links.contains("br-one"),
            "{links}"
        );
    });
}

#[test]
fn a_running_container_joins_and_leaves_a_network() {
    on_private_host(|| {
        let one = network("one", "10.9.1.1/24", Reach::Internal);
        let two = network("two", "10.9.2.1/24", OPEN);
        let made = container(&one, "a", "10.9.1.2/24");
        let mut plan = endpoint(&two, "b", "10.9.2.2/24");
        plan.name = "eth1".to_owned();
        let gateways = Gateways {
            ipv4: Some("10.9.2.1".parse().unwrap()),
            ipv6: None,
        };
        endpoint::connect(made.netns.as_fd(), &plan, gateways).unwrap();
        let routes = made.inside(|| run("ip route"));
        assert!(routes.contains("default via 10.9.2.1 dev eth1"), "{routes}");
        let link = (plan.host_name.as_str(), plan.alias.as_str());
        endpoint::disconnect(made.netns.as_fd(), link, Gateways::default()).unwrap();
        endpoint::disconnect(made.netns.as_fd(), link, Gateways::default()).unwrap();
        let routes = made.inside(|| run("ip route") + &run("ip -br link"));
        assert!(
            !routes.contains("default") && !routes.contains("eth1"),
            "{routes}"
        );
    });
}

#[test]
fn a_failed_endpoint_is_told_and_leaves_nothing() {
    on_private_host(|| {
        let net = network("one", "10.9.1.1/24", OPEN);
        let mut plan = endpoint(&net, "a", "10.9.1.2/24");
        plan.bridge = "br-none".to_owned();
        let failed = sandbox::create(&SandboxPlan {
            endpoints: vec![plan],
            ..SandboxPlan::default()
        });
        let text = failed.unwrap_err().to_string();
        assert_eq!(text, "link br-none does not exist");
        let first = container(&net, "b", "10.9.1.3/24");
        let again = sandbox::create(&SandboxPlan {
            endpoints: vec![endpoint(&net, "b", "10.9.1.4/24")],
            ..SandboxPlan::default()
        });
        let text = again.unwrap_err().to_string();
        assert_eq!(
            text,
            "create link vethb on bridge br-one with eth0 in the container"
        );
        assert!(run("ip -o link").contains("vethb"));
        drop(first);
    });
}

#[test]
fn settings_are_written_and_refused() {
    on_private_host(|| {
        let net = network("one", "10.9.1.1/24", OPEN);
        let with = |name: &str, value: &str| SandboxPlan {
            endpoints: vec![endpoint(&net, "a", "10.9.1.2/24")],
            sysctls: vec![
                (name.to_owned(), value.to_owned()),
                ("net.ipv4.conf.eth0.rp_filter".to_owned(), "2".to_owned()),
            ],
            ..SandboxPlan::default()
        };
        let made = sandbox::create(&with("net.ipv4.ip_unprivileged_port_start", "80")).unwrap();
        hoist_kernel::netns::run_in(made.netns.as_fd(), || {
            let read = |name| sysctl::read(name).unwrap();
            assert_eq!(read("ipv4/ip_unprivileged_port_start"), "80");
            assert_eq!(read("ipv4/conf/eth0/rp_filter"), "2");
        })
        .unwrap();
        drop(made);
        for name in ["kernel.hostname", "net.nothing", "net.../kernel/hostname"] {
            assert!(sandbox::create(&with(name, "1")).is_err(), "{name}");
        }
    });
}

#[test]
fn orphans_are_removed_and_nothing_else() {
    on_private_host(|| {
        let one = network("one", "10.9.1.1/24", OPEN);
        let two = network("two", "10.9.2.1/24", OPEN);
        run("ip link add br-foreign type bridge");
        run("ip link set br-foreign alias hoist:testother:x");
        let _a = container(&one, "a", "10.9.1.2/24");
        let _b = container(&two, "b", "10.9.2.2/24");
        let owned = HashSet::from([one.alias.clone(), config().alias("a")]);
        let report = reconcile::remove_orphans(&config(), &owned);
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        let mut removed = report.removed;
        removed.sort();
        assert_eq!(removed, ["br-two", "vethb"]);
        let links = run("ip -o link");
        for kept in ["br-one", "vetha", "br-foreign"] {
            assert!(links.contains(kept), "{links}");
        }
    });
}

#[test]
fn the_hosts_routes_are_known() {
    on_private_host(|| {
        let _lan = neighbour();
        let ours = network("one", "10.9.1.1/24", OPEN);
        run("ip route add 172.17.0.0/16 via 192.0.2.2");
        run("ip route add default via 192.0.2.2");
        let routes = host::routes(&[ours.name]).unwrap();
        let mut told: Vec<String> = routes
            .iter()
            .map(|route| format!("{} {}", route.prefix, route.holder))
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                "172.17.0.0/16 the host's route via lan0",
                "192.0.2.0/24 the host's route via lan0",
            ]
        );
        let chosen = ipam::choose_subnet(&config().pools, &routes).unwrap();
        assert_eq!(chosen, ip("172.18.0.0/16"));
    });
}

/// Time the processor spent on this process so far. Each test is a process of its own (nextest).
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

#[test]
fn fifty_sandboxes_are_quick() {
    on_private_host(|| {
        let net = network("one", "10.9.1.1/24", OPEN);
        let before = cpu_time();
        let made: Vec<_> = (2..52)
            .map(|host| {
                let name = format!("s{host}");
                let address = format!("10.9.1.{host}/24");
                container_with(&net, &name, &address, EmbeddedDns::LoopbackTracked)
            })
            .collect();
        // The floor is half a millisecond; this is a development build. Processor time, because the machine may be busy.
        let each = (cpu_time() - before) / 50;
        eprintln!("{each:?} each");
        assert!(each < Duration::from_millis(10), "{each:?}");
        drop(made);
    });
}

#[test]
fn an_address_that_moves_to_a_new_container_is_reached_at_once() {
    on_private_host(|| {
        let net = network("one", "10.9.1.1/24", OPEN);
        let peer = container(&net, "peer", "10.9.1.9/24");
        let first = container(&net, "a", "10.9.1.2/24");
        first.serve("10.9.1.2:80");
        assert_eq!(fetch("10.9.1.2:80", PATIENCE).unwrap(), "10.9.1.1");
        assert_eq!(peer.fetch("10.9.1.2:80").unwrap(), "10.9.1.9");
        // The first one's namespace is still there when the second one starts: it refuses connections now.
        let second = container(&net, "b", "10.9.1.2/24");
        let address = second.serve("10.9.1.2:81").address.to_string();
        assert_eq!(fetch(&address, PATIENCE).unwrap(), "10.9.1.1");
        assert_eq!(peer.fetch(&address).unwrap(), "10.9.1.9");
        drop(first);
        endpoint::remove("vetha", &config().alias("a")).unwrap();
        let third = container(&net, "c", "10.9.1.2/24");
        let address = third.serve("10.9.1.2:82").address.to_string();
        assert_eq!(peer.fetch(&address).unwrap(), "10.9.1.9");
        assert_eq!(fetch(&address, PATIENCE).unwrap(), "10.9.1.1");
    });
}
