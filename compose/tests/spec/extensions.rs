//! Extensions: 11-extension.md of the specification.

use super::file;

#[test]
fn kept() {
    file(
        "
x-custom:
  foo:
    - bar
    - zot
services:
  webapp:
    image: example/webapp
    x-foo: bar
",
        "
services:
  webapp:
    image: example/webapp
    x-foo: bar
x-custom:
  foo:
  - bar
  - zot
",
    );
}

#[test]
fn shared_service() {
    file(
        r#"
x-function: &function
  labels:
    function: "true"
  depends_on:
    - gateway
  networks:
    - functions
  deploy:
    placement:
      constraints:
        - "node.platform.os == linux"
services:
  gateway:
    image: gateway
    networks: [functions]
  nodeinfo:
    <<: *function
    image: functions/nodeinfo:latest
    environment:
      no_proxy: "gateway"
      https_proxy: $FROM_SHELL
networks:
  functions: {}
"#,
        r#"
services:
  gateway:
    image: gateway
    networks:
      functions: null
  nodeinfo:
    depends_on:
      gateway:
        condition: service_started
        required: true
    deploy:
      placement:
        constraints:
        - node.platform.os == linux
    environment:
      no_proxy: gateway
      https_proxy: shell
    image: functions/nodeinfo:latest
    labels:
      function: "true"
    networks:
      functions: null
networks:
  functions:
    name: p_functions
x-function:
  labels:
    function: "true"
  depends_on:
  - gateway
  networks:
  - functions
  deploy:
    placement:
      constraints:
      - node.platform.os == linux
"#,
    );
}

#[test]
fn two_sources() {
    file(
        "
x-environment: &default-environment
  FOO: BAR
  ZOT: QUIX
x-keys: &keys
  KEY: VALUE
services:
  frontend:
    image: example/webapp
    environment:
      << : [*default-environment, *keys]
      YET_ANOTHER: VARIABLE
",
        "
services:
  frontend:
    environment:
      YET_ANOTHER: VARIABLE
      FOO: BAR
      ZOT: QUIX
      KEY: VALUE
    image: example/webapp
x-environment:
  FOO: BAR
  ZOT: QUIX
x-keys:
  KEY: VALUE
",
    );
}
