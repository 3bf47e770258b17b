//! `provider` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn options() {
    service(
        "
provider:
  type: awesomecloud
  options:
    type: mysql
    foo: bar
",
        "
provider:
  type: awesomecloud
  options:
    type:
    - mysql
    foo:
    - bar
",
    );
}
