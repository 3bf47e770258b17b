//! Beside others' rules: Docker's and ufw's default drop, bridged frames shown to the packet filter, flushes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::*;
use hoist_network::firewall::watch::Watch;
use hoist_network::firewall::{
    Firewall, NetworkRules, Obstacle, Outcome, Protocol, PublishedPort, Ruleset,
};
use hoist_network::link::bridge::BridgePlan;
use hoist_network::sysctl;

struct Stage {
    net: BridgePlan,
    web: Container,
    other: Container,
    far: Container,
    firewall: Firewall,
    ruleset: Ruleset,
}

/// A published web server with a neighbour in its network and one outside.
fn stage() -> Stage {
    let net = network("net", "10.9.1.1/24", OPEN);
    let web = container(&net, "web", "10.9.1.2/24");
    let other = container(&net, "oth", "10.9.1.3/24");
    let far = neighbour();
    web.serve("10.9.1.2:80");
    far.serve("192.0.2.2:80");
    let ruleset = Ruleset {
        networks: vec![NetworkRules {
            bridge: net.name.clone(),
            subnets: vec![ip("10.9.1.0/24")],
            reach: OPEN,
        }],
        published: vec![PublishedPort {
            host_ip: None,
            host_port: 8080,
            protocol: Protocol::Tcp,
            target: socket("10.9.1.2:80"),
        }],
    };
    let mut firewall = Firewall::open(&config().table).unwrap();
    firewall.apply(&ruleset).unwrap();
    Stage {
        net,
        web,
        other,
        far,
        firewall,
        ruleset,
    }
}

impl Stage {
    fn assert_traffic_passes(&self) {
        assert_eq!(
            self.far.fetch("192.0.2.1:8080").unwrap(),
            "192.0.2.2",
            "published"
        );
        assert_eq!(self.web.fetch("192.0.2.2:80").unwrap(), "192.0.2.1", "out");
        assert_eq!(
            self.other.fetch("10.9.1.2:80").unwrap(),
            "10.9.1.3",
            "inside"
        );
        assert_eq!(
            self.other.fetch("192.0.2.1:8080").unwrap(),
            "10.9.1.1",
            "by the host"
        );
        assert_eq!(
            self.web.fetch("192.0.2.1:8080").unwrap(),
            "10.9.1.1",
            "itself"
        );
        assert_eq!(
            fetch("127.0.0.1:8080", PATIENCE).unwrap(),
            "10.9.1.1",
            "loopback"
        );
    }
}

/// What Docker leaves in iptables-nft.
fn docker_rules() {
    run("iptables-nft -N DOCKER-USER");
    run("iptables-nft -A DOCKER-USER -j RETURN");
    run("iptables-nft -A FORWARD -j DOCKER-USER");
    run("iptables-nft -P FORWARD DROP");
}

#[test]
fn dockers_default_drop_is_passed_by_its_own_hook() {
    on_private_host(|| {
        let mut stage = stage();
        docker_rules();
        assert!(stage.far.is_cut_off_from("192.0.2.1:8080"), "Docker drops");
        assert_eq!(stage.firewall.ensure().unwrap(), Outcome::Changed);
        stage.assert_traffic_passes();
        assert_eq!(stage.firewall.ensure().unwrap(), Outcome::Unchanged);
        assert_eq!(stage.firewall.findings().unwrap(), []);
        // iptables reads our rules as its own kind, before the final RETURN.
        let listed = run("iptables-nft -S DOCKER-USER");
        let lines: Vec<&str> = listed.lines().collect();
        assert!(
            lines[1].contains("-i br-net") && lines[1].ends_with("-j ACCEPT"),
            "{listed}"
        );
        assert!(
            lines[2].contains("-o br-net") && lines[2].ends_with("-j ACCEPT"),
            "{listed}"
        );
        assert_eq!(lines[3..], ["-A DOCKER-USER -j RETURN"]);
        stage.firewall.apply(&Ruleset::default()).unwrap();
        let listed = run("iptables-nft -S DOCKER-USER");
        assert_eq!(listed, "-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n");
    });
}

#[test]
fn dockers_networks_stay_closed_to_our_containers() {
    on_private_host(|| {
        docker_rules();
        // One of Docker's containers, and how Docker publishes its port 80 as 7000.
        run("ip link add br-0123456789ab type bridge");
        run("ip addr add 10.8.0.1/24 dev br-0123456789ab");
        run("ip link set br-0123456789ab up");
        run("iptables-nft -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT");
        run("iptables-nft -A FORWARD -d 10.8.0.2 -p tcp --dport 80 -j ACCEPT");
        run(
            "iptables-nft -t nat -A PREROUTING -p tcp --dport 7000 -j DNAT --to-destination 10.8.0.2:80",
        );
        let docker = BridgePlan {
            name: "br-0123456789ab".to_owned(),
            alias: String::new(),
            group: 0,
            addresses: vec![ip("10.8.0.1/24")],
            mtu: None,
            reach: OPEN,
        };
        let theirs = container(&docker, "doc", "10.8.0.2/24");
        theirs.serve("10.8.0.2:80");
        theirs.serve("10.8.0.2:81");
        let stage = stage();
        stage.assert_traffic_passes();
        assert!(stage.web.is_cut_off_from("10.8.0.2:81"), "not published");
        assert_eq!(
            stage.web.fetch("192.0.2.1:7000").unwrap(),
            "10.8.0.1",
            "published"
        );
    });
}

#[test]
fn two_engines_side_by_side_are_strangers() {
    on_private_host(|| {
        let stage = stage();
        let net = network("oth", "10.9.7.1/24", OPEN);
        let neighbour = container(&net, "nei", "10.9.7.2/24");
        neighbour.serve("10.9.7.2:80");
        let ruleset = Ruleset {
            networks: vec![NetworkRules {
                bridge: net.name,
                subnets: vec![ip("10.9.7.0/24")],
                reach: OPEN,
            }],
            published: vec![PublishedPort {
                host_ip: None,
                host_port: 8081,
                protocol: Protocol::Tcp,
                target: socket("10.9.7.2:80"),
            }],
        };
        let mut other = Firewall::open("hoist_other").unwrap();
        other.apply(&ruleset).unwrap();
        stage.assert_traffic_passes();
        assert_eq!(fetch("127.0.0.1:8081", PATIENCE).unwrap(), "10.9.7.1");
        assert_eq!(stage.web.fetch("192.0.2.1:8081").unwrap(), "10.9.7.1");
        assert!(stage.web.is_cut_off_from("10.9.7.2:80"));
        assert!(neighbour.is_cut_off_from("10.9.1.2:80"));
        other.remove().unwrap();
        stage.assert_traffic_passes();
    });
}

#[test]
fn strict_reverse_path_checks_do_no_harm() {
    on_private_host(|| {
        sysctl::write("ipv4/conf/all/rp_filter", "1").unwrap();
        stage().assert_traffic_passes();
    });
}

#[test]
fn the_administrators_rules_in_the_hook_go_before_ours() {
    on_private_host(|| {
        docker_rules();
        run("iptables-nft -I DOCKER-USER -s 192.0.2.2 -j DROP");
        let stage = stage();
        assert!(stage.far.is_cut_off_from("192.0.2.1:8080"));
        assert_eq!(stage.other.fetch("10.9.1.2:80").unwrap(), "10.9.1.3");
    });
}

#[test]
fn ufws_default_drop_is_passed_by_its_own_hook() {
    on_private_host(|| {
        run("iptables-nft -N ufw-user-forward");
        run("iptables-nft -A FORWARD -j ufw-user-forward");
        run("iptables-nft -P FORWARD DROP");
        let mut stage = stage();
        stage.assert_traffic_passes();
        stage.firewall.remove().unwrap();
        assert_eq!(
            run("iptables-nft -S ufw-user-forward"),
            "-N ufw-user-forward\n"
        );
    });
}

#[test]
fn what_blocks_without_a_hook_is_told() {
    on_private_host(|| {
        let mut stage = stage();
        assert_eq!(stage.firewall.findings().unwrap(), []);
        run("nft add table inet corp");
        run(
            "nft add chain inet corp passing { type filter hook forward priority 0 ; policy drop ; }",
        );
        run("nft add table inet firewalld");
        run(
            "nft add chain inet firewalld filter_FORWARD { type filter hook forward priority 10 ; }",
        );
        stage.firewall = stage.firewall.with_system_bus("/nonexistent/bus".into());
        stage.firewall.apply(&stage.ruleset).unwrap();
        let findings = stage.firewall.findings().unwrap();
        assert_eq!(findings.len(), 2, "{findings:?}");
        let reason = "talk to the system bus".to_owned();
        assert_eq!(findings[1], Obstacle::Firewalld { reason });
        let text = findings[0].to_string();
        assert!(
            text.starts_with("the policy of chain passing in nftables table inet corp is drop"),
            "{text}"
        );
    });
}

#[test]
fn rules_of_legacy_iptables_are_told() {
    on_private_host(|| {
        let legacy = Command::new("iptables-legacy").arg("-S").output();
        if !legacy.is_ok_and(|output| output.status.success()) {
            // This kernel has nf_tables only: nothing can be in the way.
            return;
        }
        let mut stage = stage();
        let findings = stage.firewall.findings().unwrap();
        let tables = vec!["filter".to_owned()];
        assert_eq!(findings, [Obstacle::LegacyTables { tables }]);
    });
}

#[test]
fn bridged_frames_pass_whether_or_not_the_packet_filter_sees_them() {
    on_private_host(|| {
        let setting = "bridge/bridge-nf-call-iptables";
        if sysctl::read(setting).is_none() {
            eprintln!("skipped: this kernel has no br_netfilter");
            return;
        }
        for value in ["1", "0"] {
            sysctl::write(setting, value).unwrap();
            let stage = stage();
            stage.assert_traffic_passes();
            for link in ["vethweb", "vethoth", "vethlan", "br-net", "lan0"] {
                run(&format!("ip link del {link}"));
            }
        }
    });
}

#[test]
fn bridged_frames_pass_dockers_default_drop() {
    on_private_host(|| {
        if sysctl::read("bridge/bridge-nf-call-iptables").is_some() {
            sysctl::write("bridge/bridge-nf-call-iptables", "1").unwrap();
        }
        docker_rules();
        stage().assert_traffic_passes();
    });
}

#[test]
fn what_others_flush_comes_back() {
    on_private_host_async(|| async {
        docker_rules();
        let stage = stage();
        let watch = Watch::open().unwrap();
        let firewall = Arc::new(Mutex::new(stage.firewall));
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let kept = Arc::clone(&firewall);
        let keeper = tokio::spawn(async move {
            watch
                .keep(kept, |outcome| {
                    let _ = tell.send(outcome.unwrap());
                })
                .await
        });
        let expected = stage.ruleset.table("hoist_test").to_string();
        for (flush, outcome) in [
            ("nft flush ruleset", Outcome::Replaced),
            ("nft delete table inet hoist_test", Outcome::Replaced),
            ("nft flush chain inet hoist_test forward", Outcome::Replaced),
            (
                "nft delete element inet hoist_test published4_any { tcp . 8080 }",
                Outcome::Replaced,
            ),
        ] {
            run(flush);
            let repaired = tokio::time::timeout(PATIENCE, told.recv()).await;
            assert_eq!(repaired.unwrap(), Some(outcome), "{flush}");
            let listed = run("nft list table inet hoist_test");
            let words = |text: &str| {
                text.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert_eq!(words(&listed), words(&expected), "{flush}");
        }
        docker_rules();
        let repaired = tokio::time::timeout(PATIENCE, told.recv()).await;
        assert_eq!(
            repaired.unwrap(),
            Some(Outcome::Changed),
            "Docker's restart"
        );
        assert!(run("iptables-nft -S DOCKER-USER").contains(&stage.net.name));
        keeper.abort();
    });
}

/// A system bus and firewalld of this test alone, in its namespace; ended and gone with the value.
struct RealFirewalld {
    directory: tempfile::TempDir,
    children: Vec<Child>,
}

impl RealFirewalld {
    fn start() -> Self {
        let mut this = Self {
            directory: tempfile::tempdir().unwrap(),
            children: Vec::new(),
        };
        let listen = format!("unix:path={}", this.bus().display());
        let config = format!(
            "<busconfig><type>system</type><listen>{listen}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow user=\"*\"/><allow own=\"*\"/><allow send_type=\"method_call\"/><allow send_type=\"signal\"/>\
             <allow send_requested_reply=\"true\" send_type=\"method_return\"/>\
             <allow send_requested_reply=\"true\" send_type=\"error\"/><allow receive_type=\"method_call\"/>\
             <allow receive_type=\"method_return\"/><allow receive_type=\"error\"/><allow receive_type=\"signal\"/>\
             </policy></busconfig>"
        );
        let config_file = this.directory.path().join("bus.conf");
        std::fs::write(&config_file, config).unwrap();
        let mut bus = Command::new("dbus-daemon");
        bus.arg("--config-file")
            .arg(&config_file)
            .args(["--nofork", "--nopidfile"]);
        this.spawn(bus);
        wait_until(|| std::os::unix::net::UnixStream::connect(this.bus()).is_ok());
        let mut firewalld = Command::new("firewalld");
        firewalld
            .args(["--nofork", "--nopid", "--log-target", "file", "--log-file"])
            .arg(this.directory.path().join("log"))
            .arg("--system-config")
            .arg(this.directory.path())
            .env("DBUS_SYSTEM_BUS_ADDRESS", listen);
        this.spawn(firewalld);
        wait_until(|| this.command("--state"));
        this
    }

    fn bus(&self) -> PathBuf {
        self.directory.path().join("bus")
    }

    fn spawn(&mut self, mut command: Command) {
        let spawned = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children.push(spawned.unwrap());
    }

    fn command(&self, argument: &str) -> bool {
        Command::new("firewall-cmd")
            .arg(argument)
            .env(
                "DBUS_SYSTEM_BUS_ADDRESS",
                format!("unix:path={}", self.bus().display()),
            )
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for RealFirewalld {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Installing firewalld turns it on at the next boot, so only CI installs it, and there it must be present.
#[allow(clippy::print_stderr, reason = "a test that skips says why")]
fn has_firewalld() -> bool {
    let there = ["/usr/sbin/firewalld", "/usr/bin/dbus-daemon"]
        .iter()
        .all(|program| std::path::Path::new(program).exists());
    assert!(
        there || std::env::var_os("CI").is_none(),
        "CI has no firewalld"
    );
    if !there {
        eprintln!("skipped: the packages firewalld and dbus-daemon are not installed");
    }
    there
}

/// Looks every few milliseconds until it is so; the deadline is generous because firewalld is Python.
fn wait_until(mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ready() {
        assert!(Instant::now() < deadline, "waited too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn firewalld_is_told_of_our_bridges_by_its_own_interface() {
    if !has_firewalld() {
        return;
    }
    on_private_host_async(|| async {
        let mut stage = stage();
        let real = RealFirewalld::start();
        assert!(
            stage.web.is_cut_off_from("192.0.2.2:80"),
            "firewalld rejects"
        );
        stage.firewall = stage.firewall.with_system_bus(real.bus());
        assert_eq!(
            stage.firewall.apply(&stage.ruleset).unwrap(),
            Outcome::Changed
        );
        stage.assert_traffic_passes();
        assert_eq!(stage.firewall.findings().unwrap(), []);

        // A reload forgets what was told at run time; the watch tells it again.
        let watch = Watch::open().unwrap();
        let mut ruleset = stage.ruleset.clone();
        let firewall = Arc::new(Mutex::new(stage.firewall));
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let kept = Arc::clone(&firewall);
        let keeper = tokio::spawn(async move {
            watch
                .keep(kept, |outcome| {
                    let _ = tell.send(outcome.unwrap());
                })
                .await
        });
        assert!(real.command("--complete-reload"));
        let repaired = tokio::time::timeout(Duration::from_secs(30), told.recv()).await;
        assert_eq!(repaired.unwrap(), Some(Outcome::Changed));
        assert_eq!(stage.web.fetch("192.0.2.2:80").unwrap(), "192.0.2.1");
        keeper.abort();
        let _ = keeper.await;

        ruleset.networks.clear();
        firewall.lock().unwrap().apply(&ruleset).unwrap();
        let rules = run("nft list table inet firewalld");
        assert!(!rules.contains("br-net"), "{rules}");
    });
}
