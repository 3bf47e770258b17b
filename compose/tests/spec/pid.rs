//! `pid` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn host() {
    service(
        "
pid: host
",
        "
pid: host
",
    );
}

#[test]
fn of_a_service() {
    service(
        "
pid: service:db
",
        "
depends_on:
  db:
    condition: service_started
    restart: true
    required: true
pid: service:db
",
    );
}
