//! `pull_refresh_after` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn period() {
    service(
        "
pull_policy: refresh
pull_refresh_after: 12h
",
        r#"
pull_policy: refresh
pull_refresh_after: "12h"
"#,
    );
}
