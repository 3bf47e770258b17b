//! `stop_grace_period` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn seconds() {
    service(
        "
stop_grace_period: 1s
",
        r#"
stop_grace_period: "1s"
"#,
    );
}

#[test]
fn minutes() {
    service(
        "
stop_grace_period: 1m30s
",
        r#"
stop_grace_period: "1m30s"
"#,
    );
}

#[test]
fn all_units() {
    service(
        "
stop_grace_period: 1h5m30s20ms
",
        r#"
stop_grace_period: "1h5m30.02s"
"#,
    );
}
