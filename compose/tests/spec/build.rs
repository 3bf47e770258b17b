//! `build` of a service: build.md of the specification.

use super::service;

#[test]
fn directory() {
    service(
        "
build: ./webapp
",
        "
build:
  context: /p/webapp
  dockerfile: Dockerfile
",
    );
}

#[test]
fn sections() {
    service(
        "
build:
  context: backend
  dockerfile: ../backend.Dockerfile
",
        "
build:
  context: /p/backend
  dockerfile: ../backend.Dockerfile
",
    );
}

#[test]
fn home() {
    service(
        "
build: ~/custom
",
        "
build:
  context: /home/tester/custom
  dockerfile: Dockerfile
",
    );
}

#[test]
fn git() {
    service(
        "
build: https://github.com/example/webapp.git
",
        "
build:
  context: https://github.com/example/webapp.git
  dockerfile: Dockerfile
",
    );
}

#[test]
fn contexts_as_list() {
    service(
        "
build:
  context: .
  additional_contexts:
    - resources=/path/to/resources
    - app=docker-image://my-app:latest
    - source=https://github.com/example/project.git
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  additional_contexts:
    resources: /path/to/resources
    app: docker-image://my-app:latest
    source: https://github.com/example/project.git
",
    );
}

#[test]
fn contexts_as_mapping() {
    service(
        "
build:
  context: .
  additional_contexts:
    resources: ./resources
    app: docker-image://my-app:latest
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  additional_contexts:
    resources: /p/resources
    app: docker-image://my-app:latest
",
    );
}

#[test]
fn context_of_a_service() {
    service(
        "
build:
  context: .
  additional_contexts:
    base: service:built
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  additional_contexts:
    base: service:built
",
    );
}

#[test]
fn args_as_mapping() {
    service(
        "
build:
  context: .
  args:
    GIT_COMMIT: cdc3b19
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  args:
    GIT_COMMIT: cdc3b19
",
    );
}

#[test]
fn args_as_list() {
    service(
        "
build:
  context: .
  args:
    - GIT_COMMIT=cdc3b19
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  args:
    GIT_COMMIT: cdc3b19
",
    );
}

#[test]
fn args_from_the_shell() {
    service(
        "
build:
  context: .
  args:
    - FROM_SHELL
    - NOT_SET
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  args:
    FROM_SHELL: shell
",
    );
}

#[test]
fn caches() {
    service(
        "
build:
  context: .
  cache_from:
    - alpine:latest
    - type=local,src=path/to/cache
    - type=gha
  cache_to:
    - user/app:cache
    - type=local,dest=path/to/cache
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  cache_from:
  - alpine:latest
  - type=local,src=path/to/cache
  - type=gha
  cache_to:
  - user/app:cache
  - type=local,dest=path/to/cache
",
    );
}

#[test]
fn dockerfile() {
    service(
        "
build:
  context: .
  dockerfile: webapp.Dockerfile
",
        "
build:
  context: /p
  dockerfile: webapp.Dockerfile
",
    );
}

#[test]
fn inline() {
    service(
        "
build:
  context: .
  dockerfile_inline: |
    FROM baseimage
    RUN some command
",
        "
build:
  context: /p
  dockerfile_inline: |
    FROM baseimage
    RUN some command
",
    );
}

#[test]
fn entitlements() {
    service(
        "
build:
  context: .
  entitlements:
    - network.host
    - security.insecure
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  entitlements:
  - network.host
  - security.insecure
",
    );
}

#[test]
fn hosts() {
    service(
        r#"
build:
  context: .
  extra_hosts:
    - "somehost=162.242.195.82"
    - "myhostv6=[::1]"
"#,
        "
build:
  context: /p
  dockerfile: Dockerfile
  extra_hosts:
  - myhostv6=::1
  - somehost=162.242.195.82
",
    );
}

#[test]
fn isolation() {
    service(
        "
build:
  context: .
  isolation: default
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  isolation: default
",
    );
}

#[test]
fn labels_as_mapping() {
    service(
        r#"
build:
  context: .
  labels:
    com.example.department: Finance
    com.example.empty: ""
"#,
        r#"
build:
  context: /p
  dockerfile: Dockerfile
  labels:
    com.example.department: Finance
    com.example.empty: ""
"#,
    );
}

#[test]
fn labels_as_list() {
    service(
        r#"
build:
  context: .
  labels:
    - "com.example.department=Finance"
    - "com.example.empty"
"#,
        r#"
build:
  context: /p
  dockerfile: Dockerfile
  labels:
    com.example.department: Finance
    com.example.empty: ""
"#,
    );
}

#[test]
fn network() {
    service(
        "
build:
  context: .
  network: host
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  network: host
",
    );
}

#[test]
fn no_cache() {
    service(
        "
build:
  context: .
  no_cache: true
  pull: true
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  no_cache: true
  pull: true
",
    );
}

#[test]
fn no_cache_filter() {
    service(
        "
build:
  context: .
  no_cache_filter: [stage]
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  no_cache_filter:
  - stage
",
    );
}

#[test]
fn platforms() {
    service(
        r#"
build:
  context: "."
  platforms:
    - "linux/amd64"
    - "linux/arm64"
"#,
        "
build:
  context: /p
  dockerfile: Dockerfile
  platforms:
  - linux/amd64
  - linux/arm64
",
    );
}

#[test]
fn privileged() {
    service(
        "
build:
  context: .
  privileged: true
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  privileged: true
",
    );
}

#[test]
fn provenance() {
    service(
        "
build:
  context: .
  provenance: true
",
        r#"
build:
  context: /p
  dockerfile: Dockerfile
  provenance: "true"
"#,
    );
}

#[test]
fn provenance_mode() {
    service(
        "
build:
  context: .
  provenance: mode=max
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  provenance: mode=max
",
    );
}

#[test]
fn sbom() {
    service(
        "
build:
  context: .
  sbom: true
",
        r#"
build:
  context: /p
  dockerfile: Dockerfile
  sbom: "true"
"#,
    );
}

#[test]
fn sbom_generator() {
    service(
        "
build:
  context: .
  sbom: generator=docker/scout-sbom-indexer:latest
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  sbom: generator=docker/scout-sbom-indexer:latest
",
    );
}

#[test]
fn shm_size() {
    service(
        r#"
build:
  context: .
  shm_size: "2gb"
"#,
        r#"
build:
  context: /p
  dockerfile: Dockerfile
  shm_size: "2147483648"
"#,
    );
}

#[test]
fn shm_size_in_bytes() {
    service(
        "
build:
  context: .
  shm_size: 10000000
",
        r#"
build:
  context: /p
  dockerfile: Dockerfile
  shm_size: "10000000"
"#,
    );
}

#[test]
fn tags() {
    service(
        r#"
build:
  context: .
  tags:
    - "myimage:mytag"
    - "registry/username/myrepos:my-other-tag"
"#,
        "
build:
  context: /p
  dockerfile: Dockerfile
  tags:
  - myimage:mytag
  - registry/username/myrepos:my-other-tag
",
    );
}

#[test]
fn target() {
    service(
        "
build:
  context: .
  target: prod
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  target: prod
",
    );
}

#[test]
fn ulimits() {
    service(
        "
build:
  context: .
  ulimits:
    nproc: 65535
    nofile:
      soft: 20000
      hard: 40000
",
        "
build:
  context: /p
  dockerfile: Dockerfile
  ulimits:
    nproc: 65535
    nofile:
      soft: 20000
      hard: 40000
",
    );
}
