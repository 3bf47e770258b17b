//! `ipc` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn shareable() {
    service(
        r#"
ipc: "shareable"
"#,
        "
ipc: shareable
",
    );
}

#[test]
fn of_a_service() {
    service(
        r#"
ipc: "service:db"
"#,
        "
depends_on:
  db:
    condition: service_started
    restart: true
    required: true
ipc: service:db
",
    );
}
