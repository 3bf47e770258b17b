//! `dns_opt` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn two() {
    service(
        "
dns_opt:
  - use-vc
  - no-tld-query
",
        "
dns_opt:
- use-vc
- no-tld-query
",
    );
}
