//! `platform` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn os() {
    service(
        "
platform: darwin
",
        "
platform: darwin
",
    );
}

#[test]
fn os_and_machine() {
    service(
        "
platform: windows/amd64
",
        "
platform: windows/amd64
",
    );
}

#[test]
fn variant() {
    service(
        "
platform: linux/arm64/v8
",
        "
platform: linux/arm64/v8
",
    );
}
