//! `expose` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn three() {
    service(
        r#"
expose:
  - "3000"
  - "8000"
  - "8080-8085/tcp"
"#,
        r#"
expose:
- "3000"
- "8000"
- "8080-8085/tcp"
"#,
    );
}
