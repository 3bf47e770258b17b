//! `profiles` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn one() {
    service(
        r#"
profiles: ["frontend"]
"#,
        "
profiles:
- frontend
",
    );
}

#[test]
fn list() {
    service(
        "
profiles:
  - debug
",
        "
profiles:
- debug
",
    );
}
