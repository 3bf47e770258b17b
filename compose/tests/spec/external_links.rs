//! `external_links` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn three() {
    service(
        "
external_links:
  - redis
  - database:mysql
  - database:postgresql
",
        "
external_links:
- redis
- database:mysql
- database:postgresql
",
    );
}
