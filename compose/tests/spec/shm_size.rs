//! `shm_size` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn text() {
    service(
        "
shm_size: 64m
",
        r#"
shm_size: "67108864"
"#,
    );
}

#[test]
fn number() {
    service(
        "
shm_size: 1048576
",
        r#"
shm_size: "1048576"
"#,
    );
}
