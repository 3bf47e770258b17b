//! `mac_address` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn address() {
    service(
        "
mac_address: 02:42:ac:11:65:43
",
        r#"
mac_address: "02:42:ac:11:65:43"
"#,
    );
}
