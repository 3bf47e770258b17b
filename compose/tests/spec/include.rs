//! `include` at the top level: 14-include.md of the specification.

use super::file;

#[test]
fn short() {
    file(
        "
include:
  - common.yml
services:
  app:
    image: example/app
    depends_on:
      - webapp
",
        "
services:
  app:
    depends_on:
      webapp:
        condition: service_started
        required: true
    image: example/app
  webapp:
    environment:
      TZ: utc
    image: example/webapp
    volumes:
    - type: bind
      source: /p/data
      target: /data
      bind:
        create_host_path: true
",
    );
}

#[test]
fn long() {
    file(
        "
include:
  - path: common.yml
    project_directory: ..
    env_file: a.env
services:
  app:
    image: example/app
",
        "
services:
  app:
    image: example/app
  webapp:
    environment:
      TZ: utc
    image: example/webapp
    volumes:
    - type: bind
      source: /data
      target: /data
      bind:
        create_host_path: true
",
    );
}
