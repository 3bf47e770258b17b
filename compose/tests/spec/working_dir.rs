//! `working_dir` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn path() {
    service(
        "
working_dir: /srv/app
",
        "
working_dir: /srv/app
",
    );
}
