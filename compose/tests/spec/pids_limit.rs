//! `pids_limit` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn number() {
    service(
        "
pids_limit: 10
",
        "
pids_limit: 10
",
    );
}

#[test]
fn unlimited() {
    service(
        "
pids_limit: -1
",
        "
pids_limit: -1
",
    );
}
