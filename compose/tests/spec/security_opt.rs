//! `security_opt` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn two() {
    service(
        "
security_opt:
  - label:user:USER
  - label:role:ROLE
",
        "
security_opt:
- label:user:USER
- label:role:ROLE
",
    );
}
