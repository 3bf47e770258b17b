use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use simple_dns::Question;

use super::super::records::EndpointNames;
use super::*;

fn directory() -> Directory {
    let mut directory = Directory::new();
    directory.put_network("n1", "shop_default");
    directory.put_network("n2", "shop_back");
    let names = |names: &[&str], addresses: &[&str]| EndpointNames {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        addresses: addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect(),
    };
    directory.put_endpoint(
        "n1",
        "web",
        names(&["shop-web-1", "web", "0123456789ab"], &["10.0.0.2"]),
    );
    directory.put_endpoint(
        "n1",
        "api1",
        names(&["shop-api-1", "api"], &["10.0.0.3", "fd00::3"]),
    );
    directory.put_endpoint("n1", "api2", names(&["shop-api-2", "api"], &["10.0.0.4"]));
    directory.put_endpoint("n2", "web", names(&["shop-web-1", "web"], &["10.1.0.2"]));
    directory
}

fn query(name: &str, kind: TYPE, edns: Option<u16>) -> Vec<u8> {
    let mut packet = Packet::new_query(77);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).unwrap();
    packet
        .questions
        .push(Question::new(name, kind.into(), CLASS::IN.into(), false));
    if let Some(udp_packet_size) = edns {
        *packet.opt_mut() = Some(OPT {
            opt_codes: Vec::new(),
            udp_packet_size,
            version: 0,
        });
    }
    packet.build_bytes_vec().unwrap()
}

fn decide(directory: &Directory, networks: &[&str], query: &[u8], transport: Transport) -> Verdict {
    let networks: Vec<String> = networks.iter().map(|id| (*id).to_owned()).collect();
    let mut random = SmallRng::seed_from_u64(1);
    answer(query, directory, &networks, transport, &mut random)
}

/// The answer as sorted words; `-` for an empty one, `forward` when it is not ours.
fn told(directory: &Directory, networks: &[&str], name: &str, kind: TYPE) -> String {
    match decide(
        directory,
        networks,
        &query(name, kind, None),
        Transport::Udp,
    ) {
        Verdict::Reply(bytes) => {
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!(packet.id(), 77);
            assert_eq!(packet.rcode(), RCODE::NoError);
            assert!(
                packet.has_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE)
            );
            let mut words: Vec<String> = packet
                .answers
                .iter()
                .map(|record| match &record.rdata {
                    RData::A(data) => Ipv4Addr::from(data.address).to_string(),
                    RData::AAAA(data) => Ipv6Addr::from(data.address).to_string(),
                    RData::PTR(name) => name.0.to_string(),
                    other => format!("{other:?}"),
                })
                .collect();
            words.sort();
            if words.is_empty() {
                "-".to_owned()
            } else {
                words.join(" ")
            }
        }
        Verdict::Forward => "forward".to_owned(),
        Verdict::Ignore => "ignore".to_owned(),
    }
}

#[test]
fn names_are_found_as_docker_finds_them() {
    let directory = directory();
    let check = |networks: &[&str], name: &str, kind: TYPE, expected: &str| {
        assert_eq!(
            told(&directory, networks, name, kind),
            expected,
            "{name} {kind:?}"
        );
    };
    check(&["n1"], "web", TYPE::A, "10.0.0.2");
    check(&["n1"], "WEB", TYPE::A, "10.0.0.2");
    check(&["n1"], "shop-web-1", TYPE::A, "10.0.0.2");
    check(&["n1"], "0123456789ab", TYPE::A, "10.0.0.2");
    check(&["n1"], "api", TYPE::A, "10.0.0.3 10.0.0.4");
    check(&["n1"], "api", TYPE::AAAA, "fd00::3");
    check(&["n1"], "web", TYPE::AAAA, "-");
    check(&["n1"], "web", TYPE::MX, "-");
    check(&["n1"], "web.shop_default", TYPE::A, "10.0.0.2");
    check(&["n1"], "web.Shop_Default", TYPE::A, "10.0.0.2");
    check(&["n1"], "web.shop_back", TYPE::A, "forward");
    check(&["n2"], "web", TYPE::A, "10.1.0.2");
    check(&["n2", "n1"], "web", TYPE::A, "10.1.0.2");
    check(&["n1", "n2"], "web.shop_back", TYPE::A, "10.1.0.2");
    check(&["n2"], "api", TYPE::A, "forward");
    check(&[], "web", TYPE::A, "forward");
    check(&["n1"], "example.org", TYPE::A, "forward");
    check(
        &["n1"],
        "2.0.0.10.in-addr.arpa",
        TYPE::PTR,
        "shop-web-1.shop_default",
    );
    check(&["n2"], "2.0.0.10.in-addr.arpa", TYPE::PTR, "forward");
    check(&["n1"], "300.0.0.10.in-addr.arpa", TYPE::PTR, "forward");
    let ipv6 = "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    check(&["n1"], ipv6, TYPE::PTR, "shop-api-1.shop_default");
}

#[test]
fn replicas_come_in_changing_order() {
    let directory = directory();
    let networks = ["n1".to_owned()];
    let mut random = SmallRng::seed_from_u64(7);
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..64 {
        let query = query("api", TYPE::A, None);
        let verdict = answer(&query, &directory, &networks, Transport::Udp, &mut random);
        let Verdict::Reply(bytes) = verdict else {
            panic!("{verdict:?}")
        };
        let packet = Packet::parse(&bytes).unwrap();
        if let RData::A(data) = &packet.answers[0].rdata {
            firsts.insert(data.address);
        }
    }
    assert_eq!(firsts.len(), 2);
}

#[test]
fn an_endpoint_that_left_is_forgotten() {
    let mut directory = directory();
    directory.remove_endpoint("n1", "api1");
    assert_eq!(told(&directory, &["n1"], "api", TYPE::A), "10.0.0.4");
    directory.remove_network("n1");
    assert_eq!(told(&directory, &["n1"], "api", TYPE::A), "forward");
}

#[test]
fn long_answers_are_cut_for_udp_and_whole_for_tcp() {
    let mut directory = Directory::new();
    directory.put_network("n", "net");
    let addresses = (0..200)
        .map(|host| Ipv4Addr::new(10, 0, 0, host).into())
        .collect();
    let names = EndpointNames {
        names: vec!["big".to_owned()],
        addresses,
    };
    directory.put_endpoint("n", "e", names);
    let check = |edns: Option<u16>, transport: Transport, limit: usize, whole: bool| {
        let verdict = decide(&directory, &["n"], &query("big", TYPE::A, edns), transport);
        let Verdict::Reply(bytes) = verdict else {
            panic!("{verdict:?}")
        };
        assert!(bytes.len() <= limit, "{} over {limit}", bytes.len());
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.has_flags(PacketFlag::TRUNCATION), !whole);
        assert_eq!(packet.answers.len() == 200, whole);
        assert!(!packet.answers.is_empty());
        assert_eq!(packet.opt().is_some(), edns.is_some());
    };
    check(None, Transport::Udp, 512, false);
    check(Some(1232), Transport::Udp, 1232, false);
    check(Some(4096), Transport::Udp, 4096, true);
    check(Some(100), Transport::Udp, 512, false);
    check(None, Transport::Tcp, 65_535, true);
}

#[test]
fn what_is_no_query_is_refused_or_ignored() {
    let directory = directory();
    let check = |bytes: &[u8], expected: Option<RCODE>| match (
        decide(&directory, &["n1"], bytes, Transport::Udp),
        expected,
    ) {
        (Verdict::Ignore, None) => {}
        (Verdict::Reply(reply), Some(code)) => {
            assert_eq!(Packet::parse(&reply).unwrap().rcode(), code);
        }
        (verdict, expected) => panic!("{verdict:?}, not {expected:?}"),
    };
    check(&[], None);
    check(&[0; 11], None);
    let good = query("web", TYPE::A, None);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    check(&with(2, 0x80), None);
    check(&with(2, 0x28), Some(RCODE::NotImplemented));
    check(&with(5, 0), Some(RCODE::FormatError));
    check(&with(5, 2), Some(RCODE::FormatError));
    check(&with(7, 0xff), Some(RCODE::FormatError));
    check(&good[..good.len() - 3], Some(RCODE::FormatError));
}

proptest! {
    #[test]
    fn any_bytes_are_answered_or_dropped(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let verdict = decide(&directory(), &["n1"], &bytes, Transport::Udp);
        if let Verdict::Reply(reply) = verdict {
            prop_assert!(reply.len() >= 12 && reply[..2] == bytes[..2]);
            prop_assert!(Packet::parse(&reply).is_ok());
        }
        let _ = question_key(&bytes);
    }

    #[test]
    fn damaged_queries_are_answered_or_dropped(
        kind in prop::sample::select(vec![TYPE::A, TYPE::AAAA, TYPE::PTR, TYPE::TXT]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = query("api.shop_default", kind, Some(1232));
        for (index, value) in damage {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        if let Verdict::Reply(reply) = decide(&directory(), &["n1"], &bytes, Transport::Udp) {
            prop_assert!(reply.len() >= 12 && reply[..2] == bytes[..2]);
        }
    }
}
