//! `models` at the top level: the part on models of the specification.

use super::file;

#[test]
fn one() {
    file(
        r#"
services:
  a:
    image: b
    models: [llm]
models:
  llm:
    model: ai/model
    context_size: 1024
    runtime_flags:
      - "--no-prefill-assistant"
"#,
        r#"
services:
  "a":
    image: "b"
    models:
      llm: null
models:
  llm:
    model: ai/model
    context_size: 1024
    runtime_flags:
    - "--no-prefill-assistant"
"#,
    );
}
