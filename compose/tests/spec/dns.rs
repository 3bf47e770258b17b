//! `dns` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn one() {
    service(
        "
dns: 8.8.8.8
",
        r#"
dns:
- "8.8.8.8"
"#,
    );
}

#[test]
fn two() {
    service(
        "
dns:
  - 8.8.8.8
  - 9.9.9.9
",
        r#"
dns:
- "8.8.8.8"
- "9.9.9.9"
"#,
    );
}
