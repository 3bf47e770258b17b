//! `profiles` at the top level: 15-profiles.md of the specification.

use super::file;

#[test]
fn default_only() {
    file(
        "
services:
  foo:
    image: foo
  bar:
    image: bar
    profiles:
      - test
  baz:
    image: baz
    depends_on:
      - bar
    profiles:
      - test
",
        "
services:
  foo:
    image: foo
  bar:
    profiles:
    - test
    image: bar
  baz:
    profiles:
    - test
    depends_on:
      bar:
        condition: service_started
        required: true
    image: baz
",
    );
}
