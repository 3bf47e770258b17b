//! `secrets` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn short() {
    service(
        "
secrets:
  - cert
",
        "
secrets:
- source: cert
  target: /run/secrets/cert
",
    );
}

#[test]
fn long() {
    service(
        r#"
secrets:
  - source: cert
    target: server.cert
    uid: "103"
    gid: "103"
    mode: 0o440
"#,
        r#"
secrets:
- source: cert
  target: server.cert
  uid: "103"
  gid: "103"
  mode: "0440"
"#,
    );
}
