//! `cap_drop` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn two() {
    service(
        "
cap_drop:
  - NET_ADMIN
  - SYS_ADMIN
",
        "
cap_drop:
- NET_ADMIN
- SYS_ADMIN
",
    );
}
