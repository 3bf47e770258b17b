//! `develop` of a service: develop.md of the specification.

use super::service;

#[test]
fn sync() {
    service(
        "
develop:
  watch:
    - path: ./webapp/html
      action: sync
      initial_sync: true
      target: /var/www
      ignore:
        - node_modules/
",
        "
develop:
  watch:
  - path: /p/webapp/html
    action: sync
    target: /var/www
    ignore:
    - node_modules/
    initial_sync: true
",
    );
}

#[test]
fn rebuild() {
    service(
        "
develop:
  watch:
    - path: ./backend/src
      action: rebuild
",
        "
develop:
  watch:
  - path: /p/backend/src
    action: rebuild
",
    );
}

#[test]
fn sync_and_exec() {
    service(
        "
develop:
  watch:
    - path: ./etc/config
      action: sync+exec
      target: /etc/config/
      exec:
        command: app reload
",
        "
develop:
  watch:
  - path: /p/etc/config
    action: sync+exec
    target: /etc/config/
    exec:
      command:
      - app
      - reload
",
    );
}

#[test]
fn include() {
    service(
        r#"
develop:
  watch:
    - path: ./src
      include: "*.go"
      action: rebuild
"#,
        r#"
develop:
  watch:
  - path: /p/src
    action: rebuild
    include:
    - "*.go"
"#,
    );
}
