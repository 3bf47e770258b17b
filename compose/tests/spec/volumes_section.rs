//! `volumes` at the top level: 07-volumes.md of the specification.

use super::file;

#[test]
fn shared() {
    file(
        "
services:
  backend:
    image: example/database
    volumes:
      - db-data:/etc/data
  backup:
    image: backup-service
    volumes:
      - db-data:/var/lib/backup/data
volumes:
  db-data:
",
        "
services:
  backend:
    image: example/database
    volumes:
    - type: volume
      source: db-data
      target: /etc/data
      volume: {}
  backup:
    image: backup-service
    volumes:
    - type: volume
      source: db-data
      target: /var/lib/backup/data
      volume: {}
volumes:
  db-data:
    name: p_db-data
",
    );
}

#[test]
fn driver_options() {
    file(
        r#"
services:
  a:
    image: b
    volumes: ["example:/d"]
volumes:
  example:
    driver: foobar
    driver_opts:
      type: "nfs"
      o: "addr=10.40.0.199,nolock,soft,rw"
      device: ":/docker/example"
"#,
        r#"
services:
  "a":
    image: "b"
    volumes:
    - type: volume
      source: example
      target: /d
      volume: {}
volumes:
  example:
    name: p_example
    driver: foobar
    driver_opts:
      type: nfs
      "o": addr=10.40.0.199,nolock,soft,rw
      device: ":/docker/example"
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
    volumes: ["db-data:/d"]
volumes:
  db-data:
    external: true
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
volumes:
  db-data:
    name: db-data
    external: true
"#,
    );
}

#[test]
fn external_name() {
    file(
        r#"
services:
  a:
    image: b
    volumes: ["db-data:/d"]
volumes:
  db-data:
    external:
      name: actual-name-of-volume
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
volumes:
  db-data:
    name: actual-name-of-volume
    external: true
"#,
    );
}

#[test]
fn labels() {
    file(
        r#"
services:
  a:
    image: b
    volumes: ["db-data:/d"]
volumes:
  db-data:
    labels:
      com.example.department: "IT/Ops"
      com.example.empty: ""
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
volumes:
  db-data:
    name: p_db-data
    labels:
      com.example.department: IT/Ops
      com.example.empty: ""
"#,
    );
}

#[test]
fn own_name() {
    file(
        r#"
services:
  a:
    image: b
    volumes: ["db-data:/d"]
volumes:
  db-data:
    name: "my-app-data"
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
volumes:
  db-data:
    name: my-app-data
"#,
    );
}
