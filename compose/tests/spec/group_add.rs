//! `group_add` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn name() {
    service(
        "
group_add:
  - mail
",
        "
group_add:
- mail
",
    );
}
