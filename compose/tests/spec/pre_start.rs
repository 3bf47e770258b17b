//! `pre_start` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn hooks() {
    service(
        r#"
pre_start:
  - command: ["./manage.py", "migrate"]
  - image: busybox
    command: sh -c 'chown -R 1000:1000 /data'
"#,
        r#"
pre_start:
- command:
  - ./manage.py
  - migrate
  image: example/app
- command:
  - sh
  - "-c"
  - chown -R 1000:1000 /data
  image: busybox
"#,
    );
}
