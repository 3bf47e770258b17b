//! `device_cgroup_rules` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn two() {
    service(
        "
device_cgroup_rules:
  - 'c 1:3 mr'
  - 'a 7:* rmw'
",
        r#"
device_cgroup_rules:
- c 1:3 mr
- "a 7:* rmw"
"#,
    );
}
