//! `gpus` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn one_driver() {
    service(
        "
gpus:
  - driver: 3dfx
    count: 2
",
        r#"
gpus:
- driver: "3dfx"
  count: 2
"#,
    );
}

#[test]
fn all() {
    service(
        "
gpus: all
",
        "
gpus:
- count: -1
",
    );
}
