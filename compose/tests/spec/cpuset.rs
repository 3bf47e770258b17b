//! `cpuset` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn range() {
    service(
        "
cpuset: 0-3
",
        r#"
cpuset: "0-3"
"#,
    );
}

#[test]
fn list() {
    service(
        r#"
cpuset: "0,1"
"#,
        r#"
cpuset: "0,1"
"#,
    );
}
