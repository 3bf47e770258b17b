//! `examples/shop`, the demo: nginx, two API replicas, PostgreSQL, Redis.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::common::host::kill;
use crate::common::{Project, TestHost, can_run, http, wait_until};

const SHOP: &str = "127.0.0.1:8080";

/// A host with the shop's images.
fn shop_host() -> TestHost {
    TestHost::new().with_shop()
}

/// The example as a project of this host, in a copy so that tests can edit it.
fn shop(host: &TestHost) -> Project<'_> {
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop");
    let to = host.path("projects").join("shop");
    if !to.exists() {
        let copied = std::process::Command::new("cp")
            .arg("-R")
            .arg(from)
            .arg(&to)
            .status()
            .unwrap();
        assert!(copied.success());
    }
    Project::new(host, to)
}

#[track_caller]
fn ask(address: &str, request: &str) -> Value {
    let answer =
        http(address, request).unwrap_or_else(|error| panic!("{address} {request}: {error}"));
    assert_eq!(answer.status, 200, "{request}: {}", answer.body);
    answer.json()
}

fn orders(address: &str) -> u64 {
    ask(address, "GET /api/shop")["orders"].as_u64().unwrap()
}

#[test]
fn the_shop_answers_through_nginx_with_data_of_both_stores() {
    if !can_run() {
        return;
    }
    let host = shop_host();
    let shop = shop(&host);
    shop.up();

    let page = http(SHOP, "GET /").unwrap();
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<!doctype html>"), "{}", page.body);

    let first = ask(SHOP, "GET /api/shop");
    assert_eq!(
        first["products"].as_array().map(Vec::len),
        Some(4),
        "PostgreSQL's products: {first}"
    );
    assert_eq!(first["orders"], 0);
    let visits = first["visits"].as_u64().unwrap();
    assert_eq!(
        ask(SHOP, "GET /api/shop")["visits"].as_u64(),
        Some(visits + 1),
        "Redis counts"
    );

    ask(SHOP, "POST /api/orders?product=2");
    assert_eq!(orders(SHOP), 1);

    // Every service is healthy, and up again does nothing.
    for container in shop.containers() {
        assert_eq!(container["Health"], "healthy", "{container}");
    }
    shop.is_at_rest();
    let before = ids(&shop);
    shop.up();
    assert_eq!(ids(&shop), before, "up again does nothing");
}

/// The ids of a project's containers by name.
fn ids(project: &Project<'_>) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    project
        .containers()
        .iter()
        .map(|container| (text(&container["Name"]), text(&container["ID"])))
        .collect()
}

#[test]
fn the_two_replicas_share_the_load_by_their_name() {
    if !can_run() {
        return;
    }
    let host = shop_host();
    let shop = shop(&host);
    shop.up();
    let mut served: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..40 {
        let replica = ask(SHOP, "GET /api/health")["replica"]
            .as_str()
            .unwrap()
            .to_owned();
        *served.entry(replica).or_default() += 1;
    }
    assert_eq!(served.len(), 2, "{served:?}");
    assert!(served.values().all(|count| *count >= 5), "{served:?}");
}

#[test]
fn data_outlives_down_and_goes_with_down_v() {
    if !can_run() {
        return;
    }
    let host = shop_host();
    let shop = shop(&host);
    shop.up();
    ask(SHOP, "POST /api/orders?product=1");
    shop.down(&[]);
    assert!(shop.containers().is_empty());
    assert!(http(SHOP, "GET /").is_err(), "nothing listens");

    shop.up();
    assert_eq!(orders(SHOP), 1, "the order is still there");
    shop.down(&["-v"]);
    assert!(
        !host
            .hoist(&["volume", "ls", "-q"])
            .ok()
            .stdout
            .contains("shop_data")
    );

    shop.up();
    assert_eq!(orders(SHOP), 0, "a new database");
}

#[test]
fn a_killed_server_is_restarted() {
    if !can_run() {
        return;
    }
    let host = shop_host();
    let shop = shop(&host);
    shop.up();
    ask(SHOP, "POST /api/orders?product=1");
    for container in ["shop-db-1", "shop-web-1", "shop-cache-1"] {
        let before = shop.pid(container);
        kill(before);
        wait_until(
            Duration::from_secs(20),
            &format!("{container} runs again"),
            || {
                let state = shop.inspect(container)["State"].clone();
                state["Running"] == true
                    && state["Pid"]
                        .as_u64()
                        .is_some_and(|pid| pid != 0 && pid != u64::from(before))
            },
        );
        assert!(shop.inspect(container)["RestartCount"].as_u64() >= Some(1));
        wait_until(
            Duration::from_secs(30),
            &format!("the shop answers after {container} was killed"),
            || http(SHOP, "GET /api/shop").is_ok_and(|answer| answer.status == 200),
        );
    }
    assert_eq!(orders(SHOP), 1, "the order survived its database's death");
}

#[test]
fn clients_do_not_notice_that_the_engine_is_killed() {
    if !can_run() {
        return;
    }
    let host = shop_host();
    let shop = shop(&host);
    shop.up();
    let stop = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(AtomicUsize::new(0));
    // A thread started here is inside the host's namespaces as well.
    let client = std::thread::spawn({
        let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
        move || {
            let mut failures = Vec::new();
            while !stop.load(Ordering::Relaxed) && answers.load(Ordering::Relaxed) < 100_000 {
                match http(SHOP, "GET /api/health") {
                    Ok(answer) if answer.status == 200 => {
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                    other => failures.push(format!("{other:?}")),
                }
            }
            failures
        }
    });
    let more = |count: usize| {
        let goal = answers.load(Ordering::Relaxed) + count;
        wait_until(
            Duration::from_secs(30),
            "more requests are answered",
            || answers.load(Ordering::Relaxed) >= goal,
        );
    };
    more(20);
    for _ in 0..3 {
        host.kill_engine();
        more(50);
        assert_eq!(
            shop.hoist(&["ps", "-q"]).ok().lines().len(),
            5,
            "the next command starts an engine that knows all"
        );
        more(20);
    }
    stop.store(true, Ordering::Relaxed);
    let failures = client.join().unwrap();
    assert!(
        failures.is_empty(),
        "{} failures: {:?}",
        failures.len(),
        failures.first()
    );
    assert!(
        shop.hoist(&["logs", "api"])
            .ok()
            .stdout
            .contains("listening on port 8000")
    );
    shop.is_at_rest();
}

#[test]
fn a_second_project_of_the_same_file_runs_beside_the_first() {
    if !can_run() {
        return;
    }
    let host = shop_host();
    let first = shop(&host);
    first.up();
    ask(SHOP, "POST /api/orders?product=1");
    let second = shop(&host)
        .with("COMPOSE_PROJECT_NAME", "second")
        .with("SHOP_PORT", "8081");
    second.up();
    assert_eq!(orders("127.0.0.1:8081"), 0, "its own database");
    assert_eq!(orders(SHOP), 1);
    second.down(&["-v"]);
    assert_eq!(orders(SHOP), 1, "the first is untouched");
    assert_eq!(first.containers().len(), 5);
}

#[test]
fn a_changed_environment_recreates_only_its_service() {
    if !can_run() {
        return;
    }
    let host = shop_host();
    let before_change = shop(&host);
    before_change.up();
    let before = ids(&before_change);
    let changed = shop(&host).with("SHOP_NAME", "Other");
    changed
        .hoist(&["plan", "--exit-code"])
        .exits(2)
        .says(&["container shop-api-1", "configuration changed"]);
    changed.up();
    let after = ids(&changed);
    for (name, id) in &before {
        let same = after.get(name) == Some(id);
        assert_eq!(same, !name.starts_with("shop-api-"), "{name}");
    }
    wait_until(Duration::from_secs(10), "the new replicas answer", || {
        ask(SHOP, "GET /api/shop")["shop"] == "Other"
    });
    changed.is_at_rest();
}

#[test]
fn every_file_of_the_example_is_used() {
    // The name by which tests/tidy.rs sees that this example is a test.
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop");
    let text = |path: &str| std::fs::read_to_string(dir.join(path)).unwrap();
    for (user, path, file) in [
        ("compose.yaml", "./web/nginx.conf", "web/nginx.conf"),
        ("compose.yaml", "./db/init", "db/init/schema.sql"),
        (
            "compose.yaml",
            "./secrets/db_password.txt",
            "secrets/db_password.txt",
        ),
        ("compose.yaml", "context: web", "web/Dockerfile"),
        ("compose.yaml", "context: api", "api/Dockerfile"),
        ("compose.yaml", "context: db", "db/Dockerfile"),
        ("compose.yaml", "context: cache", "cache/Dockerfile"),
        ("web/Dockerfile", "COPY --link html", "web/html/index.html"),
        ("api/Dockerfile", "COPY --link api.py", "api/api.py"),
        (
            "db/Dockerfile",
            "docker-entrypoint.sh /usr",
            "db/docker-entrypoint.sh",
        ),
    ] {
        assert!(text(user).contains(path), "{user}: {path}");
        assert!(dir.join(file).exists(), "{file}");
    }
}

#[test]
fn the_shop_runs_with_user_namespaces() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    let mut start = host.hoist_command();
    start
        .args(["engine", "start"])
        .env("HOIST_USERNS_REMAP", "default");
    assert!(start.output().unwrap().status.success());
    let host = host.with_shop();
    let shop = shop(&host);
    shop.up();
    let before = orders(SHOP);
    ask(SHOP, "GET /api/shop");
    for container in ["shop-db-1", "shop-cache-1", "shop-web-1"] {
        let status = std::fs::read_to_string(format!("/proc/{}/status", shop.pid(container)));
        let status = status.unwrap();
        let line = status.lines().find(|line| line.starts_with("Uid:"));
        let user = line.unwrap().split_whitespace().nth(1).unwrap();
        assert!(user.parse::<u32>().unwrap() > 65_536, "{container}: {user}");
    }
    shop.down(&[]);
    shop.up();
    assert!(orders(SHOP) >= before, "data survives");
    shop.down(&["-v"]);
}
