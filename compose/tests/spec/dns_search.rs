//! `dns_search` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn one() {
    service(
        "
dns_search: example.com
",
        "
dns_search:
- example.com
",
    );
}

#[test]
fn two() {
    service(
        "
dns_search:
  - dc1.example.com
  - dc2.example.com
",
        "
dns_search:
- dc1.example.com
- dc2.example.com
",
    );
}
