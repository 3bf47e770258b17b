//! `cgroup` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn host() {
    service(
        "
cgroup: host
",
        "
cgroup: host
",
    );
}

#[test]
fn private() {
    service(
        "
cgroup: private
",
        "
cgroup: private
",
    );
}
