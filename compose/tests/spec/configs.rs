//! `configs` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn short() {
    service(
        "
configs:
  - my_config
  - my_other_config
",
        "
configs:
- source: my_config
- source: my_other_config
",
    );
}

#[test]
fn long() {
    service(
        r#"
configs:
  - source: my_config
    target: /redis_config
    uid: "103"
    gid: "103"
    mode: 0440
"#,
        r#"
configs:
- source: my_config
  target: /redis_config
  uid: "103"
  gid: "103"
  mode: "0440"
"#,
    );
}
