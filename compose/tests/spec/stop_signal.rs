//! `stop_signal` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn usr1() {
    service(
        "
stop_signal: SIGUSR1
",
        "
stop_signal: SIGUSR1
",
    );
}
