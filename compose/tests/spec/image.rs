//! `image` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn name() {
    service(
        "
image: redis
",
        "
image: redis
",
    );
}

#[test]
fn tag() {
    service(
        "
image: redis:5
",
        "
image: redis:5
",
    );
}

#[test]
fn digest() {
    service(
        "
image: redis@sha256:0ed5d5928d4737458944eb604cc8509e245c3e19d02ad83935398bc4b991aac7
",
        "
image: redis@sha256:0ed5d5928d4737458944eb604cc8509e245c3e19d02ad83935398bc4b991aac7
",
    );
}

#[test]
fn library() {
    service(
        "
image: library/redis
",
        "
image: library/redis
",
    );
}

#[test]
fn registry() {
    service(
        "
image: docker.io/library/redis
",
        "
image: docker.io/library/redis
",
    );
}

#[test]
fn port() {
    service(
        "
image: my_private.registry:5000/redis
",
        "
image: my_private.registry:5000/redis
",
    );
}
