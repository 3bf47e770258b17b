//! `storage_opt` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn size() {
    service(
        "
storage_opt:
  size: '1G'
",
        r#"
storage_opt:
  size: "1G"
"#,
    );
}
