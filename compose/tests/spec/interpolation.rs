//! Interpolation: 12-interpolation.md of the specification.

use super::file;

#[test]
fn defaults() {
    file(
        r#"
services:
  web:
    image: "web:${NOT_SET:-1.0}"
    labels:
      a: "${FROM_SHELL:+set}"
      b: "${NOT_SET-${FROM_SHELL}}"
      c: "$$NOT_SET"
"#,
        r#"
services:
  web:
    image: web:1.0
    labels:
      "a": set
      "b": shell
      "c": "$$NOT_SET"
"#,
    );
}
