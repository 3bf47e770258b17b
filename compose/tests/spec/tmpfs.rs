//! `tmpfs` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn one() {
    service(
        "
tmpfs: /run
",
        "
tmpfs:
- /run
",
    );
}

#[test]
fn options() {
    service(
        "
tmpfs:
  - /data:mode=755,uid=1009,gid=1009
  - /run
",
        "
tmpfs:
- /data:mode=755,uid=1009,gid=1009
- /run
",
    );
}
