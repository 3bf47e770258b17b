//! `cpus` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn fraction() {
    service(
        "
cpus: 0.5
",
        "
cpus: 0.5
",
    );
}

#[test]
fn text() {
    service(
        r#"
cpus: "1.5"
"#,
        "
cpus: 1.5
",
    );
}
