//! `deploy` of a service: deploy.md of the specification.

use super::service;

#[test]
fn replicated() {
    service(
        "
deploy:
  mode: replicated
  replicas: 2
  endpoint_mode: vip
",
        "
deploy:
  mode: replicated
  replicas: 2
  endpoint_mode: vip
",
    );
}

#[test]
fn labels() {
    service(
        r#"
deploy:
  labels:
    com.example.description: "This label will appear on the web service"
"#,
        "
deploy:
  labels:
    com.example.description: This label will appear on the web service
",
    );
}

#[test]
fn one_for_each_node() {
    service(
        "
deploy:
  mode: global
",
        "
deploy:
  mode: global
",
    );
}

#[test]
fn constraints() {
    service(
        "
deploy:
  placement:
    constraints:
      - disktype=ssd
",
        "
deploy:
  placement:
    constraints:
    - disktype=ssd
",
    );
}

#[test]
fn preferences() {
    service(
        "
deploy:
  placement:
    preferences:
      - spread: node.labels.zone
    max_replicas_per_node: 2
",
        "
deploy:
  placement:
    preferences:
    - spread: node.labels.zone
    max_replicas_per_node: 2
",
    );
}

#[test]
fn resources() {
    service(
        "
deploy:
  resources:
    limits:
      cpus: '0.50'
      memory: 50M
      pids: 1
    reservations:
      cpus: '0.25'
      memory: 20M
",
        r#"
deploy:
  resources:
    limits:
      cpus: 0.5
      memory: "52428800"
      pids: 1
    reservations:
      cpus: 0.25
      memory: "20971520"
"#,
    );
}

#[test]
fn device_capabilities() {
    service(
        r#"
deploy:
  resources:
    reservations:
      devices:
        - capabilities: ["nvidia-compute"]
"#,
        "
deploy:
  resources:
    reservations:
      devices:
      - capabilities:
        - nvidia-compute
        count: -1
",
    );
}

#[test]
fn device_driver() {
    service(
        r#"
deploy:
  resources:
    reservations:
      devices:
        - capabilities: ["nvidia-compute"]
          driver: nvidia
"#,
        "
deploy:
  resources:
    reservations:
      devices:
      - capabilities:
        - nvidia-compute
        driver: nvidia
        count: -1
",
    );
}

#[test]
fn device_count() {
    service(
        r#"
deploy:
  resources:
    reservations:
      devices:
        - capabilities: ["tpu"]
          count: 2
"#,
        "
deploy:
  resources:
    reservations:
      devices:
      - capabilities:
        - tpu
        count: 2
",
    );
}

#[test]
fn device_ids() {
    service(
        r#"
deploy:
  resources:
    reservations:
      devices:
        - capabilities: ["gpu"]
          device_ids: ["GPU-f123d1c9-26bb-df9b-1c23-4a731f61d8c7"]
"#,
        "
deploy:
  resources:
    reservations:
      devices:
      - capabilities:
        - gpu
        device_ids:
        - GPU-f123d1c9-26bb-df9b-1c23-4a731f61d8c7
",
    );
}

#[test]
fn device_options() {
    service(
        r#"
deploy:
  resources:
    reservations:
      devices:
        - capabilities: ["gpu"]
          driver: gpuvendor
          options:
            virtualization: false
"#,
        r#"
deploy:
  resources:
    reservations:
      devices:
      - capabilities:
        - gpu
        driver: gpuvendor
        count: -1
        options:
          virtualization: "false"
"#,
    );
}

#[test]
fn generic_resources() {
    service(
        "
deploy:
  resources:
    reservations:
      generic_resources:
        - discrete_resource_spec:
            kind: gpu
            value: 2
",
        "
deploy:
  resources:
    reservations:
      generic_resources:
      - discrete_resource_spec:
          kind: gpu
          value: 2
",
    );
}

#[test]
fn restart_policy() {
    service(
        "
deploy:
  restart_policy:
    condition: on-failure
    delay: 5s
    max_attempts: 3
    window: 120s
",
        r#"
deploy:
  restart_policy:
    condition: on-failure
    delay: "5s"
    max_attempts: 3
    window: "2m0s"
"#,
    );
}

#[test]
fn update_config() {
    service(
        "
deploy:
  update_config:
    parallelism: 2
    delay: 10s
    order: stop-first
",
        r#"
deploy:
  update_config:
    parallelism: 2
    delay: "10s"
    order: stop-first
"#,
    );
}

#[test]
fn rollback_config() {
    service(
        "
deploy:
  rollback_config:
    parallelism: 0
    failure_action: pause
    monitor: 1m
    max_failure_ratio: 0.1
    order: start-first
",
        r#"
deploy:
  rollback_config:
    parallelism: 0
    failure_action: pause
    monitor: "1m0s"
    max_failure_ratio: 0.1
    order: start-first
"#,
    );
}
