//! `networks` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn list() {
    service(
        "
networks:
  - front
  - back
",
        "
networks:
  front: null
  back: null
",
    );
}

#[test]
fn default() {
    service(
        "
networks:
  default: {}
",
        "
networks:
  default: {}
",
    );
}

#[test]
fn aliases() {
    service(
        "
networks:
  front:
    aliases:
      - alias1
      - alias3
  back:
    aliases:
      - alias2
",
        "
networks:
  front:
    aliases:
    - alias1
    - alias3
  back:
    aliases:
    - alias2
",
    );
}

#[test]
fn addresses() {
    service(
        "
networks:
  front:
    ipv4_address: 172.16.238.10
    ipv6_address: 2001:3984:3989::10
",
        r#"
networks:
  front:
    ipv4_address: "172.16.238.10"
    ipv6_address: "2001:3984:3989::10"
"#,
    );
}

#[test]
fn link_local_ips() {
    service(
        "
networks:
  front:
    link_local_ips:
      - 57.123.22.11
      - 57.123.22.13
",
        r#"
networks:
  front:
    link_local_ips:
    - "57.123.22.11"
    - "57.123.22.13"
"#,
    );
}

#[test]
fn mac_address() {
    service(
        r#"
networks:
  front:
    mac_address: "02:42:ac:11:65:43"
"#,
        r#"
networks:
  front:
    mac_address: "02:42:ac:11:65:43"
"#,
    );
}

#[test]
fn gw_priority() {
    service(
        "
networks:
  front:
  back:
    gw_priority: 1
",
        "
networks:
  front: null
  back:
    gw_priority: 1
",
    );
}

#[test]
fn priority() {
    service(
        "
networks:
  front:
    priority: 1000
  back:
  default:
    priority: 100
",
        "
networks:
  front:
    priority: 1000
  back: null
  default:
    priority: 100
",
    );
}

#[test]
fn driver_opts() {
    service(
        r#"
networks:
  front:
    driver_opts:
      foo: "bar"
      baz: 1
"#,
        r#"
networks:
  front:
    driver_opts:
      foo: bar
      baz: "1"
"#,
    );
}

#[test]
fn interface_name() {
    service(
        "
networks:
  back:
    interface_name: eth0
",
        "
networks:
  back:
    interface_name: eth0
",
    );
}
