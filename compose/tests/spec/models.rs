//! `models` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn short() {
    service(
        "
models:
  - my_model
",
        "
models:
  my_model: null
",
    );
}

#[test]
fn long() {
    service(
        "
models:
  my_model:
    endpoint_var: MODEL_URL
    model_var: MODEL
",
        "
models:
  my_model:
    endpoint_var: MODEL_URL
    model_var: MODEL
",
    );
}
