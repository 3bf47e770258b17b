//! `memswap_limit` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn text() {
    service(
        "
memswap_limit: 2g
",
        r#"
memswap_limit: "2147483648"
"#,
    );
}

#[test]
fn unlimited() {
    service(
        "
memswap_limit: -1
",
        r#"
memswap_limit: "-1"
"#,
    );
}
