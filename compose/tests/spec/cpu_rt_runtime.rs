//! `cpu_rt_runtime` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn microseconds() {
    service(
        "
cpu_rt_runtime: 95000
",
        "
cpu_rt_runtime: 95000
",
    );
}

#[test]
fn duration() {
    service(
        "
cpu_rt_runtime: '400ms'
",
        "
cpu_rt_runtime: 400000
",
    );
}
