//! `links` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn three() {
    service(
        "
links:
  - db
  - db:database
  - redis
",
        "
depends_on:
  db:
    condition: service_started
    restart: true
    required: true
  redis:
    condition: service_started
    restart: true
    required: true
links:
- db
- db:database
- redis
",
    );
}
