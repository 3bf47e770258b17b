//! `userns_mode` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn host() {
    service(
        r#"
userns_mode: "host"
"#,
        "
userns_mode: host
",
    );
}
