//! `user` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn name() {
    service(
        r#"
user: "1000:1000"
"#,
        r#"
user: "1000:1000"
"#,
    );
}
