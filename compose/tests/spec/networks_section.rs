//! `networks` at the top level: 06-networks.md of the specification.

use super::file;

#[test]
fn basic() {
    file(
        "
services:
  frontend:
    image: example/webapp
    networks:
      - front-tier
      - back-tier
networks:
  front-tier:
  back-tier:
",
        "
services:
  frontend:
    image: example/webapp
    networks:
      front-tier: null
      back-tier: null
networks:
  front-tier:
    name: p_front-tier
  back-tier:
    name: p_back-tier
",
    );
}

#[test]
fn drivers() {
    file(
        r#"
services:
  app:
    image: example/app
    networks: [frontend, backend]
networks:
  frontend:
    driver: custom-driver-1
  backend:
    driver: custom-driver-2
    driver_opts:
      foo: "1"
      bar: 2
"#,
        r#"
services:
  app:
    image: example/app
    networks:
      frontend: null
      backend: null
networks:
  frontend:
    name: p_frontend
    driver: custom-driver-1
  backend:
    name: p_backend
    driver: custom-driver-2
    driver_opts:
      foo: "1"
      bar: "2"
"#,
    );
}

#[test]
fn default() {
    file(
        "
services:
  app:
    image: foo
networks:
  default:
    name: a_network
    driver_opts:
      com.docker.network.bridge.host_binding_ipv4: 127.0.0.1
",
        r#"
services:
  app:
    image: foo
networks:
  default:
    name: a_network
    driver_opts:
      com.docker.network.bridge.host_binding_ipv4: "127.0.0.1"
"#,
    );
}

#[test]
fn ipv6_only() {
    file(
        "
services:
  app:
    image: foo
    networks: [ip6net]
networks:
  ip6net:
    enable_ipv4: false
    enable_ipv6: true
",
        "
services:
  app:
    image: foo
    networks:
      ip6net: null
networks:
  ip6net:
    name: p_ip6net
    enable_ipv4: false
    enable_ipv6: true
",
    );
}

#[test]
fn external() {
    file(
        "
services:
  proxy:
    image: example/proxy
    networks:
      - outside
      - default
networks:
  outside:
    external: true
",
        "
services:
  proxy:
    image: example/proxy
    networks:
      outside: null
      default: null
networks:
  outside:
    name: outside
    external: true
",
    );
}

#[test]
fn external_with_name() {
    file(
        r#"
services:
  proxy:
    image: example/proxy
    networks: [n]
networks:
  n:
    external: true
    name: "${FROM_SHELL}"
"#,
        r#"
services:
  proxy:
    image: example/proxy
    networks:
      "n": null
networks:
  "n":
    name: shell
    external: true
"#,
    );
}

#[test]
fn attachable() {
    file(
        "
services:
  app:
    image: foo
    networks: [mynet1]
networks:
  mynet1:
    driver: overlay
    attachable: true
    internal: true
",
        "
services:
  app:
    image: foo
    networks:
      mynet1: null
networks:
  mynet1:
    name: p_mynet1
    driver: overlay
    internal: true
    attachable: true
",
    );
}

#[test]
fn ipam() {
    file(
        r#"
services:
  app:
    image: foo
    networks: [mynet1]
networks:
  mynet1:
    ipam:
      driver: default
      config:
        - subnet: 172.28.0.0/16
          ip_range: 172.28.5.0/24
          gateway: 172.28.5.254
          aux_addresses:
            host1: 172.28.1.5
            host2: 172.28.1.6
      options:
        foo: bar
        baz: "0"
"#,
        r#"
services:
  app:
    image: foo
    networks:
      mynet1: null
networks:
  mynet1:
    name: p_mynet1
    ipam:
      driver: default
      config:
      - subnet: "172.28.0.0/16"
        gateway: "172.28.5.254"
        ip_range: "172.28.5.0/24"
        aux_addresses:
          host1: "172.28.1.5"
          host2: "172.28.1.6"
      options:
        foo: bar
        baz: "0"
"#,
    );
}

#[test]
fn labels() {
    file(
        r#"
services:
  app:
    image: foo
    networks: [mynet1]
networks:
  mynet1:
    labels:
      - "com.example.department=Finance"
      - "com.example.empty"
"#,
        r#"
services:
  app:
    image: foo
    networks:
      mynet1: null
networks:
  mynet1:
    name: p_mynet1
    labels:
      com.example.department: Finance
      com.example.empty: ""
"#,
    );
}

#[test]
fn own_name() {
    file(
        "
services:
  app:
    image: foo
    networks: [network1]
networks:
  network1:
    name: my-app-net
",
        "
services:
  app:
    image: foo
    networks:
      network1: null
networks:
  network1:
    name: my-app-net
",
    );
}
