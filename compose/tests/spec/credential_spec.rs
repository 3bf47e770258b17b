//! `credential_spec` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn from_a_file() {
    service(
        "
credential_spec:
  file: my-credential-spec.json
",
        "
credential_spec:
  file: my-credential-spec.json
",
    );
}

#[test]
fn registry() {
    service(
        "
credential_spec:
  registry: my-credential-spec
",
        "
credential_spec:
  registry: my-credential-spec
",
    );
}

#[test]
fn config() {
    service(
        "
credential_spec:
  config: my_config
",
        "
credential_spec:
  config: my_config
",
    );
}
