//! Fragments: 10-fragments.md of the specification.

use super::file;

#[test]
fn whole_value() {
    file(
        r#"
services:
  a:
    image: b
    volumes: ["db-data:/d", "metrics:/m"]
volumes:
  db-data: &default-volume
    driver: default
  metrics: *default-volume
"#,
        r#"
services:
  "a":
    image: "b"
    volumes:
    - type: volume
      source: db-data
      target: /d
      volume: {}
    - type: volume
      source: metrics
      target: /m
      volume: {}
volumes:
  db-data:
    name: p_db-data
    driver: default
  metrics:
    name: p_metrics
    driver: default
"#,
    );
}

#[test]
fn list() {
    file(
        "
services:
  first:
    image: my-image:latest
    environment: &env
      - CONFIG_KEY
      - EXAMPLE_KEY
  second:
    image: another-image:latest
    environment: *env
",
        "
services:
  first:
    environment:
      CONFIG_KEY: null
      EXAMPLE_KEY: null
    image: my-image:latest
  second:
    environment:
      CONFIG_KEY: null
      EXAMPLE_KEY: null
    image: another-image:latest
",
    );
}

#[test]
fn merge_with_override() {
    file(
        r#"
services:
  backend:
    image: example/database
    volumes:
      - db-data:/a
      - metrics:/b
volumes:
  db-data: &default-volume
    driver: default
    name: "data"
  metrics:
    <<: *default-volume
    name: "metrics"
"#,
        "
services:
  backend:
    image: example/database
    volumes:
    - type: volume
      source: db-data
      target: /a
      volume: {}
    - type: volume
      source: metrics
      target: /b
      volume: {}
volumes:
  db-data:
    name: data
    driver: default
  metrics:
    name: metrics
    driver: default
",
    );
}

#[test]
fn merge() {
    file(
        "
services:
  first:
    image: my-image:latest
    environment: &env
      FOO: BAR
      ZOT: QUIX
  second:
    image: another-image:latest
    environment:
      <<: *env
      YET_ANOTHER: VARIABLE
",
        "
services:
  first:
    environment:
      FOO: BAR
      ZOT: QUIX
    image: my-image:latest
  second:
    environment:
      YET_ANOTHER: VARIABLE
      FOO: BAR
      ZOT: QUIX
    image: another-image:latest
",
    );
}
