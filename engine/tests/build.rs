//! Building images on a private engine with the real kernel: what a Dockerfile says is what the image has.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

#[path = "common/build.rs"]
mod building;

use std::collections::BTreeMap;

use building::{Built, Context, build, control_groups, output_of};
use common::{TestEngine, with_engine};
use hoist_api::Engine as _;
use hoist_api::build::{
    BuildOutput, BuildPrune, BuildRequest, CacheLocation, DockerfileSource, SecretSource,
};

async fn image_of(engine: &TestEngine, context: &Context) -> String {
    build(engine, &context.request()).await.image()
}

#[test]
fn a_dockerfile_becomes_an_image_with_its_configuration() {
    with_engine(async |engine| {
        let context = Context::new(
            "FROM busybox\nARG WHO=nobody\nENV GREETING=hello\nWORKDIR /srv/app\nCOPY file sub/\nRUN echo \"$GREETING $WHO\" > said\n\
             LABEL a=b\nEXPOSE 80\nUSER 7\nENTRYPOINT [\"/bin/cat\"]\nCMD [\"said\"]\n",
            &[("file", "content\n")],
        );
        let mut request = context.request();
        request.args.insert("WHO".into(), "world".into());
        let built = build(&engine, &request).await;
        let image = engine.client.image_inspect(&built.image()).await.unwrap();
        assert_eq!(image.repo_tags, ["built:latest"]);
        assert_eq!(image.config.working_dir, "/srv/app");
        assert_eq!(image.config.labels["a"], "b");
        assert_eq!(image.config.user, "7");
        assert!(image.config.env.contains(&"GREETING=hello".to_owned()));
        // The base's one, and those of WORKDIR, COPY and RUN.
        assert_eq!(image.root_fs.layers.len(), 4);
        let mut create = TestEngine::shell("");
        create.config.cmd = None;
        create.config.image = "built".into();
        let id = engine.start("", &create).await;
        let wait = hoist_api::container::WaitCondition::NotRunning;
        engine.client.container_wait(&id, wait).await.unwrap();
        assert_eq!(engine.output(&id).await, "hello world\n");
    });
}

#[test]
fn a_second_build_takes_everything_from_the_cache() {
    with_engine(async |engine| {
        let context = Context::new(
            "FROM busybox\nRUN echo one > /one\nCOPY a b /files/\nRUN cat /files/a > /two\n",
            &[("a", "first\n"), ("b", "x\n"), ("unused", "1")],
        );
        let first = build(&engine, &context.request()).await;
        assert!(first.fresh.len() >= 3, "{:?}", first.fresh);
        context.write("unused", "2");
        let second = build(&engine, &context.request()).await;
        assert_eq!(second.fresh, Vec::<String>::new());
        context.write("a", "other\n");
        let third = build(&engine, &context.request()).await;
        assert_eq!(third.fresh.len(), 2, "{:?}", third.fresh);
        assert_eq!(output_of(&engine, "built", "cat /two").await, "other\n");
        let mut request = context.request();
        request.no_cache = true;
        let fourth = build(&engine, &request).await;
        assert_eq!(fourth.fresh.len(), 3, "{:?}", fourth.fresh);
        context.write("a", "first\n");
        let fifth = build(&engine, &context.request()).await;
        assert!(fifth.failure.is_none());
        assert_eq!(output_of(&engine, "built", "cat /two").await, "first\n");
    });
}

#[test]
fn stages_that_nothing_needs_never_run() {
    with_engine(async |engine| {
        let context = Context::new(
            "FROM busybox AS broken\nRUN false\nFROM busybox AS maker\nRUN echo made > /made\n\
             FROM busybox\nCOPY --from=maker /made /taken\n",
            &[],
        );
        image_of(&engine, &context).await;
        assert_eq!(output_of(&engine, "built", "cat /taken").await, "made\n");
        let mut request = context.request();
        request.target = "maker".into();
        build(&engine, &request).await.image();
        assert_eq!(output_of(&engine, "built", "cat /made").await, "made\n");
    });
}

#[test]
fn a_failed_step_tells_its_output_place_and_code() {
    with_engine(async |engine| {
        let context = Context::new(
            "FROM busybox\nRUN echo before\nRUN echo some output; echo more >&2; \\\n    exit 3\n",
            &[],
        );
        let mut request = context.request();
        request.keep_failed = true;
        let built = build(&engine, &request).await;
        let failure = built.failed();
        assert_eq!(failure.exit_code, Some(3));
        let mut output = failure.output.clone();
        output.sort();
        assert_eq!(output, ["more", "some output"]);
        let place = failure.place.as_ref().unwrap();
        assert_eq!((place.line, place.end_line), (3, 4));
        assert!(place.text.starts_with("RUN echo some output"));
        // Whoever wants to look at it can.
        assert_ne!(failure.image, "");
        assert_eq!(output_of(&engine, &failure.image, "echo ok").await, "ok\n");
        assert!(engine.client.image_inspect("built").await.is_err());
    });
}

#[test]
fn mounts_are_there_for_one_step_and_leave_no_trace() {
    with_engine(async |engine| {
        let context = Context::new(
            "FROM busybox AS other\nRUN echo from-other > /file\nFROM busybox\n\
             RUN --mount=type=bind,source=dir,target=/bound cat /bound/x > /copied\n\
             RUN --mount=type=bind,from=other,source=/file,target=/one cat /one >> /copied\n\
             RUN --mount=type=bind,source=dir,target=/rw,rw echo changed > /rw/x && cat /rw/x >> /copied\n\
             RUN --mount=type=cache,target=/cache,id=c echo kept >> /cache/log\n\
             RUN --mount=type=cache,target=/cache,id=c cat /cache/log >> /copied\n\
             RUN --mount=type=tmpfs,target=/mem echo lost > /mem/x\n\
             RUN --mount=type=secret,id=s cat /run/secrets/s > /seen && test \"$(cat /seen)\" = hidden && : > /seen\n\
             RUN --mount=type=secret,id=s,env=S test \"$S\" = hidden\n",
            &[("dir/x", "from the context\n")],
        );
        let mut request = context.request();
        request
            .secrets
            .insert("s".into(), SecretSource::Value(b"hidden".to_vec()));
        build(&engine, &request).await.image();
        assert_eq!(
            output_of(&engine, "built", "cat /copied; ls /; cat /seen").await,
            "from the context\nfrom-other\nchanged\nkept\nbin\ncopied\ndata\ndev\netc\nproc\nrun\nseen\nsys\ntmp\n"
                .replace("run\n", if has_run(&engine).await { "run\n" } else { "" })
        );
        let text = std::fs::read_to_string(context.path().join("dir/x")).unwrap();
        assert_eq!(text, "from the context\n");
    });
}

/// Whether the runtime itself makes `/run`.
async fn has_run(engine: &TestEngine) -> bool {
    output_of(engine, "busybox", "ls /").await.contains("run")
}

#[test]
fn copies_follow_ignore_files_owners_and_modes() {
    with_engine(async |engine| {
        let context = Context::new(
            "FROM busybox\nCOPY . /all/\nCOPY --chown=5:6 --chmod=600 keep/a /owned\nCOPY --exclude=*.log keep /some/\n\
             COPY <<EOF /inline\nline $HOME\nEOF\nCOPY k*p/a missing* /wild/\n",
            &[
                (
                    ".dockerignore",
                    "secret\n*.log\n!keep/b.log\nDockerfile\n.dockerignore",
                ),
                ("keep/a", "a\n"),
                ("keep/b.log", "log\n"),
                ("secret/x", "no\n"),
            ],
        );
        image_of(&engine, &context).await;
        let list = "cd /; busybox find all some wild -type f | busybox sort; busybox stat -c '%u:%g %a' /owned; cat /inline";
        assert_eq!(
            output_of(&engine, "built", list).await,
            "all/keep/a\nall/keep/b.log\nsome/a\nwild/a\n5:6 600\nline \n"
        );
    });
}

#[test]
fn archives_are_unpacked_by_add_only() {
    with_engine(async |engine| {
        let context = Context::new("FROM scratch\nADD a.tar /add/\nCOPY a.tar /copy/\n", &[]);
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, "d/in", "in\n".as_bytes())
            .unwrap();
        std::fs::write(context.path().join("a.tar"), archive.into_inner().unwrap()).unwrap();
        let place = tempfile::tempdir().unwrap();
        let mut request = context.request();
        request.outputs = vec![BuildOutput::Directory(place.path().display().to_string())];
        let built = build(&engine, &request).await;
        assert!(built.failure.is_none(), "{:?}", built.failure);
        let text = std::fs::read_to_string(place.path().join("add/d/in")).unwrap();
        assert_eq!(text, "in\n");
        assert!(place.path().join("copy/a.tar").is_file());
        // The image itself was not asked for.
        assert!(engine.client.image_inspect("built").await.is_err());
    });
}

#[test]
fn files_come_from_the_network_when_their_digest_is_right() {
    with_engine(async |engine| {
        let create = TestEngine::shell("echo hello > /index.html; httpd -f -p 80 -h /");
        let server = engine.start("server", &create).await;
        let inspect = engine.client.container_inspect(&server).await.unwrap();
        let address = &inspect.network_settings.networks["bridge"].ip_address;
        engine
            .until("the server answers", async |_| {
                common::fetch(&format!("{address}:80")).await.is_ok()
            })
            .await;
        // sha256sum of "hello" and a line's end.
        let right = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let dockerfile = |digest: &str| {
            format!("FROM busybox\nADD --checksum={digest} http://{address}/index.html /got/\n")
        };
        let context = Context::new(&dockerfile(right), &[]);
        image_of(&engine, &context).await;
        let list = "cat /got/index.html; busybox stat -c %a /got/index.html";
        assert_eq!(output_of(&engine, "built", list).await, "hello\n600\n");
        context.write("Dockerfile", &dockerfile(&right.replace("5891", "1985")));
        let built = build(&engine, &context.request()).await;
        assert!(
            built.failed().message.contains(right),
            "{:?}",
            built.failure
        );
    });
}

#[test]
fn the_same_build_gives_the_same_image() {
    with_engine(async |engine| {
        let context = Context::new(
            "FROM busybox\nARG SOURCE_DATE_EPOCH\nCOPY x /x\nRUN echo y > /y\nWORKDIR /z\n",
            &[("x", "x")],
        );
        let mut request = context.request();
        request.args = BTreeMap::from([("SOURCE_DATE_EPOCH".into(), "1000000000".into())]);
        let first = build(&engine, &request).await.image();
        engine
            .client
            .build_prune(&BuildPrune {
                all: true,
                ..Default::default()
            })
            .await
            .unwrap();
        request.no_cache = true;
        let second = build(&engine, &request).await;
        assert_eq!(second.image(), first, "{:?}", second.fresh);
    });
}

#[test]
fn wrong_dockerfiles_and_missing_things_are_told_with_their_place() {
    with_engine(async |engine| {
        let check = async |dockerfile: &str, expected: &str, line: u32| {
            let context = Context::new(dockerfile, &[]);
            let built: Built = build(&engine, &context.request()).await;
            let failure = built.failed();
            assert!(
                failure.message.contains(expected),
                "{dockerfile:?}: {}",
                failure.message
            );
            assert_eq!(failure.place.as_ref().map_or(0, |place| place.line), line);
        };
        check("FROM busybox\nRUM x\n", "unknown instruction", 2).await;
        check("FROM localhost:1/like-it\n", "localhost:1/like-it", 1).await;
        check("FROM busybox\nCOPY gone /\n", "not found", 2).await;
        check(
            "FROM busybox\nCOPY --from=busybox /gone /\n",
            "not found",
            2,
        )
        .await;
        check("FROM busybox\nRUN [\"/no/such\"]\n", "no such file", 2).await;
        check(
            "FROM busybox\nRUN --mount=type=secret,id=s,required true\n",
            "secret s",
            2,
        )
        .await;
        let missing = BuildRequest {
            dockerfile: DockerfileSource::Context("Other".into()),
            ..Context::new("", &[]).request()
        };
        let built = build(&engine, &missing).await;
        assert_ne!(built.failed().message, "");
    });
}

#[test]
fn a_build_leaves_nothing_but_its_image() {
    with_engine(async |engine| {
        let mounts = || {
            std::fs::read_to_string("/proc/thread-self/mountinfo")
                .unwrap()
                .lines()
                .count()
        };
        let before = mounts();
        let context = Context::new(
            "FROM busybox\nRUN true\nRUN --network=none true\nRUN --mount=type=bind,target=/c ls /c\nRUN exit 1\n",
            &[],
        );
        build(&engine, &context.request()).await.failed();
        assert_eq!(mounts(), before);
        assert_eq!(control_groups(&engine), Vec::<std::path::PathBuf>::new());
        let state = engine.config.state.join("c");
        let left: Vec<_> = std::fs::read_dir(&state).into_iter().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        let temporary = engine.config.root.join("build/tmp");
        engine
            .until("the build's files are removed", async |_| {
                std::fs::read_dir(&temporary).unwrap().next().is_none()
            })
            .await;
        let all = hoist_api::container::ListContainers {
            all: true,
            ..Default::default()
        };
        assert!(engine.client.containers(&all).await.unwrap().is_empty());
    });
}

#[test]
fn a_client_that_goes_ends_its_build() {
    with_engine(async |engine| {
        use futures_util::StreamExt as _;
        let context = Context::new("FROM busybox\nRUN echo started && sleep 1000\n", &[]);
        let mut events = engine
            .client
            .image_build(&context.request(), None)
            .await
            .unwrap();
        while let Some(event) = events.next().await {
            if matches!(event.unwrap(), hoist_api::build::BuildEvent::Output { .. }) {
                break;
            }
        }
        assert!(!control_groups(&engine).is_empty());
        drop(events);
        engine
            .until("the step is killed", async |engine| {
                control_groups(engine).is_empty()
            })
            .await;
    });
}

#[test]
fn steps_reach_the_network_and_resolve_names() {
    with_engine(async |engine| {
        let create = TestEngine::shell("echo hello > /index.html; httpd -f -p 80 -h /");
        let server = engine.start("server", &create).await;
        let address = engine.client.container_inspect(&server).await.unwrap();
        let address = address.network_settings.networks["bridge"]
            .ip_address
            .clone();
        let context = Context::new(
            "FROM busybox\nARG SERVER\nRUN for i in 1 2 3 4 5 6 7 8 9; do wget -qO /page http://$SERVER/ && break; busybox usleep 100000; done\n\
             RUN cat /page && cat /etc/hosts | busybox grep extra\nRUN --network=none ! wget -qO- http://$SERVER/\n",
            &[],
        );
        let mut request = context.request();
        request.args.insert("SERVER".into(), address);
        request.extra_hosts = vec!["extra:10.1.2.3".into()];
        let built = build(&engine, &request).await;
        built.image();
        assert!(built.output.contains("hello"), "{}", built.output);
        assert!(built.output.contains("10.1.2.3"), "{}", built.output);
    });
}

#[test]
fn a_cache_has_the_steps_of_the_image_or_all_of_them() {
    with_engine(async |engine| {
        let context = Context::new(
            "FROM busybox AS make\nRUN echo x > /x\nFROM busybox\nCOPY --from=make /x /y\n",
            &[],
        );
        let mut request = context.request();
        for (mode, layers) in [("", 1), ("min", 1), ("max", 2)] {
            let cache = tempfile::tempdir().unwrap();
            let mut attributes =
                BTreeMap::from([("dest".into(), cache.path().display().to_string())]);
            if !mode.is_empty() {
                attributes.insert("mode".into(), mode.to_owned());
            }
            request.cache_to = vec![CacheLocation {
                kind: "local".into(),
                attributes,
            }];
            build(&engine, &request).await.image();
            let kept = std::fs::read_dir(cache.path().join("layers")).unwrap();
            assert_eq!(kept.count(), layers, "mode={mode}");
        }
        let place = &mut request.cache_to[0];
        place.attributes.insert("mode".into(), "some".into());
        let refused = build(&engine, &request).await.failure.unwrap();
        assert!(refused.message.contains("no mode \"some\""), "{refused:?}");
    });
}

#[test]
fn a_cache_directory_saves_another_engine_the_work() {
    with_engine(async |engine| {
        let cache = tempfile::tempdir().unwrap();
        let place = |key: &str| CacheLocation {
            kind: "local".into(),
            attributes: BTreeMap::from([(key.into(), cache.path().display().to_string())]),
        };
        let context = Context::new(
            "FROM busybox\nRUN echo x > /x\nCOPY f /f\n",
            &[("f", "f\n")],
        );
        let mut request = context.request();
        request.cache_to = vec![place("dest")];
        build(&engine, &request).await.image();
        // Everything of it goes, as on an engine that never built it.
        let force = hoist_api::image::RemoveImage {
            force: true,
            no_prune: false,
        };
        engine.client.image_remove("built", force).await.unwrap();
        let pruned = engine
            .client
            .build_prune(&BuildPrune {
                all: true,
                ..Default::default()
            })
            .await
            .unwrap();
        assert!(pruned.caches_deleted.len() >= 2);
        let without = build(
            &engine,
            &BuildRequest {
                cache_from: Vec::new(),
                ..context.request()
            },
        )
        .await;
        assert_eq!(without.fresh.len(), 2, "{:?}", without.fresh);
        engine.client.image_remove("built", force).await.unwrap();
        engine
            .client
            .build_prune(&BuildPrune {
                all: true,
                ..Default::default()
            })
            .await
            .unwrap();
        let mut request = context.request();
        request.cache_from = vec![place("src")];
        let built = build(&engine, &request).await;
        assert_eq!(built.fresh, Vec::<String>::new());
        assert_eq!(output_of(&engine, "built", "cat /x /f").await, "x\nf\n");
    });
}

/// The machine's own Docker client, or why there is none.
fn docker() -> Option<std::path::PathBuf> {
    let find = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/tools/docker-cli.sh");
    let found = std::process::Command::new(find).output().ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    found.status.success().then(|| path.trim().into())
}

#[test]
fn dockers_own_client_builds_here() {
    with_engine(async |engine| {
        let Some(docker) = docker() else {
            println!("skipped: there is no Docker client and none can be had");
            return;
        };
        let run = async |arguments: &[&str]| {
            let mut command = std::process::Command::new(&docker);
            command
                .args(["-H", &format!("unix://{}", engine.config.socket.display())])
                .args(arguments)
                .env("DOCKER_BUILDKIT", "0");
            let output = tokio::task::spawn_blocking(move || command.output().unwrap())
                .await
                .unwrap();
            (
                output.status.code(),
                String::from_utf8(output.stdout).unwrap(),
                String::from_utf8(output.stderr).unwrap(),
            )
        };
        let context = Context::new(
            "FROM busybox\nENV A=b\nCOPY file /file\nRUN echo said $A\nCMD [\"cat\", \"/file\"]\n",
            &[("file", "content\n")],
        );
        let place = context.path().display().to_string();
        let (code, stdout, stderr) =
            run(&["build", "-t", "mine:1", "--label", "l=v", &place]).await;
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        for line in [
            "Step 1/5 : FROM busybox",
            "Step 4/5 : RUN echo said $A",
            "said b",
            "Successfully tagged mine:1",
        ] {
            assert!(stdout.contains(line), "{line}: {stdout}");
        }
        assert!(!stdout.contains(" ---> Using cache"), "{stdout}");
        let image = engine.client.image_inspect("mine:1").await.unwrap();
        assert_eq!(image.config.labels["l"], "v");
        let (_, again, _) = run(&["build", "-t", "mine:1", "--label", "l=v", &place]).await;
        // All but the first, those that only change the configuration, too.
        assert_eq!(again.matches(" ---> Using cache").count(), 4, "{again}");
        assert!(!again.contains("Running in"), "{again}");
        let (_, elsewhere, _) = run(&["build", "--cache-from", "no/such:1", &place]).await;
        assert!(!elsewhere.contains(" ---> Using cache"), "{elsewhere}");
        assert_eq!(
            engine.client.image_inspect("mine:1").await.unwrap().id,
            image.id
        );
        let (code, quiet, _) = run(&["build", "-q", &place]).await;
        assert_eq!(
            (code, quiet.starts_with("sha256:")),
            (Some(0), true),
            "{quiet}"
        );
        context.write("Dockerfile", "FROM busybox\nRUN exit 7\n");
        let (code, _, stderr) = run(&["build", &place]).await;
        assert_ne!(code, Some(0));
        assert!(stderr.contains("returned a non-zero code: 7"), "{stderr}");
        context.write("Dockerfile", "FROM busybox\nNONSENSE\n");
        let (code, _, stderr) = run(&["build", &place]).await;
        assert_ne!(code, Some(0));
        assert!(stderr.contains("unknown instruction: NONSENSE"), "{stderr}");
    });
}

/// Set for the process that is killed: root, state and shim of its engine.
const KILLED: &str = "HOIST_TEST_KILLED_ENGINE";

#[test]
#[allow(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
fn a_killed_engine_leaves_a_store_that_works_and_nothing_running() {
    if let Ok(places) = std::env::var(KILLED) {
        let places: Vec<&str> = places.split('\n').collect();
        let mut config = hoist_engine::EngineConfig::new(places[0], places[1]);
        config.shim = places[2].into();
        config.idle_exit = None;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(hoist_engine::run(config)).unwrap();
        return;
    }
    with_engine(async |mut engine| {
        use futures_util::StreamExt as _;
        engine.client.stop_engine(true).await.unwrap();
        engine.has_left().await;
        let config = &engine.config;
        let places =
            [&config.root, &config.state, &config.shim].map(|path| path.display().to_string());
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_killed_engine_leaves_a_store_that_works_and_nothing_running",
            ])
            .env(KILLED, places.join("\n"))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        engine.wait_until_ready().await;
        let context = Context::new(
            "FROM busybox\nRUN echo kept > /kept\nRUN echo started && sleep 1000\n",
            &[],
        );
        let mut events = engine
            .client
            .image_build(&context.request(), None)
            .await
            .unwrap();
        while let Some(event) = events.next().await {
            if matches!(event.unwrap(), hoist_api::build::BuildEvent::Output { .. }) {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(events);
        assert!(
            !control_groups(&engine).is_empty(),
            "the step outlives its engine for now"
        );
        engine.start_again().await;
        engine
            .until("the step is killed", async |engine| {
                control_groups(engine).is_empty()
            })
            .await;
        let empty = |place: &str| {
            std::fs::read_dir(engine.config.root.join(place))
                .unwrap()
                .next()
                .is_none()
        };
        assert!(empty("images/tmp") && empty("build/tmp"));
        context.write(
            "Dockerfile",
            "FROM busybox\nRUN echo kept > /kept\nCOPY --from=busybox /data/first /\n",
        );
        let built = build(&engine, &context.request()).await;
        built.image();
        assert_eq!(
            output_of(&engine, "built", "cat /kept /first").await,
            "kept\nfrom the image\n"
        );
    });
}
