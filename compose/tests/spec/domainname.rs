//! `domainname` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn name() {
    service(
        "
domainname: example.com
",
        "
domainname: example.com
",
    );
}
