//! `volumes` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn short() {
    service(
        "
volumes:
  - /var/lib/anonymous
  - data:/data
  - ./host:/host:ro
  - ~/configs:/etc/configs/:ro,z
",
        r#"
volumes:
- type: volume
  target: /var/lib/anonymous
  volume: {}
- type: volume
  source: data
  target: /data
  volume: {}
- type: bind
  source: /p/host
  target: /host
  read_only: true
  bind:
    create_host_path: true
- type: bind
  source: /home/tester/configs
  target: /etc/configs
  read_only: true
  bind:
    selinux: "z"
    create_host_path: true
"#,
    );
}

#[test]
fn long() {
    service(
        "
volumes:
  - type: volume
    source: data
    target: /data
    volume:
      nocopy: true
      subpath: sub
  - type: bind
    source: /var/run/postgres/postgres.sock
    target: /var/run/postgres/postgres.sock
",
        "
volumes:
- type: volume
  source: data
  target: /data
  volume:
    nocopy: true
    subpath: sub
- type: bind
  source: /var/run/postgres/postgres.sock
  target: /var/run/postgres/postgres.sock
",
    );
}

#[test]
fn bind_options() {
    service(
        "
volumes:
  - type: bind
    source: ./src
    target: /src
    read_only: true
    consistency: cached
    bind:
      propagation: rslave
      create_host_path: false
      recursive: readonly
      selinux: z
",
        r#"
volumes:
- type: bind
  source: /p/src
  target: /src
  read_only: true
  consistency: cached
  bind:
    selinux: "z"
    propagation: rslave
    recursive: readonly
"#,
    );
}

#[test]
fn tmpfs() {
    service(
        "
volumes:
  - type: tmpfs
    target: /cache
    tmpfs:
      size: 10m
      mode: 0o1777
",
        r#"
volumes:
- type: tmpfs
  target: /cache
  tmpfs:
    size: "10485760"
    mode: 1023
"#,
    );
}

#[test]
fn image() {
    service(
        "
volumes:
  - type: image
    source: example/assets
    target: /assets
    image:
      subpath: public
",
        "
volumes:
- type: image
  source: example/assets
  target: /assets
  image:
    subpath: public
",
    );
}
