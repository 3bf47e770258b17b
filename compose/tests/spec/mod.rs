//! The Compose Specification's own examples, one file per attribute: what is written, and the canonical form of it.
//!
//! Docker Compose makes the same of them, but for what `DEVIATIONS.md` names.

mod annotations;
mod attach;
mod blkio_config;
mod build;
mod build_secrets;
mod cap_add;
mod cap_drop;
mod cgroup;
mod cgroup_parent;
mod command;
mod configs;
mod configs_section;
mod container_name;
mod cpu_count;
mod cpu_percent;
mod cpu_period;
mod cpu_quota;
mod cpu_rt_period;
mod cpu_rt_runtime;
mod cpu_shares;
mod cpus;
mod cpuset;
mod credential_spec;
mod depends_on;
mod deploy;
mod develop;
mod device_cgroup_rules;
mod devices;
mod dns;
mod dns_opt;
mod dns_search;
mod domainname;
mod entrypoint;
mod env_file;
mod environment;
mod expose;
mod extends;
mod extensions;
mod external_links;
mod extra_hosts;
mod fragments;
mod gpus;
mod group_add;
mod healthcheck;
mod hostname;
mod image;
mod include;
mod init;
mod interpolation;
mod ipc;
mod isolation;
mod label_file;
mod labels;
mod links;
mod logging;
mod mac_address;
mod mem_limit;
mod mem_reservation;
mod mem_swappiness;
mod memswap_limit;
mod merge;
mod models;
mod models_section;
mod name;
mod network_mode;
mod networks;
mod networks_section;
mod oom_kill_disable;
mod oom_score_adj;
mod pid;
mod pids_limit;
mod platform;
mod ports;
mod post_start;
mod pre_start;
mod pre_stop;
mod privileged;
mod profiles;
mod profiles_section;
mod provider;
mod pull_policy;
mod pull_refresh_after;
mod read_only;
mod restart;
mod runtime;
mod scale;
mod secrets;
mod secrets_section;
mod security_opt;
mod services_section;
mod shm_size;
mod stdin_open;
mod stop_grace_period;
mod stop_signal;
mod storage_opt;
mod sysctls;
mod tmpfs;
mod tty;
mod ulimits;
mod use_api_socket;
mod user;
mod userns_mode;
mod uts;
mod version;
mod volumes;
mod volumes_from;
mod volumes_section;
mod working_dir;

use hoist_compose::load::{LoadOptions, canonical, load};
use serde_json::{Map, Value};

use super::common::{MemoryFiles, options};

/// What the examples refer to.
const WORLD: &str = "  db:
    image: postgres
  redis:
    image: redis
  built:
    build: ./base
networks:
  front: {}
  back: {}
volumes:
  data: {}
configs:
  my_config:
    file: ./my_config.txt
  my_other_config:
    external: true
secrets:
  cert:
    file: ./server.cert
models:
  my_model:
    model: ai/model
";

const FILES: &[(&str, &str)] = &[
    ("my_config.txt", "text\n"),
    ("server.cert", "cert\n"),
    (".env", "RACK_ENV=development\nVAR=\"quoted\"\n"),
    ("a.env", "A=1\nBOTH=a\n"),
    ("b.env", "B=2\nBOTH=b\n"),
    ("raw.env", "PASSWORD=\"a$b\"\n"),
    ("app.labels", "com.example.team=web\n"),
    (
        "additional.labels",
        "com.example.team=api\ncom.example.tier=2\n",
    ),
    (
        "common.yml",
        "services:\n  webapp:\n    image: example/webapp\n    environment: {TZ: utc}\n    volumes: [\"./data:/data\"]\n",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("FROM_SHELL", "shell"),
    ("OAUTH_TOKEN", "token"),
    ("HOME", "/home/tester"),
];

/// A service `app` with these attributes has this canonical form. The image `example/app` and the default network,
/// which every service without others has, are left out.
#[track_caller]
fn service(attributes: &str, expected: &str) {
    let given = |key: &str| attributes.lines().any(|line| line.starts_with(key));
    let image = if ["image:", "build:", "provider:"].into_iter().any(given) {
        ""
    } else {
        "    image: example/app\n"
    };
    let lines: String = attributes
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    let mut project = canonical_form(&format!("services:\n  app:\n{image}{lines}{WORLD}"));
    let mut app = project["services"]["app"].take();
    without_defaults(&mut app);
    if app["image"] == "example/app" {
        app.as_object_mut().unwrap().shift_remove("image");
    }
    assert_same(&app, expected);
}

/// A file has this canonical form. The name `p` of the project and the default network are left out.
#[track_caller]
fn file(text: &str, expected: &str) {
    let mut project = canonical_form(text);
    for service in project["services"].as_object_mut().unwrap().values_mut() {
        without_defaults(service);
    }
    let map = project.as_object_mut().unwrap();
    if map["name"] == "p" {
        map.shift_remove("name");
    }
    if let Some(networks) = map.get_mut("networks").and_then(Value::as_object_mut) {
        networks.retain(|name, network| name != "default" || network["name"] != "p_default");
    }
    if map
        .get("networks")
        .and_then(Value::as_object)
        .is_some_and(Map::is_empty)
    {
        map.shift_remove("networks");
    }
    assert_same(&project, expected);
}

#[track_caller]
fn canonical_form(text: &str) -> Value {
    let files = FILES.iter().copied().chain([("compose.yaml", text)]);
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let options = LoadOptions {
        environment: ENVIRONMENT.iter().map(own).collect(),
        profiles: vec!["*".to_owned()],
        ..options()
    };
    match load(&options, &MemoryFiles::new(files)) {
        Ok(loaded) => canonical::project_value(&loaded.project),
        Err(error) => panic!("refused:\n{}", error.render(false)),
    }
}

fn without_defaults(service: &mut Value) {
    let map = service.as_object_mut().unwrap();
    map.retain(|name, value| {
        !matches!(name.as_str(), "command" | "entrypoint") || !value.is_null()
    });
    if map
        .get("networks")
        .is_some_and(|networks| *networks == serde_json::json!({"default": null}))
    {
        map.shift_remove("networks");
    }
}

#[track_caller]
fn assert_same(got: &Value, expected: &str) {
    let expected: Value = serde_yaml::from_str(expected).expect("the expected text is YAML");
    assert!(
        *got == expected,
        "expected:\n{}\ngot:\n{}",
        canonical::to_yaml(&expected),
        canonical::to_yaml(got)
    );
}
