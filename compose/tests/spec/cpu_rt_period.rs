//! `cpu_rt_period` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn microseconds() {
    service(
        "
cpu_rt_period: 11000
",
        "
cpu_rt_period: 11000
",
    );
}

#[test]
fn duration() {
    service(
        "
cpu_rt_period: '1400us'
",
        "
cpu_rt_period: 1400
",
    );
}
