//! `container_name` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn name() {
    service(
        "
container_name: my-web-container
",
        "
container_name: my-web-container
",
    );
}
