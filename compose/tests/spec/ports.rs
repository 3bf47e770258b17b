//! `ports` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn short() {
    service(
        r#"
ports:
  - "3000"
  - "8000:8000"
  - "49100:22"
  - "8000-9000:80"
  - "127.0.0.1:8001:8001"
  - "::1:6000:6000"
  - "[::1]:6001:6001"
  - "6060:6060/udp"
"#,
        r#"
ports:
- mode: ingress
  target: 3000
  protocol: tcp
- mode: ingress
  target: 8000
  published: "8000"
  protocol: tcp
- mode: ingress
  target: 22
  published: "49100"
  protocol: tcp
- mode: ingress
  target: 80
  published: "8000-9000"
  protocol: tcp
- mode: ingress
  host_ip: "127.0.0.1"
  target: 8001
  published: "8001"
  protocol: tcp
- mode: ingress
  host_ip: "::1"
  target: 6000
  published: "6000"
  protocol: tcp
- mode: ingress
  host_ip: "::1"
  target: 6001
  published: "6001"
  protocol: tcp
- mode: ingress
  target: 6060
  published: "6060"
  protocol: udp
"#,
    );
}

#[test]
fn range() {
    service(
        r#"
ports:
  - "3000-3005"
"#,
        "
ports:
- mode: ingress
  target: 3000
  protocol: tcp
- mode: ingress
  target: 3001
  protocol: tcp
- mode: ingress
  target: 3002
  protocol: tcp
- mode: ingress
  target: 3003
  protocol: tcp
- mode: ingress
  target: 3004
  protocol: tcp
- mode: ingress
  target: 3005
  protocol: tcp
",
    );
}

#[test]
fn ranges() {
    service(
        r#"
ports:
  - "9090-9091:8080-8081"
  - "127.0.0.1:5000-5002:5000-5002"
"#,
        r#"
ports:
- mode: ingress
  target: 8080
  published: "9090"
  protocol: tcp
- mode: ingress
  target: 8081
  published: "9091"
  protocol: tcp
- mode: ingress
  host_ip: "127.0.0.1"
  target: 5000
  published: "5000"
  protocol: tcp
- mode: ingress
  host_ip: "127.0.0.1"
  target: 5001
  published: "5001"
  protocol: tcp
- mode: ingress
  host_ip: "127.0.0.1"
  target: 5002
  published: "5002"
  protocol: tcp
"#,
    );
}

#[test]
fn long() {
    service(
        r#"
ports:
  - name: web
    target: 80
    host_ip: 127.0.0.1
    published: "8080"
    protocol: tcp
    app_protocol: http
    mode: host
  - name: web-secured
    target: 443
    host_ip: 127.0.0.1
    published: "8083-9000"
    protocol: tcp
    app_protocol: https
    mode: host
"#,
        r#"
ports:
- name: web
  mode: host
  host_ip: "127.0.0.1"
  target: 80
  published: "8080"
  protocol: tcp
  app_protocol: http
- name: web-secured
  mode: host
  host_ip: "127.0.0.1"
  target: 443
  published: "8083-9000"
  protocol: tcp
  app_protocol: https
"#,
    );
}
