//! `services` at the top level: 05-services.md of the specification.

use super::file;

#[test]
fn two() {
    file(
        "
services:
  frontend:
    image: example/webapp
  backend:
    image: example/database
    x-own: {kept: true}
",
        "
services:
  frontend:
    image: example/webapp
  backend:
    image: example/database
    x-own:
      kept: true
",
    );
}
