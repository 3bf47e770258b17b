//! Carrying plans out against an engine in memory: waits, their failures, cancelling, doing it again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::future::pending;
use std::time::Duration;

use hoist_api::Engine;
use hoist_api::fake::FakeEngine;
use hoist_compose::execute::{ExecuteOptions, Outcome, ProgressEvent, execute};
use hoist_compose::model::{
    Config, Dependency, DependencyCondition, FileReference, Healthcheck, Network, Project, Service,
};
use hoist_compose::observe::observe;
use hoist_compose::plan::{DownOptions, Live, Plan, UpOptions, Wait, check, plan_down, plan_up};
use tokio::sync::mpsc;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

fn service(check: bool) -> Service {
    let mut service = Service {
        image: Some("image".to_owned()),
        ..Service::default()
    };
    service.networks.insert("default".to_owned(), None);
    if check {
        let test = vec!["CMD".to_owned(), "true".to_owned()];
        service.healthcheck = Some(Box::new(Healthcheck {
            test,
            ..Healthcheck::default()
        }));
    }
    service
}

fn project(services: Vec<(&str, Service)>) -> Project {
    let mut project = Project {
        name: "p".to_owned(),
        ..Project::default()
    };
    let network = Network {
        name: "p_default".to_owned(),
        ..Network::default()
    };
    project.networks.insert("default".to_owned(), network);
    project.services = services
        .into_iter()
        .map(|(name, service)| (name.to_owned(), service))
        .collect();
    project
}

/// `web`, which waits for `db` to meet a condition.
fn web_and_db(condition: DependencyCondition, check: bool) -> Project {
    let mut web = service(false);
    let dependency = Dependency {
        condition,
        ..Dependency::default()
    };
    web.depends_on.insert("db".to_owned(), dependency);
    project(vec![("web", web), ("db", service(check))])
}

struct Ran {
    outcome: Outcome,
    plan: Plan,
    events: Vec<ProgressEvent>,
}

impl Ran {
    fn errors(&self) -> Vec<String> {
        self.outcome
            .failed
            .iter()
            .map(|failure| failure.error.to_string())
            .collect()
    }

    fn lines(&self) -> Vec<String> {
        self.events
            .iter()
            .map(|event| format!("{} {}", event.object, event.status.as_str()))
            .collect()
    }
}

async fn up(engine: &FakeEngine, project: &Project, options: &UpOptions) -> Ran {
    up_until(engine, project, options, pending()).await
}

async fn up_until(
    engine: &FakeEngine,
    project: &Project,
    options: &UpOptions,
    cancel: impl Future<Output = ()>,
) -> Ran {
    let observed = observe(engine, &project.name).await.unwrap();
    let plan = plan_up(project, &observed, options).unwrap();
    assert_eq!(check(&plan, &observed), [], "in this plan:\n{plan}");
    run(engine, plan, cancel).await
}

async fn run(engine: &FakeEngine, plan: Plan, cancel: impl Future<Output = ()>) -> Ran {
    let (progress, mut listening) = mpsc::unbounded_channel();
    let options = ExecuteOptions::default();
    let running = execute(engine, &plan, &options, &progress, cancel);
    let outcome = timeout(SOON, running).await.expect("the run ends");
    let events = std::iter::from_fn(|| listening.try_recv().ok()).collect();
    Ran {
        outcome,
        plan,
        events,
    }
}

async fn state(engine: &FakeEngine, container: &str) -> String {
    engine
        .container_inspect(container)
        .await
        .unwrap()
        .state
        .status
}

#[tokio::test]
async fn progress_is_told_in_composes_words() {
    let engine = FakeEngine::with_images(&["image"]);
    let mut project = project(vec![("web", service(false))]);
    let ran = up(&engine, &project, &UpOptions::default()).await;
    assert!(ran.outcome.is_success());
    let expected = [
        "network p_default Creating",
        "network p_default Created",
        "container p-web-1 Creating",
        "container p-web-1 Created",
        "container p-web-1 Starting",
        "container p-web-1 Started",
    ];
    assert_eq!(ran.lines(), expected);

    project.services["web"]
        .environment
        .insert("A".to_owned(), Some("1".to_owned()));
    let ran = up(&engine, &project, &UpOptions::default()).await;
    let expected = [
        "container p-web-1 Recreate",
        "container p-web-1 Recreated",
        "container p-web-1 Starting",
        "container p-web-1 Started",
    ];
    assert_eq!(ran.lines(), expected);

    let ran = up(&engine, &project, &UpOptions::default()).await;
    assert_eq!(
        (ran.lines().len(), ran.plan.unchanged),
        (0, vec!["p-web-1".to_owned()])
    );
}

#[tokio::test]
async fn a_dependent_starts_when_the_health_check_passes() {
    let engine = FakeEngine::with_images(&["image"]);
    engine.health("p-db-1", "starting");
    let project = web_and_db(DependencyCondition::Healthy, true);
    let options = UpOptions::default();
    let running = up(&engine, &project, &options);
    let changing = async {
        wait_for(&engine, "p-db-1", "running").await;
        assert_eq!(state(&engine, "p-web-1").await, "created");
        engine.health("p-db-1", "healthy");
    };
    let (ran, ()) = tokio::join!(running, changing);
    assert!(ran.outcome.is_success(), "{:?}", ran.outcome);
    let lines = ran.lines();
    let healthy = lines
        .iter()
        .position(|line| line == "container p-db-1 Healthy");
    let starting = lines
        .iter()
        .position(|line| line == "container p-web-1 Starting");
    assert!(healthy.unwrap() < starting.unwrap(), "{lines:?}");
}

async fn wait_for(engine: &FakeEngine, container: &str, status: &str) {
    let reached = async {
        while engine
            .container_inspect(container)
            .await
            .map_or(true, |found| found.state.status != status)
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, reached)
        .await
        .expect("the container gets there");
}

/// One run that fails: the error, and what became of the dependent.
async fn check_failure(engine: FakeEngine, project: Project, error: &str) {
    let ran = up(&engine, &project, &UpOptions::default()).await;
    assert_eq!(ran.errors(), [error]);
    assert!(!ran.outcome.is_success());
    assert_eq!(state(&engine, "p-web-1").await, "created");
}

#[tokio::test]
async fn what_a_dependency_does_wrong_is_said() {
    let engine = || FakeEngine::with_images(&["image"]);
    let (healthy, completed) = (
        DependencyCondition::Healthy,
        DependencyCondition::CompletedSuccessfully,
    );

    let unhealthy = engine();
    unhealthy.health("p-db-1", "unhealthy");
    let error = "dependency failed to start: container p-db-1 is unhealthy";
    check_failure(unhealthy, web_and_db(healthy, true), error).await;

    let error = "dependency failed to start: container p-db-1 has no healthcheck configured";
    check_failure(engine(), web_and_db(healthy, false), error).await;

    let exiting = engine();
    exiting.exits("p-db-1", 1);
    let error = "dependency failed to start: container p-db-1 exited (1)";
    check_failure(exiting, web_and_db(healthy, true), error).await;

    let failing = engine();
    failing.exits("p-db-1", 3);
    let error = "service \"db\" didn't complete successfully: exit 3";
    check_failure(failing, web_and_db(completed, false), error).await;
}

#[tokio::test]
async fn an_optional_dependency_only_warns() {
    let engine = FakeEngine::with_images(&["image"]);
    engine.health("p-db-1", "unhealthy");
    let mut project = web_and_db(DependencyCondition::Healthy, true);
    project.services["web"].depends_on["db"].required = false;
    let ran = up(&engine, &project, &UpOptions::default()).await;
    assert!(ran.outcome.is_success());
    let expected = "optional dependency \"db\" failed to start: container p-db-1 is unhealthy";
    assert_eq!(ran.outcome.warnings, [expected]);
    assert_eq!(state(&engine, "p-web-1").await, "running");
}

#[tokio::test]
async fn a_job_runs_once_and_again_only_with_its_dependents() {
    let engine = FakeEngine::with_images(&["image"]);
    engine.exits("p-db-1", 0);
    let project = web_and_db(DependencyCondition::CompletedSuccessfully, false);
    assert!(
        up(&engine, &project, &UpOptions::default())
            .await
            .outcome
            .is_success()
    );
    assert!(
        up(&engine, &project, &UpOptions::default())
            .await
            .plan
            .is_empty()
    );
    engine.exit_now("p-web-1", 1);
    let ran = up(&engine, &project, &UpOptions::default()).await;
    let expected = "#1 container p-db-1: start (exited (0))\n#2 service db: wait until completed after #1\n#3 container p-web-1: start (exited (1)) after #2\n";
    assert_eq!(ran.plan.to_string(), expected);
}

#[tokio::test]
async fn waiting_ends_with_ready_services_or_says_why_not() {
    let wait = |seconds| {
        Some(Wait {
            timeout: Some(Duration::from_millis(seconds)),
        })
    };
    let options = |milliseconds| UpOptions {
        wait: wait(milliseconds),
        ..UpOptions::default()
    };
    let engine = FakeEngine::with_images(&["image"]);
    let one = project(vec![("web", service(true))]);
    assert!(
        up(&engine, &one, &options(10_000))
            .await
            .outcome
            .is_success()
    );
    assert!(up(&engine, &one, &options(10_000)).await.plan.is_empty());

    let engine = FakeEngine::with_images(&["image"]);
    engine.health("p-web-1", "starting");
    let errors = up(&engine, &one, &options(30)).await.errors();
    assert_eq!(
        errors,
        ["application not healthy after 30ms: still waiting for container p-web-1"]
    );

    let engine = FakeEngine::with_images(&["image"]);
    engine.exits("p-web-1", 0);
    let errors = up(
        &engine,
        &project(vec![("web", service(false))]),
        &options(10_000),
    )
    .await
    .errors();
    assert_eq!(errors, ["container p-web-1 exited (0)"]);
}

#[tokio::test]
async fn cancelling_leaves_a_state_that_the_next_run_completes() {
    let engine = FakeEngine::with_images(&["image"]);
    engine.health("p-db-1", "starting");
    let project = web_and_db(DependencyCondition::Healthy, true);
    let ran = up_until(
        &engine,
        &project,
        &UpOptions::default(),
        wait_for(&engine, "p-db-1", "running"),
    )
    .await;
    assert!(ran.outcome.cancelled && ran.outcome.failed.is_empty());
    let left: Vec<String> = ran
        .outcome
        .skipped
        .iter()
        .map(|step| ran.plan.step(*step).to_string())
        .collect();
    let expected = [
        "#5 service db: wait until healthy after #4",
        "#6 container p-web-1: start after #3, #5",
    ];
    assert_eq!(left, expected);
    engine.health("p-db-1", "healthy");
    let again = up(&engine, &project, &UpOptions::default()).await;
    assert_eq!(
        again.plan.to_string(),
        "#1 container p-web-1: start (created)\n"
    );
    assert!(again.outcome.is_success());
}

#[tokio::test]
async fn a_container_that_exists_already_is_taken_only_if_it_is_ours() {
    let engine = FakeEngine::with_images(&["image"]);
    let project = project(vec![("web", service(false))]);
    let observed = observe(&engine, "p").await.unwrap();
    let plan = plan_up(&project, &observed, &UpOptions::default()).unwrap();
    assert!(
        run(&engine, plan.clone(), pending())
            .await
            .outcome
            .is_success()
    );
    // The same plan again, as when the answers of the first run were lost.
    assert!(
        run(&engine, plan.clone(), pending())
            .await
            .outcome
            .is_success()
    );

    let engine = FakeEngine::with_images(&["image"]);
    let mut other = project.clone();
    other.name = "other".to_owned();
    other.networks["default"].name = "other_default".to_owned();
    other.services["web"].container_name = Some("p-web-1".to_owned());
    assert!(
        up(&engine, &other, &UpOptions::default())
            .await
            .outcome
            .is_success()
    );
    let errors = run(&engine, plan, pending()).await.errors();
    let taken = "cannot create container p-web-1: the name is in use by service \"web\" of project \"other\"";
    assert_eq!(errors, [taken]);
}

#[tokio::test]
async fn contents_are_written_before_the_start_even_after_an_interruption() {
    let engine = FakeEngine::with_images(&["image"]);
    let mut web = service(false);
    web.configs.push(FileReference {
        source: "app".to_owned(),
        ..FileReference::default()
    });
    let mut project = project(vec![("web", web)]);
    let config = Config {
        name: "p_app".to_owned(),
        content: Some("a=1".to_owned()),
        ..Config::default()
    };
    project.configs.insert("app".to_owned(), config);
    engine.fail("container put");
    let failed = up(&engine, &project, &UpOptions::default()).await;
    assert_eq!(
        failed.errors(),
        ["cannot write secrets and configs into container p-web-1"]
    );
    assert_eq!(state(&engine, "p-web-1").await, "created");
    engine.heal();
    engine.clear_calls();
    assert!(
        up(&engine, &project, &UpOptions::default())
            .await
            .outcome
            .is_success()
    );
    let calls = engine.calls();
    assert!(
        calls[0].starts_with("container put") && calls[1] == "container start p-web-1",
        "{calls:?}"
    );

    project.configs["app"].content = Some("a=2".to_owned());
    let changed = up(&engine, &project, &UpOptions::default()).await;
    assert!(
        changed.plan.to_string().contains("(configuration changed)"),
        "{}",
        changed.plan
    );
}

#[tokio::test]
async fn a_network_that_others_use_stays_with_a_warning() {
    let engine = FakeEngine::with_images(&["image"]);
    let project = project(vec![("web", service(false))]);
    assert!(
        up(&engine, &project, &UpOptions::default())
            .await
            .outcome
            .is_success()
    );
    let mut stranger = hoist_api::container::ContainerCreate::default();
    stranger.config.image = "image".to_owned();
    stranger.host_config.network_mode = "p_default".to_owned();
    engine
        .container_create("stranger", &stranger)
        .await
        .unwrap();
    engine.container_start("stranger").await.unwrap();

    let observed = observe(&engine, "p").await.unwrap();
    let live = Live::from_project(&project, &observed).unwrap();
    let plan = plan_down(&live, &observed, &DownOptions::default()).unwrap();
    let ran = run(&engine, plan, pending()).await;
    assert!(ran.outcome.is_success());
    assert_eq!(
        ran.outcome.warnings,
        ["network p_default: Resource is still in use"]
    );
}

#[tokio::test]
async fn an_engine_that_goes_away_for_a_moment_is_no_failure() {
    let engine = FakeEngine::with_images(&["image"]);
    let mut project = project(vec![("web", service(false))]);
    engine.interrupt("container create p-web-1");
    engine.interrupt("container start p-web-1");
    assert!(
        up(&engine, &project, &UpOptions::default())
            .await
            .outcome
            .is_success()
    );

    project.services["web"]
        .environment
        .insert("A".to_owned(), Some("1".to_owned()));
    engine.interrupt("container remove");
    engine.interrupt("container rename");
    let ran = up(&engine, &project, &UpOptions::default()).await;
    assert!(ran.outcome.is_success(), "{:?}", ran.outcome);
    assert!(
        up(&engine, &project, &UpOptions::default())
            .await
            .plan
            .is_empty()
    );
}
