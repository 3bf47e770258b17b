//! `tty` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn switched_on() {
    service(
        "
tty: true
",
        "
tty: true
",
    );
}
