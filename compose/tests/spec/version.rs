//! `version` at the top level: 04-version-and-name.md of the specification.

use super::file;

#[test]
fn ignored() {
    file(
        r#"
version: "3.8"
services:
  foo:
    image: busybox
"#,
        "
services:
  foo:
    image: busybox
",
    );
}
