//! `pre_stop` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn hook() {
    service(
        "
pre_stop:
  - command: ./data_flush.sh
    working_dir: /srv
",
        "
pre_stop:
- command:
  - ./data_flush.sh
  working_dir: /srv
",
    );
}
