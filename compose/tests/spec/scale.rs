//! `scale` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn two() {
    service(
        "
scale: 2
",
        "
scale: 2
",
    );
}
