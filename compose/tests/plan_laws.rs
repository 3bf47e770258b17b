//! The laws of planning, on random projects with random failures, against an engine in memory:
//! every plan passes the linter; what fails makes only its dependents be skipped; a run can be repeated until
//! it succeeds; after that there is nothing left to plan; and `down` leaves nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;

use hoist_api::fake::FakeEngine;
use hoist_compose::execute::{ExecuteOptions, Outcome, execute};
use hoist_compose::model::{
    Dependency, DependencyCondition, Healthcheck, Mount, MountType, Network, Project, Service,
    Volume,
};
use hoist_compose::observe::{Observed, observe};
use hoist_compose::plan::{
    Action, DownOptions, Live, Need, Orphans, Plan, Recreate, UpOptions, VolumeChanges, check,
    plan_down, plan_up,
};
use proptest::prelude::*;

const SERVICES: usize = 5;

/// A service of a random project.
#[derive(Clone)]
struct Shape {
    present: bool,
    is_job: bool,
    replicas: i64,
    variant: u8,
    networks: [bool; 2],
    volume: Option<u8>,
    /// For each earlier service: whether it is needed, is required, and restarts this one.
    needs: [(bool, bool, bool); SERVICES],
    shares_network_of: Option<usize>,
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shape {
            present,
            is_job,
            replicas,
            variant,
            networks,
            volume,
            needs,
            shares_network_of,
        } = self;
        let needs: Vec<String> = needs
            .iter()
            .enumerate()
            .filter(|(_, (needed, _, _))| *needed)
            .map(|(other, (_, required, restart))| {
                format!("s{other} required={required} restart={restart}")
            })
            .collect();
        write!(
            formatter,
            "[present={present} job={is_job} x{replicas} variant={variant} {networks:?} {volume:?} {needs:?} {shares_network_of:?}]"
        )
    }
}

#[derive(Debug, Clone)]
struct World {
    services: Vec<Shape>,
    network_variant: u8,
    volume_variant: u8,
}

fn shape() -> impl Strategy<Value = Shape> {
    let needs = prop::array::uniform5((
        prop::bool::weighted(0.4),
        prop::bool::weighted(0.8),
        any::<bool>(),
    ));
    let volume = prop::option::weighted(0.4, 0..2_u8);
    let share = prop::option::weighted(0.15, 0..SERVICES);
    (
        (
            prop::bool::weighted(0.85),
            prop::bool::weighted(0.25),
            0..3_i64,
            0..2_u8,
        ),
        prop::array::uniform2(any::<bool>()),
        volume,
        needs,
        share,
    )
        .prop_map(
            |((present, is_job, replicas, variant), networks, volume, needs, shares)| Shape {
                present,
                is_job,
                replicas,
                variant,
                networks,
                volume,
                needs,
                shares_network_of: shares,
            },
        )
}

fn world() -> impl Strategy<Value = World> {
    (prop::collection::vec(shape(), SERVICES), 0..2_u8, 0..2_u8).prop_map(
        |(services, network_variant, volume_variant)| World {
            services,
            network_variant,
            volume_variant,
        },
    )
}

/// Lowers a random world to a valid project.
fn project(world: &World) -> Project {
    let mut project = Project {
        name: "p".to_owned(),
        ..Project::default()
    };
    for key in ["n0", "n1"] {
        let mut network = Network {
            name: format!("p_{key}"),
            ..Network::default()
        };
        if world.network_variant == 1 {
            network
                .driver_opts
                .insert("mtu".to_owned(), "1400".to_owned());
        }
        project.networks.insert(key.to_owned(), network);
    }
    for key in ["v0", "v1"] {
        let mut volume = Volume {
            name: format!("p_{key}"),
            ..Volume::default()
        };
        if world.volume_variant == 1 {
            volume.labels.insert("variant".to_owned(), "1".to_owned());
        }
        project.volumes.insert(key.to_owned(), volume);
    }
    for (index, shape) in world
        .services
        .iter()
        .enumerate()
        .filter(|(_, shape)| shape.present)
    {
        project
            .services
            .insert(format!("s{index}"), service(world, index, shape));
    }
    project
}

fn service(world: &World, index: usize, shape: &Shape) -> Service {
    let mut service = Service {
        name: format!("s{index}"),
        image: Some("image".to_owned()),
        scale: Some(shape.replicas),
        ..Service::default()
    };
    service
        .environment
        .insert("VARIANT".to_owned(), Some(shape.variant.to_string()));
    if !is_job(world, index) {
        let test = vec!["CMD".to_owned(), "true".to_owned()];
        service.healthcheck = Some(Box::new(Healthcheck {
            test,
            ..Healthcheck::default()
        }));
    }
    for (other, &(needed, required, restart)) in shape.needs.iter().enumerate().take(index) {
        let target = &world.services[other];
        if needed && target.present {
            let condition = match (target.is_job, index % 2) {
                (true, _) => DependencyCondition::CompletedSuccessfully,
                (false, 0) => DependencyCondition::Healthy,
                (false, _) => DependencyCondition::Started,
            };
            let dependency = Dependency {
                condition,
                restart,
                required,
                ..Dependency::default()
            };
            service.depends_on.insert(format!("s{other}"), dependency);
        }
    }
    let parent = shape.shares_network_of.filter(|&parent| parent < index);
    let parent = parent.filter(|&parent| {
        let parent = &world.services[parent];
        parent.present && parent.replicas > 0 && !parent.is_job
    });
    if let Some(parent) = parent {
        service.network_mode = Some(format!("service:s{parent}"));
    } else {
        for (network, joined) in shape.networks.iter().enumerate() {
            if *joined {
                service.networks.insert(format!("n{network}"), None);
            }
        }
    }
    if let Some(volume) = shape.volume {
        service.volumes.push(Mount {
            kind: MountType::Volume,
            source: Some(format!("v{volume}")),
            target: "/data".to_owned(),
            ..Mount::default()
        });
    }
    service
}

/// A job ends at once; it is one only if someone waits for it, else it would be run again each time.
fn is_job(world: &World, index: usize) -> bool {
    let awaited = || {
        let later = world.services.iter().enumerate().skip(index + 1);
        later
            .into_iter()
            .any(|(_, other)| other.present && other.needs[index].0)
    };
    world.services[index].is_job && awaited()
}

fn engine() -> FakeEngine {
    FakeEngine::with_images(&["image"])
}

fn set_jobs(engine: &FakeEngine, world: &World) {
    for index in 0..SERVICES {
        for replica in 0..20 {
            let name = format!("p-s{index}-{replica}");
            if is_job(world, index) {
                engine.exits(&name, 0)
            } else {
                engine.runs(&name)
            }
        }
    }
}

fn up_options() -> UpOptions {
    UpOptions {
        orphans: Orphans::Remove,
        volume_changes: VolumeChanges::Recreate,
        ..UpOptions::default()
    }
}

async fn plan_now(engine: &FakeEngine, project: &Project, options: &UpOptions) -> (Plan, Observed) {
    let observed = observe(engine, "p").await.unwrap();
    let plan = plan_up(project, &observed, options).unwrap();
    assert_eq!(check(&plan, &observed), [], "in this plan:\n{plan}");
    (plan, observed)
}

async fn run(engine: &FakeEngine, plan: &Plan) -> Outcome {
    let (progress, _listening) = tokio::sync::mpsc::unbounded_channel();
    let outcome = execute(
        engine,
        plan,
        &ExecuteOptions::default(),
        &progress,
        std::future::pending(),
    )
    .await;
    check_outcome(plan, &outcome);
    outcome
}

/// Every step is in exactly one list, and exactly those behind a failure are skipped.
fn check_outcome(plan: &Plan, outcome: &Outcome) {
    let failed: BTreeSet<_> = outcome.failed.iter().map(|failure| failure.step).collect();
    let skipped: BTreeSet<_> = outcome.skipped.iter().copied().collect();
    let done: BTreeSet<_> = outcome.done.iter().copied().collect();
    assert_eq!(
        failed.len() + skipped.len() + done.len(),
        plan.steps.len(),
        "{outcome:?}\n{plan}"
    );
    for step in &plan.steps {
        let broken = step.after.iter().any(|after| {
            after.need == Need::Success
                && (failed.contains(&after.step) || skipped.contains(&after.step))
        });
        assert_eq!(skipped.contains(&step.id), broken, "step {step} of\n{plan}");
    }
}

/// Runs until it succeeds, with the failures given for the first try.
async fn converge(engine: &FakeEngine, project: &Project, failures: &[String]) {
    let (plan, _) = plan_now(engine, project, &up_options()).await;
    for failure in failures {
        engine.fail(failure);
    }
    run(engine, &plan).await;
    engine.heal();
    let (plan, _) = plan_now(engine, project, &up_options()).await;
    let outcome = run(engine, &plan).await;
    assert!(outcome.is_success(), "{outcome:?}\n{plan}");
    let (left, observed) = plan_now(engine, project, &up_options()).await;
    assert!(
        left.is_empty(),
        "after\n{plan}\nthere is still\n{left}\nin {observed:#?}"
    );
}

fn failure() -> impl Strategy<Value = String> {
    let verbs = prop::sample::select(vec!["create", "start", "stop", "remove", "rename"]);
    let containers = (verbs, 0..SERVICES, 1..3).prop_map(|(verb, service, number)| match verb {
        "rename" => format!("_p-s{service}-{number} p-s{service}"),
        verb => format!("container {verb} p-s{service}-{number}"),
    });
    let resources = prop::sample::select(vec![
        "network create p_n0",
        "network remove p_n1",
        "volume create p_v0",
        "volume remove p_v1",
    ]);
    prop_oneof![4 => containers, 1 => resources.prop_map(str::to_owned)]
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Enough to find a mistake in a few runs; `PROPTEST_CASES=6000` for a night's search.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn up_converges_whatever_fails(
        first in world(),
        second in world(),
        failures in prop::collection::vec(failure(), 0..3),
        more_failures in prop::collection::vec(failure(), 0..3),
    ) {
        block_on(async {
            let engine = engine();
            set_jobs(&engine, &first);
            converge(&engine, &project(&first), &failures).await;
            let engine = engine.clone();
            set_jobs(&engine, &second);
            converge(&engine, &project(&second), &more_failures).await;

            let observed = observe(&engine, "p").await.unwrap();
            let options = UpOptions { recreate: Recreate::Always, ..up_options() };
            let plan = plan_up(&project(&second), &observed, &options).unwrap();
            prop_assert_eq!(check(&plan, &observed), [], "in this plan:\n{}", plan);
            let outcome = run(&engine, &plan).await;
            prop_assert!(outcome.is_success(), "{:?}\n{}", outcome, plan);

            down_leaves_nothing(&engine, &more_failures).await;
            Ok(())
        })?;
    }
}

async fn down_leaves_nothing(engine: &FakeEngine, failures: &[String]) {
    let options = DownOptions {
        volumes: true,
        remove_orphans: true,
        ..DownOptions::default()
    };
    let plan_now = || async {
        let observed = observe(engine, "p").await.unwrap();
        let plan = plan_down(&Live::from_labels("p", &observed), &observed, &options).unwrap();
        assert_eq!(check(&plan, &observed), [], "in this plan:\n{plan}");
        plan
    };
    for failure in failures {
        engine.fail(failure);
    }
    run(engine, &plan_now().await).await;
    engine.heal();
    let plan = plan_now().await;
    assert!(run(engine, &plan).await.is_success());
    let observed = observe(engine, "p").await.unwrap();
    assert_eq!(
        (
            observed.containers.len(),
            observed.networks.len(),
            observed.volumes.len()
        ),
        (0, 0, 0),
        "{plan}"
    );
}

#[test]
fn starts_follow_their_gates() {
    let world = World {
        services: (0..SERVICES)
            .map(|index| Shape {
                present: index < 2,
                is_job: false,
                replicas: 1,
                variant: 0,
                networks: [true, false],
                volume: None,
                needs: [(true, true, false); SERVICES],
                shares_network_of: None,
            })
            .collect(),
        network_variant: 0,
        volume_variant: 0,
    };
    block_on(async {
        let engine = engine();
        let (plan, _) = plan_now(&engine, &project(&world), &up_options()).await;
        assert!(
            plan.steps
                .iter()
                .all(|step| !matches!(step.action, Action::StopContainer { .. }))
        );
        run(&engine, &plan).await;
        let starts: Vec<String> = engine
            .calls()
            .into_iter()
            .filter(|call| call.starts_with("container start"))
            .collect();
        assert_eq!(starts, ["container start p-s0-1", "container start p-s1-1"]);
    });
}
