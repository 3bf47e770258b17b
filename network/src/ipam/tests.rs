use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn taken(prefix: &str, holder: &str) -> Occupied {
    Occupied {
        prefix: net(prefix),
        holder: holder.to_owned(),
    }
}

fn request(subnet: &str, gateway: &str, range: &str) -> SubnetRequest {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    SubnetRequest {
        subnet: some(subnet).map(|text| net(&text)),
        gateway: some(gateway).map(|text| addr(&text)),
        ip_range: some(range).map(|text| net(&text)),
        aux_addresses: BTreeMap::new(),
    }
}

fn plan(request: &SubnetRequest, occupied: &[Occupied]) -> Result<Subnet, IpamError> {
    plan_subnet(request, &AddressPool::docker_defaults(), occupied)
}

#[test]
fn pools_are_dockers_in_dockers_order() {
    let subnets: Vec<String> = AddressPool::docker_defaults()
        .iter()
        .flat_map(AddressPool::subnets)
        .map(|subnet| subnet.to_string())
        .collect();
    assert_eq!(subnets.len(), 15 + 16);
    assert_eq!(subnets.first().unwrap(), "172.17.0.0/16");
    assert_eq!(subnets[14], "172.31.0.0/16");
    assert_eq!(subnets[15], "192.168.0.0/20");
    assert_eq!(subnets.last().unwrap(), "192.168.240.0/20");
}

#[test]
fn the_first_free_subnet_is_taken() {
    let check = |occupied: &[&str], expected: &str| {
        let occupied: Vec<_> = occupied.iter().map(|prefix| taken(prefix, "x")).collect();
        let subnet = plan(&SubnetRequest::default(), &occupied).unwrap();
        assert_eq!(subnet.network, net(expected));
        assert_eq!(subnet.range, subnet.network);
    };
    check(&[], "172.17.0.0/16");
    check(&["172.17.5.0/24"], "172.18.0.0/16");
    check(&["172.16.0.0/12"], "192.168.0.0/20");
    check(&["172.16.0.0/12", "192.168.1.1/32"], "192.168.16.0/20");
    check(&["fd00::/8", "172.18.0.0/16"], "172.17.0.0/16");
    let all = [taken("0.0.0.0/1", "a"), taken("128.0.0.0/1", "b")];
    let error = plan(&SubnetRequest::default(), &all).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("all address pools are in use (172.17.0.0/16, ")
    );
}

#[test]
fn a_users_subnet_is_checked() {
    let occupied = [
        taken("10.1.0.0/16", "network shop_default"),
        taken("10.2.0.0/16", "the host's route via eth0"),
    ];
    let check = |subnet: &str, gateway: &str, range: &str, expected: &str| {
        let error = plan(&request(subnet, gateway, range), &occupied).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        "10.1.2.0/24",
        "",
        "",
        "subnet 10.1.2.0/24 overlaps network shop_default (10.1.0.0/16); choose another subnet",
    );
    check(
        "10.0.0.0/8",
        "",
        "",
        "subnet 10.0.0.0/8 overlaps network shop_default (10.1.0.0/16); choose another subnet",
    );
    check(
        "10.2.0.0/24",
        "",
        "",
        "subnet 10.2.0.0/24 overlaps the host's route via eth0 (10.2.0.0/16); choose another subnet",
    );
    check(
        "10.3.0.5/24",
        "",
        "",
        "invalid subnet 10.3.0.5/24: it should be 10.3.0.0/24",
    );
    check(
        "10.3.0.0/24",
        "10.4.0.1",
        "",
        "gateway 10.4.0.1 is not inside 10.3.0.0/24",
    );
    check(
        "10.3.0.0/24",
        "fd00::1",
        "",
        "gateway fd00::1 is not inside 10.3.0.0/24",
    );
    check(
        "10.3.0.0/24",
        "10.3.0.0",
        "",
        "gateway 10.3.0.0 is the network address of 10.3.0.0/24",
    );
    check(
        "10.3.0.0/24",
        "10.3.0.255",
        "",
        "gateway 10.3.0.255 is the broadcast address of 10.3.0.0/24",
    );
    check(
        "10.3.0.0/24",
        "",
        "10.3.0.0/16",
        "ip_range 10.3.0.0/16 is not inside 10.3.0.0/24",
    );
    check("", "10.3.0.1", "", "gateway needs a subnet");
    check("", "", "10.3.0.0/24", "ip_range needs a subnet");
}

#[test]
fn the_gateway_is_the_first_address_that_is_no_aux_address() {
    let mut wanted = request("10.3.0.0/24", "", "");
    assert_eq!(plan(&wanted, &[]).unwrap().gateway, addr("10.3.0.1"));
    wanted
        .aux_addresses
        .insert("nas".to_owned(), addr("10.3.0.1"));
    assert_eq!(plan(&wanted, &[]).unwrap().gateway, addr("10.3.0.2"));
    wanted.gateway = Some(addr("10.3.0.1"));
    let error = plan(&wanted, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "address 10.3.0.1 is already in use by the gateway"
    );
    assert_eq!(
        plan(&request("fd00:1::/64", "", ""), &[]).unwrap().gateway,
        addr("fd00:1::1")
    );
    assert_eq!(
        plan(&request("10.3.0.0/31", "", ""), &[]).unwrap().gateway,
        addr("10.3.0.0")
    );
}

#[test]
fn the_lowest_free_address_is_given() {
    let subnet = plan(&request("10.3.0.0/24", "", ""), &[]).unwrap();
    let mut leases = Leases::new();
    let take = |leases: &mut Leases| leases.take_lowest(&subnet, "x").unwrap();
    assert_eq!(take(&mut leases), addr("10.3.0.2"));
    assert_eq!(take(&mut leases), addr("10.3.0.3"));
    assert_eq!(take(&mut leases), addr("10.3.0.4"));
    assert!(leases.release(addr("10.3.0.3")));
    assert_eq!(take(&mut leases), addr("10.3.0.3"));
    assert_eq!(take(&mut leases), addr("10.3.0.5"));
}

#[test]
fn a_range_limits_automatic_addresses_only() {
    let mut wanted = request("10.3.0.0/24", "", "10.3.0.128/30");
    wanted
        .aux_addresses
        .insert("nas".to_owned(), addr("10.3.0.129"));
    let subnet = plan(&wanted, &[]).unwrap();
    let mut leases = Leases::new();
    for expected in ["10.3.0.128", "10.3.0.130", "10.3.0.131"] {
        assert_eq!(leases.take_lowest(&subnet, "x"), Ok(addr(expected)));
    }
    let error = leases.take_lowest(&subnet, "x").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no free address is left in 10.3.0.128/30"
    );
    assert_eq!(
        leases.take(&subnet, addr("10.3.0.7"), "x"),
        Ok(addr("10.3.0.7"))
    );
}

#[test]
fn a_static_address_in_use_names_its_holder() {
    let mut wanted = request("10.3.0.0/24", "", "");
    wanted
        .aux_addresses
        .insert("nas".to_owned(), addr("10.3.0.9"));
    let subnet = plan(&wanted, &[]).unwrap();
    let mut leases = Leases::new();
    leases.restore(addr("10.3.0.7"), "container shop-db-1");
    let mut check = |address: &str, expected: &str| {
        let error = leases.take(&subnet, addr(address), "x").unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        "10.3.0.7",
        "address 10.3.0.7 is already in use by container shop-db-1",
    );
    check(
        "10.3.0.1",
        "address 10.3.0.1 is already in use by the gateway",
    );
    check(
        "10.3.0.9",
        "address 10.3.0.9 is already in use by aux address \"nas\"",
    );
    check("10.4.0.1", "address 10.4.0.1 is not inside 10.3.0.0/24");
    check(
        "10.3.0.255",
        "address 10.3.0.255 is the broadcast address of 10.3.0.0/24",
    );
}

#[test]
fn ipv6_subnets_are_stable_and_unique_local() {
    let first = choose_ipv6_subnet(42, &[]).unwrap();
    assert_eq!(choose_ipv6_subnet(42, &[]).unwrap(), first);
    let second = choose_ipv6_subnet(
        42,
        &[Occupied {
            prefix: first,
            holder: String::new(),
        }],
    );
    let second = second.unwrap();
    assert!(!overlaps(first, second));
    assert!(overlaps(net("fd00::/8"), first) && overlaps(net("fd00::/8"), second));
    assert_eq!(first.prefix(), 64);
}

proptest! {
    #[test]
    fn no_address_is_given_twice_or_from_outside(
        base in any::<u32>(),
        prefix in 20_u8..=31,
        steps in prop::collection::vec((any::<bool>(), any::<u16>()), 1..200),
    ) {
        let base = Ipv4Network::new(Ipv4Addr::from(base), prefix).unwrap();
        let subnet = IpNetwork::new(IpAddr::V4(base.network()), prefix).unwrap();
        let Ok(planned) = plan_subnet(
            &SubnetRequest { subnet: Some(subnet), ..SubnetRequest::default() }, &[], &[],
        ) else { return Ok(()) };
        let mut leases = Leases::new();
        let mut held = std::collections::BTreeSet::new();
        for (give_back, choice) in steps {
            if give_back && !held.is_empty() {
                let at = usize::from(choice) % held.len();
                let address = *held.iter().nth(at).unwrap();
                prop_assert!(leases.release(address));
                held.remove(&address);
                continue;
            }
            match leases.take_lowest(&planned, "x") {
                Ok(address) => {
                    prop_assert!(subnet.contains(address));
                    prop_assert_ne!(address, planned.gateway);
                    prop_assert!(prefix == 31 || address != subnet.broadcast() && address != subnet.network());
                    prop_assert!(held.insert(address), "given twice");
                }
                Err(_) => prop_assert!(u64::try_from(held.len()).unwrap() + 3 >= 1 << (32 - prefix)),
            }
        }
    }
}
