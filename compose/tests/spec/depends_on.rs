//! `depends_on` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn short() {
    service(
        "
depends_on:
  - db
  - redis
",
        "
depends_on:
  db:
    condition: service_started
    required: true
  redis:
    condition: service_started
    required: true
",
    );
}

#[test]
fn long() {
    service(
        "
depends_on:
  db:
    condition: service_healthy
    restart: true
  redis:
    condition: service_started
",
        "
depends_on:
  db:
    condition: service_healthy
    restart: true
    required: true
  redis:
    condition: service_started
    required: true
",
    );
}

#[test]
fn optional() {
    service(
        "
depends_on:
  db:
    condition: service_completed_successfully
    required: false
",
        "
depends_on:
  db:
    condition: service_completed_successfully
    required: false
",
    );
}
