//! Merge: 13-merge.md and `extends` of the specification.

use super::file;

#[test]
fn extends_environment() {
    file(
        "
services:
  common:
    image: busybox
    environment:
      TZ: utc
      PORT: 80
  cli:
    extends:
      service: common
    environment:
      PORT: 8080
",
        r#"
services:
  common:
    environment:
      TZ: utc
      PORT: "80"
    image: busybox
  cli:
    environment:
      TZ: utc
      PORT: "8080"
    image: busybox
"#,
    );
}

#[test]
fn extends_volumes() {
    file(
        "
services:
  common:
    image: busybox
    volumes:
      - common-volume:/var/lib/backup/data:rw
  cli:
    extends:
      service: common
    volumes:
      - cli-volume:/var/lib/backup/data:ro
volumes:
  common-volume: {}
  cli-volume: {}
",
        "
services:
  common:
    image: busybox
    volumes:
    - type: volume
      source: common-volume
      target: /var/lib/backup/data
      volume: {}
  cli:
    image: busybox
    volumes:
    - type: volume
      source: cli-volume
      target: /var/lib/backup/data
      read_only: true
      volume: {}
volumes:
  common-volume:
    name: p_common-volume
  cli-volume:
    name: p_cli-volume
",
    );
}

#[test]
fn extends_chain() {
    file(
        "
services:
  base:
    image: busybox
    user: root
  common:
    image: busybox
    extends:
      service: base
  cli:
    extends:
      service: common
",
        "
services:
  base:
    image: busybox
    user: root
  common:
    image: busybox
    user: root
  cli:
    image: busybox
    user: root
",
    );
}

#[test]
fn extends_sequence() {
    file(
        "
services:
  common:
    image: busybox
    security_opt:
      - label:role:ROLE
  cli:
    extends:
      service: common
    security_opt:
      - label:user:USER
",
        "
services:
  common:
    image: busybox
    security_opt:
    - label:role:ROLE
  cli:
    image: busybox
    security_opt:
    - label:role:ROLE
    - label:user:USER
",
    );
}
