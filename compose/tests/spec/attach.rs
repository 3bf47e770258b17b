//! `attach` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn switched_off() {
    service(
        "
attach: false
",
        "
attach: false
",
    );
}

#[test]
fn switched_on() {
    service(
        "
attach: true
",
        "
attach: true
",
    );
}
