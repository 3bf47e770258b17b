//! `mem_limit` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn text() {
    service(
        "
mem_limit: 300m
",
        r#"
mem_limit: "314572800"
"#,
    );
}

#[test]
fn number() {
    service(
        "
mem_limit: 1073741824
",
        r#"
mem_limit: "1073741824"
"#,
    );
}
