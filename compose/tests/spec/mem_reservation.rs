//! `mem_reservation` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn text() {
    service(
        "
mem_reservation: 1gb
",
        r#"
mem_reservation: "1073741824"
"#,
    );
}
