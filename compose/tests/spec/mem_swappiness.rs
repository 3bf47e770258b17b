//! `mem_swappiness` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn number() {
    service(
        "
mem_swappiness: 60
",
        r#"
mem_swappiness: "60"
"#,
    );
}
