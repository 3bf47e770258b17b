//! `network_mode` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn host() {
    service(
        r#"
network_mode: "host"
"#,
        "
network_mode: host
",
    );
}

#[test]
fn none() {
    service(
        r#"
network_mode: "none"
"#,
        "
network_mode: none
",
    );
}

#[test]
fn of_a_service() {
    service(
        r#"
network_mode: "service:db"
"#,
        "
depends_on:
  db:
    condition: service_started
    restart: true
    required: true
network_mode: service:db
",
    );
}
