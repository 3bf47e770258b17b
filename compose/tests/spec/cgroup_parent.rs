//! `cgroup_parent` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn name() {
    service(
        "
cgroup_parent: m-executor-abcd
",
        "
cgroup_parent: m-executor-abcd
",
    );
}
