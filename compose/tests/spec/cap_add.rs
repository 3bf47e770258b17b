//! `cap_add` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn all() {
    service(
        "
cap_add:
  - ALL
",
        "
cap_add:
- ALL
",
    );
}
