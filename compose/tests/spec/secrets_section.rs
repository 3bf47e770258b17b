//! `secrets` at the top level: 09-secrets.md of the specification.

use super::file;

#[test]
fn from_a_file() {
    file(
        "
services:
  a:
    image: b
    secrets: [server-certificate]
secrets:
  server-certificate:
    file: ./server.cert
",
        r#"
services:
  "a":
    image: "b"
    secrets:
    - source: server-certificate
      target: /run/secrets/server-certificate
secrets:
  server-certificate:
    name: p_server-certificate
    file: /p/server.cert
"#,
    );
}

#[test]
fn environment() {
    file(
        r#"
services:
  a:
    image: b
    secrets: [token]
secrets:
  token:
    environment: "OAUTH_TOKEN"
"#,
        r#"
services:
  "a":
    image: "b"
    secrets:
    - source: token
      target: /run/secrets/token
secrets:
  token:
    name: p_token
    environment: OAUTH_TOKEN
"#,
    );
}

#[test]
fn external() {
    file(
        r#"
services:
  a:
    image: b
    secrets: [server-certificate]
secrets:
  server-certificate:
    external: true
    name: "${FROM_SHELL}"
"#,
        r#"
services:
  "a":
    image: "b"
    secrets:
    - source: server-certificate
      target: /run/secrets/server-certificate
secrets:
  server-certificate:
    name: shell
    external: true
"#,
    );
}
