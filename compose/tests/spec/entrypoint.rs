//! `entrypoint` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn text() {
    service(
        "
entrypoint: /code/entrypoint.sh
",
        "
entrypoint:
- /code/entrypoint.sh
",
    );
}

#[test]
fn list() {
    service(
        "
entrypoint:
  - php
  - -d
  - memory_limit=-1
  - vendor/bin/phpunit
",
        r#"
entrypoint:
- php
- "-d"
- memory_limit=-1
- vendor/bin/phpunit
"#,
    );
}

#[test]
fn empty_list() {
    service(
        "
entrypoint: []
",
        "
entrypoint: []
",
    );
}
