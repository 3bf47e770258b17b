//! `oom_score_adj` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn number() {
    service(
        "
oom_score_adj: -500
",
        "
oom_score_adj: -500
",
    );
}
