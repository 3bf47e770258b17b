//! `use_api_socket` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn switched_on() {
    service(
        "
use_api_socket: true
",
        "
use_api_socket: true
",
    );
}
