//! `devices` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn paths() {
    service(
        r#"
devices:
  - "/dev/ttyUSB0:/dev/ttyUSB0"
  - "/dev/sda:/dev/xvda:rwm"
"#,
        "
devices:
- source: /dev/ttyUSB0
  target: /dev/ttyUSB0
  permissions: rwm
- source: /dev/sda
  target: /dev/xvda
  permissions: rwm
",
    );
}

#[test]
fn cdi() {
    service(
        r#"
devices:
  - "vendor1.com/device=gpu"
"#,
        "
devices:
- source: vendor1.com/device=gpu
  target: vendor1.com/device=gpu
  permissions: rwm
",
    );
}
