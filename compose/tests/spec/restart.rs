//! `restart` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn switched_off() {
    service(
        r#"
restart: "no"
"#,
        r#"
restart: "no"
"#,
    );
}

#[test]
fn always() {
    service(
        "
restart: always
",
        "
restart: always
",
    );
}

#[test]
fn on_failure() {
    service(
        "
restart: on-failure
",
        "
restart: on-failure
",
    );
}

#[test]
fn three_times() {
    service(
        "
restart: on-failure:3
",
        "
restart: on-failure:3
",
    );
}

#[test]
fn unless_stopped() {
    service(
        "
restart: unless-stopped
",
        "
restart: unless-stopped
",
    );
}
