//! `logging` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn syslog() {
    service(
        r#"
logging:
  driver: syslog
  options:
    syslog-address: "tcp://192.168.0.42:123"
"#,
        "
logging:
  driver: syslog
  options:
    syslog-address: tcp://192.168.0.42:123
",
    );
}
