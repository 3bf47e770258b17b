//! `post_start` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn hook() {
    service(
        "
post_start:
  - command: ./do_something_on_startup.sh
    user: root
    privileged: true
    environment:
      - FOO=BAR
",
        "
post_start:
- command:
  - ./do_something_on_startup.sh
  user: root
  privileged: true
  environment:
    FOO: BAR
",
    );
}
