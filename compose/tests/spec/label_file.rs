//! `label_file` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn one() {
    service(
        "
label_file: ./app.labels
",
        "
labels:
  com.example.team: web
",
    );
}

#[test]
fn two() {
    service(
        "
label_file:
  - ./app.labels
  - ./additional.labels
",
        r#"
labels:
  com.example.team: api
  com.example.tier: "2"
"#,
    );
}

#[test]
fn labels_win() {
    service(
        "
label_file: ./app.labels
labels:
  com.example.team: own
",
        "
labels:
  com.example.team: own
",
    );
}
