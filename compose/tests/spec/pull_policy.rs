//! `pull_policy` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn always() {
    service(
        "
pull_policy: always
",
        "
pull_policy: always
",
    );
}

#[test]
fn never() {
    service(
        "
pull_policy: never
",
        "
pull_policy: never
",
    );
}

#[test]
fn missing() {
    service(
        "
pull_policy: missing
",
        "
pull_policy: missing
",
    );
}

#[test]
fn if_not_present() {
    service(
        "
pull_policy: if_not_present
",
        "
pull_policy: missing
",
    );
}

#[test]
fn build() {
    service(
        "
pull_policy: build
",
        "
pull_policy: build
",
    );
}

#[test]
fn daily() {
    service(
        "
pull_policy: daily
",
        "
pull_policy: daily
",
    );
}

#[test]
fn weekly() {
    service(
        "
pull_policy: weekly
",
        "
pull_policy: weekly
",
    );
}

#[test]
fn every_12h() {
    service(
        "
pull_policy: every_12h
",
        "
pull_policy: every_12h
",
    );
}
