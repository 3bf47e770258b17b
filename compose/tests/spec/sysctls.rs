//! `sysctls` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn mapping() {
    service(
        "
sysctls:
  net.core.somaxconn: 1024
  net.ipv4.tcp_syncookies: 0
",
        r#"
sysctls:
  net.core.somaxconn: "1024"
  net.ipv4.tcp_syncookies: "0"
"#,
    );
}

#[test]
fn list() {
    service(
        "
sysctls:
  - net.core.somaxconn=1024
  - net.ipv4.tcp_syncookies=0
",
        r#"
sysctls:
  net.core.somaxconn: "1024"
  net.ipv4.tcp_syncookies: "0"
"#,
    );
}
