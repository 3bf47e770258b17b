//! `volumes_from` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn four() {
    service(
        "
volumes_from:
  - db
  - redis:ro
  - container:container_name
  - container:container_name:rw
",
        "
depends_on:
  db:
    condition: service_started
    required: true
  redis:
    condition: service_started
    required: true
volumes_from:
- db
- redis:ro
- container:container_name
- container:container_name:rw
",
    );
}
