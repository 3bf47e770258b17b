//! `uts` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn host() {
    service(
        r#"
uts: "host"
"#,
        "
uts: host
",
    );
}
