//! `extra_hosts` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn short() {
    service(
        r#"
extra_hosts:
  - "somehost=162.242.195.82"
  - "otherhost=50.31.209.229"
  - "myhostv6=::1"
"#,
        "
extra_hosts:
- myhostv6=::1
- otherhost=50.31.209.229
- somehost=162.242.195.82
",
    );
}

#[test]
fn brackets() {
    service(
        r#"
extra_hosts:
  - "myhostv6=[::1]"
"#,
        "
extra_hosts:
- myhostv6=::1
",
    );
}

#[test]
fn colons() {
    service(
        r#"
extra_hosts:
  - "somehost:162.242.195.82"
  - "myhostv6:::1"
"#,
        "
extra_hosts:
- myhostv6=::1
- somehost=162.242.195.82
",
    );
}

#[test]
fn long() {
    service(
        r#"
extra_hosts:
  somehost: "162.242.195.82"
  otherhost: "50.31.209.229"
  myhostv6: "::1"
"#,
        "
extra_hosts:
- myhostv6=::1
- otherhost=50.31.209.229
- somehost=162.242.195.82
",
    );
}
