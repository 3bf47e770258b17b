//! `labels` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn mapping() {
    service(
        r#"
labels:
  com.example.description: "Accounting webapp"
  com.example.department: "Finance"
  com.example.empty: ""
"#,
        r#"
labels:
  com.example.description: Accounting webapp
  com.example.department: Finance
  com.example.empty: ""
"#,
    );
}

#[test]
fn list() {
    service(
        r#"
labels:
  - "com.example.description=Accounting webapp"
  - "com.example.department=Finance"
  - "com.example.empty"
"#,
        r#"
labels:
  com.example.description: Accounting webapp
  com.example.department: Finance
  com.example.empty: ""
"#,
    );
}
