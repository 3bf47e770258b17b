//! `configs` at the top level: 08-configs.md of the specification.

use super::file;

#[test]
fn from_a_file() {
    file(
        "
services:
  a:
    image: b
    configs: [http_config]
configs:
  http_config:
    file: ./httpd.conf
",
        r#"
services:
  "a":
    configs:
    - source: http_config
    image: "b"
configs:
  http_config:
    name: p_http_config
    file: /p/httpd.conf
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
    configs: [http_config]
configs:
  http_config:
    external: true
    name: "${FROM_SHELL}"
"#,
        r#"
services:
  "a":
    configs:
    - source: http_config
    image: "b"
configs:
  http_config:
    name: shell
    external: true
"#,
    );
}

#[test]
fn content() {
    file(
        "
services:
  a:
    image: b
    configs: [app_config]
configs:
  app_config:
    content: |
      debug=${FROM_SHELL}
      spring.application.name=${COMPOSE_PROJECT_NAME}
",
        r#"
services:
  "a":
    configs:
    - source: app_config
    image: "b"
configs:
  app_config:
    name: p_app_config
    content: |
      debug=shell
      spring.application.name=p
"#,
    );
}

#[test]
fn environment() {
    file(
        "
services:
  a:
    image: b
    configs: [c]
configs:
  c:
    environment: FROM_SHELL
",
        r#"
services:
  "a":
    configs:
    - source: "c"
    image: "b"
configs:
  "c":
    name: p_c
    environment: FROM_SHELL
"#,
    );
}
