//! `name` at the top level: 04-version-and-name.md of the specification.

use super::file;

#[test]
fn interpolated() {
    file(
        r#"
name: myapp
services:
  foo:
    image: busybox
    environment:
      - COMPOSE_PROJECT_NAME
    command: echo "I'm running ${COMPOSE_PROJECT_NAME}"
"#,
        r#"
name: myapp
services:
  foo:
    command:
    - echo
    - "I'm running myapp"
    environment:
      COMPOSE_PROJECT_NAME: myapp
    image: busybox
networks:
  default:
    name: myapp_default
"#,
    );
}
