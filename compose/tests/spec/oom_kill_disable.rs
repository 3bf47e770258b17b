//! `oom_kill_disable` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn switched_on() {
    service(
        "
oom_kill_disable: true
",
        "
oom_kill_disable: true
",
    );
}
