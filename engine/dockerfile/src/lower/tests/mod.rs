//! From Dockerfiles to graphs.

mod checks;

use super::*;
use crate::graph::{
    Chmod, CopyOp, GitSource, Healthcheck, MountKind, Network, RunOp, Sharing, Source,
};
use crate::ignore::Ignore;
use crate::options::{Base, NamedContext};
use crate::parse::parse;

/// A build of a text.
struct Build {
    text: String,
    options: Options,
    bases: Vec<(&'static str, ImageConfig)>,
}

fn build(text: &str) -> Build {
    let platform = Platform::parse("linux/amd64").unwrap();
    Build {
        text: text.to_owned(),
        options: Options {
            target_platform: platform.clone(),
            build_platform: platform,
            ..Options::default()
        },
        bases: Vec::new(),
    }
}

impl Build {
    fn arg(mut self, name: &str, value: &str) -> Self {
        self.options
            .build_args
            .insert(name.to_owned(), value.to_owned());
        self
    }

    fn target(mut self, name: &str) -> Self {
        self.options.target = Some(name.to_owned());
        self
    }

    fn base(mut self, reference: &'static str, config: ImageConfig) -> Self {
        self.bases.push((reference, config));
        self
    }

    /// Answers every question for a base image: with what is known, else with an empty configuration.
    fn run(&self) -> Result<BuildGraph, Vec<Diagnostic>> {
        let dockerfile = parse(&self.text)?;
        let mut bases = Bases::default();
        for _ in 0..10 {
            let missing = dockerfile.bases(&self.options, &bases)?;
            if missing.is_empty() {
                return dockerfile.lower(&self.options, &bases);
            }
            for image in missing {
                let own = self.bases.iter().find(|(name, _)| *name == image.reference);
                let config = own.map(|(_, config)| config.clone()).unwrap_or_default();
                bases.insert(
                    &image,
                    Base {
                        config,
                        platform: None,
                    },
                );
            }
        }
        panic!("the questions do not end");
    }

    #[track_caller]
    fn graph(&self) -> BuildGraph {
        let graph = self.run().unwrap_or_else(|errors| panic!("{errors:?}"));
        // Each step needs only steps before it.
        for (at, node) in graph.nodes.iter().enumerate() {
            assert!(
                node.op.inputs().iter().all(|input| input.0 < at),
                "{node:?}"
            );
        }
        graph
    }

    #[track_caller]
    fn names(&self) -> Vec<String> {
        self.graph()
            .nodes
            .into_iter()
            .map(|node| node.name)
            .collect()
    }

    #[track_caller]
    fn config(&self) -> ImageConfig {
        self.graph().config
    }

    #[track_caller]
    fn errors(&self) -> Vec<String> {
        let errors = self.run().expect_err("should be refused");
        errors
            .into_iter()
            .map(|error| format!("{}: {}", error.span.line, error.message))
            .collect()
    }

    #[track_caller]
    fn warnings(&self) -> Vec<String> {
        let warnings = self.graph().warnings;
        warnings
            .into_iter()
            .map(|warning| warning.to_string())
            .collect()
    }

    #[track_caller]
    fn last_run(&self) -> RunOp {
        let graph = self.graph();
        let run = graph
            .nodes
            .into_iter()
            .rev()
            .find_map(|node| match node.op {
                Op::Run(run) => Some(*run),
                _ => None,
            });
        run.expect("a RUN")
    }

    #[track_caller]
    fn last_copy(&self) -> CopyOp {
        let graph = self.graph();
        let copy = graph
            .nodes
            .into_iter()
            .rev()
            .find_map(|node| match node.op {
                Op::Copy(copy) => Some(*copy),
                _ => None,
            });
        copy.expect("a COPY")
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn only_what_the_target_needs_is_built() {
    let text = "FROM a AS one\nRUN 1\nFROM b AS two\nRUN 2\nFROM a AS three\nCOPY --from=one /x /y\nRUN 3\n";
    assert_eq!(
        build(text).names(),
        [
            "[one 1/2] FROM a",
            "[one 2/2] RUN 1",
            "[three 2/3] COPY --from=one /x /y",
            "[three 3/3] RUN 3",
        ]
    );
    assert_eq!(
        build(text).target("two").names(),
        ["[two 1/2] FROM b", "[two 2/2] RUN 2"]
    );
    assert_eq!(
        build(text).target("thre").errors(),
        ["1: target stage \"thre\" could not be found (did you mean three?)"]
    );
}

#[test]
fn a_single_stage_has_no_name() {
    assert_eq!(
        build("FROM a\nWORKDIR /w\nCOPY . .\nENV A=b\nRUN make $A $UNSET\n").names(),
        [
            "[1/4] FROM a",
            "[2/4] WORKDIR /w",
            "[internal] load build context",
            "[3/4] COPY . .",
            "[4/4] RUN make b $UNSET",
        ]
    );
    assert_eq!(
        build("from scratch\nrun --mount=type=cache,target=/c x\n").names(),
        [
            "scratch",
            "[stage-0 1/1] RUN --mount=type=cache,target=/c x"
        ]
    );
}

#[test]
fn global_arguments() {
    let text = "ARG V=1 W=$V-x\nFROM a:$W\nARG V\nARG X=${V}y\nRUN x\n";
    let run = build(text).last_run();
    let env: Vec<String> = run
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(env[1..], ["V=1", "X=1y"]);
    assert_eq!(build(text).arg("V", "2").names()[0], "[1/2] FROM a:2-x");
    assert_eq!(
        build(text)
            .arg("X", "given")
            .graph()
            .history
            .last()
            .unwrap()
            .created_by,
        "RUN |2 V=1 X=given /bin/sh -c x # buildkit"
    );
    assert_eq!(
        build("FROM a\nRUN $V\n").arg("V", "2").last_run().env.len(),
        1
    );
    assert_eq!(
        build("ARG V\nFROM $V\n").errors(),
        ["2: base name ($V) should not be blank"]
    );
    assert_eq!(
        build("FROM a\nARG TARGETARCH BUILDPLATFORM TARGETSTAGE\nLABEL x=$TARGETARCH,$BUILDPLATFORM,$TARGETSTAGE\n")
            .config()
            .labels["x"],
        "amd64,linux/amd64,default"
    );
    assert_eq!(
        build("FROM ${A:?missing}\n").errors(),
        ["1: failed to process \"${A:?missing}\": A: missing"]
    );
}

#[test]
fn arguments_and_variables_come_from_the_stage_below() {
    let text = "FROM a AS one\nARG P=1\nENV E=$P\nFROM one\nLABEL l=$P$E\nENV P=2\nRUN x\n";
    let graph = build(text).graph();
    assert_eq!(graph.config.labels["l"], "11");
    assert_eq!(graph.config.env[1..], ["E=1", "P=2"]);
    assert!(build(text).warnings().is_empty());
}

#[test]
fn variables_of_an_instruction_are_those_before_it() {
    let config =
        build("FROM a\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\nENV PATH=/x:$PATH\n")
            .config();
    assert_eq!(
        config.env,
        [
            "PATH=/x:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "abc=bye",
            "def=hello",
            "ghi=bye"
        ]
    );
}

#[test]
fn configuration() {
    let config = build(
        r#"FROM a
USER $U
ARG U=7
USER ${U}:8
WORKDIR /a
WORKDIR b/../c/
EXPOSE 80 $U 53/udp
VOLUME /v ["x"]
VOLUME ["/a b"]
STOPSIGNAL SIGINT
HEALTHCHECK --interval=3s CMD x
SHELL ["/bin/bash", "-c"]
CMD a b
ENTRYPOINT ["e"]
ONBUILD RUN later
LABEL a="x y" b='$U'
"#,
    )
    .config();
    assert_eq!(config.user, "7:8");
    assert_eq!(config.working_dir, "/a/c");
    assert_eq!(
        Vec::from_iter(config.exposed_ports.keys()),
        ["53/udp", "7/tcp", "80/tcp"]
    );
    // Not JSON as a whole, so words, whose quotes are then removed.
    assert_eq!(Vec::from_iter(config.volumes.keys()), ["/a b", "/v", "[x]"]);
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(config.cmd, Some(strings(&["/bin/bash", "-c", "a b"])));
    assert_eq!(config.entrypoint, Some(strings(&["e"])));
    assert_eq!(config.on_build, ["RUN later"]);
    assert_eq!(config.labels["a"], "x y");
    assert_eq!(config.labels["b"], "$U");
    assert_eq!(
        config.healthcheck,
        Some(Healthcheck {
            test: strings(&["CMD-SHELL", "x"]),
            interval: 3_000_000_000,
            ..Healthcheck::default()
        })
    );
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["ExposedPorts"]["80/tcp"], serde_json::json!({}));
    assert_eq!(json["Healthcheck"]["Interval"], 3_000_000_000_i64);
    assert_eq!(serde_json::from_value::<ImageConfig>(json).unwrap(), config);
}

#[test]
fn an_entrypoint_drops_the_command_from_below() {
    let below = ImageConfig {
        cmd: Some(strings(&["old"])),
        ..ImageConfig::default()
    };
    let config = |text: &str| build(text).base("a", below.clone()).config();
    assert_eq!(config("FROM a\nENTRYPOINT [\"e\"]\n").cmd, None);
    assert_eq!(
        config("FROM a\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\n").cmd,
        Some(strings(&["c"]))
    );
    assert_eq!(config("FROM a\n").cmd, Some(strings(&["old"])));
    assert_eq!(config("FROM a\nCMD []\n").cmd, None);
    // Triggers are the stage's own.
    let triggers = ImageConfig {
        on_build: strings(&["CMD [\"c\"]", "ENTRYPOINT [\"e\"]"]),
        ..below.clone()
    };
    let triggered = build("FROM a AS one\nFROM one\n").base("a", triggers);
    assert_eq!(triggered.config().cmd, Some(strings(&["c"])));
    let inherited = config("FROM a AS one\nCMD [\"c\"]\nFROM one\nENTRYPOINT [\"e\"]\n");
    assert_eq!(inherited.cmd, None);
}

#[test]
fn a_base_gives_its_configuration() {
    let below: ImageConfig = serde_json::from_str(
        r#"{"Env":["PATH=/p","B=1"],"WorkingDir":"/w","User":"u","Volumes":null,"Labels":{"l":"m"},"Cmd":null}"#,
    )
    .unwrap();
    let graph = build("FROM a\nLABEL x=$B\nRUN y\nCOPY f g/\n")
        .base("a", below)
        .graph();
    assert_eq!(graph.config.env, ["PATH=/p", "B=1"]);
    assert_eq!(graph.config.labels["l"], "m");
    assert_eq!(graph.base_image, Some(NodeId(0)));
    let Op::Run(run) = &graph.nodes[1].op else {
        panic!("a RUN");
    };
    assert_eq!((run.user.as_str(), run.workdir.as_str()), ("u", "/w"));
    let Op::Copy(copy) = &graph.node(graph.target).op else {
        panic!("a COPY");
    };
    assert_eq!(copy.dest, "/w/g/");
}

#[test]
fn triggers_run_in_what_is_built_on_top() {
    let below = ImageConfig {
        on_build: strings(&["COPY --from=tools /t /t", "RUN <<E\nx\nE"]),
        ..ImageConfig::default()
    };
    let graph = build("FROM b AS tools\nRUN make\nFROM a\nRUN own\n")
        .base("a", below.clone())
        .graph();
    let names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "[tools 1/2] FROM b",
            "[tools 2/2] RUN make",
            "[stage-1 1/4] FROM a",
            "[stage-1 2/4] ONBUILD COPY --from=tools /t /t",
            "[stage-1 3/4] ONBUILD RUN <<E (x)",
            "[stage-1 4/4] RUN own",
        ]
    );
    assert!(graph.config.on_build.is_empty());
    // Of a stage too, and only in the next.
    let names = build("FROM a AS one\nONBUILD RUN t\nFROM one AS two\nFROM two\nRUN x\n").names();
    assert_eq!(
        names,
        [
            "[one 1/1] FROM a",
            "[two 1/1] ONBUILD RUN t",
            "[stage-2 1/1] RUN x"
        ]
    );
    // One that needs the stage it is in.
    let cyclic = ImageConfig {
        on_build: strings(&["COPY --from=me /t /t"]),
        ..ImageConfig::default()
    };
    assert_eq!(
        build("FROM a AS me\n").base("a", cyclic).errors(),
        ["1: circular dependency detected on stage: me"]
    );
    let broken = ImageConfig {
        on_build: strings(&["FORM x"]),
        ..ImageConfig::default()
    };
    assert!(build("FROM a\n").base("a", broken).errors()[0].contains("ONBUILD FORM x"));
}

#[test]
fn run_mounts() {
    let run = build(
        "FROM b AS tools\nFROM a\nARG ID=7\nWORKDIR /w\nRUN --mount=type=cache,id=$ID,target=c,sharing=locked,uid=5 \\\n --mount=from=tools,source=/t,target=/t --mount=target=/ctx,rw --mount=type=tmpfs,target=/m,size=1k \\\n --mount=type=secret,id=s,required=true --mount=type=secret,id=e,env=E --mount=type=ssh x $E\n",
    )
    .last_run();
    let targets: Vec<&str> = run
        .mounts
        .iter()
        .map(|mount| mount.target.as_str())
        .collect();
    assert_eq!(
        targets,
        [
            "/w/c",
            "/t",
            "/ctx",
            "/m",
            "/run/secrets/s",
            "",
            "/run/buildkit/ssh_agent.0"
        ]
    );
    let MountKind::Cache {
        id, sharing, owner, ..
    } = &run.mounts[0].kind
    else {
        panic!("a cache");
    };
    assert_eq!(
        (id.as_str(), *sharing, owner.uid),
        ("7", Sharing::Locked, Some(5))
    );
    assert!(
        matches!(&run.mounts[1].kind, MountKind::Bind { from: NodeId(0), source, writable: false } if source == "/t")
    );
    assert!(matches!(
        &run.mounts[2].kind,
        MountKind::Bind { writable: true, .. }
    ));
    assert!(matches!(
        &run.mounts[3].kind,
        MountKind::Tmpfs { size: Some(1024) }
    ));
    assert!(matches!(
        &run.mounts[4].kind,
        MountKind::Secret {
            required: true,
            env: None,
            ..
        }
    ));
    assert!(
        matches!(&run.mounts[5].kind, MountKind::Secret { env: Some(name), .. } if name == "E")
    );
    assert!(matches!(&run.mounts[6].kind, MountKind::Ssh { id, .. } if id == "default"));
    let json = serde_json::to_string(&run).unwrap();
    assert_eq!(serde_json::from_str::<RunOp>(&json).unwrap(), run);
    assert_eq!(
        build("FROM a\nRUN --mount=type=cahce,target=/x y\n").errors(),
        ["2: unsupported mount type \"cahce\" (did you mean cache?)"]
    );
    assert_eq!(
        build("FROM a\nRUN --mount=type=cache x\n").errors(),
        ["2: invalid mount target \"\""]
    );
}

#[test]
fn run_commands() {
    let argv = |text: &str| build(&format!("FROM a\n{text}\n")).last_run().argv;
    assert_eq!(argv("RUN a  $b"), ["/bin/sh", "-c", "a  $b"]);
    assert_eq!(argv("RUN [\"a\", \"$b\"]"), ["a", "$b"]);
    assert_eq!(
        argv("SHELL [\"bash\", \"-ec\"]\nRUN a"),
        ["bash", "-ec", "a"]
    );
    assert_eq!(argv("RUN <<-E\n\ta\n\tb\n\tE"), ["/bin/sh", "-c", "a\nb\n"]);
    assert_eq!(
        argv("RUN python3 <<E\nprint(1)\nE"),
        ["/bin/sh", "-c", "python3 <<E\nprint(1)\nE"]
    );
    let script = build("FROM a\nRUN <<E\n#!/bin/x\ngo\nE\n").last_run();
    assert_eq!(script.argv, ["/dev/pipes/E"]);
    assert_eq!(script.scripts[0].data, "#!/bin/x\ngo\n");
    assert_eq!(
        build("FROM a\nRUN --network=none x\n").last_run().network,
        Network::None
    );
    let mut host = build("FROM a\nRUN x\n");
    host.options.network = Network::Host;
    assert_eq!(host.last_run().network, Network::Host);
}

#[test]
fn copies() {
    let copy = build(
        "FROM a\nARG D=/d O=1:2\nWORKDIR /w\nCOPY --chown=$O --chmod=644 --link --exclude=*.o --exclude=$D a ../b/*.c $D/x/\n",
    )
    .last_copy();
    assert_eq!(copy.dest, "/d/x/");
    assert_eq!(copy.chown.as_deref(), Some("1:2"));
    assert_eq!(copy.chmod, Some(Chmod::Octal(0o644)));
    assert!(copy.link && !copy.parents);
    assert_eq!(copy.exclude, ["*.o", "$D"]);
    let paths: Vec<&str> = copy
        .sources
        .iter()
        .map(|source| match source {
            Source::Files { path, .. } => path.as_str(),
            _ => panic!("files"),
        })
        .collect();
    assert_eq!(paths, ["/a", "/b/*.c"]);
    let parents = build("FROM a\nCOPY --parents a/./b/**/*.c x/y /z/\n").last_copy();
    let Source::Files {
        path,
        parents_pattern,
        ..
    } = &parents.sources[0]
    else {
        panic!("files");
    };
    assert_eq!(
        (path.as_str(), parents_pattern.as_deref()),
        ("/a", Some("b/**/*.c"))
    );
    let inline = build("FROM a\nARG X=1\nCOPY <<a <<'b' /d/\n$X \"q\"\na\n$X\nb\n").last_copy();
    let data: Vec<&str> = inline
        .sources
        .iter()
        .map(|source| match source {
            Source::Inline(file) => file.data.as_str(),
            _ => panic!("inline"),
        })
        .collect();
    assert_eq!(data, ["1 \"q\"\n", "$X\n"]);
    let dest = |dest: &str| {
        build(&format!("FROM a\nWORKDIR /w\nCOPY x {dest}\n"))
            .last_copy()
            .dest
    };
    assert_eq!(dest("."), "/w/");
    assert_eq!(dest("./"), "/w/");
    assert_eq!(dest("/"), "/");
    assert_eq!(dest("../../../y"), "/y");
}

#[test]
fn wrong_copies_are_refused() {
    for (line, why) in [
        (
            "COPY --chmod=999 a b",
            "2: invalid chmod parameter: '999'. it should be octal string and between 0 and 07777",
        ),
        ("COPY http://h/x /", "2: source can't be a URL for COPY"),
        (
            "COPY git@h:x.git /",
            "2: source can't be a git ref for COPY",
        ),
        (
            "COPY --from=$x a b",
            "2: variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
        ),
        ("COPY --from=3 a b", "2: invalid stage index 3"),
        (
            "COPY --from=0 a b",
            "2: circular dependency detected on stage: stage-0",
        ),
        (
            "ADD --checksum=sha256:00 http://h/x /",
            "2: invalid checksum digest length or format: sha256:00",
        ),
        (
            "ADD --checksum=sha256:00 x /",
            "2: checksum requires HTTP(S) or Git sources",
        ),
    ] {
        assert_eq!(
            build(&format!("FROM a\n{line}\n")).errors(),
            [why],
            "{line}"
        );
    }
    assert_eq!(
        build("FROM a AS one\nCOPY --from=two a b\nFROM b AS two\nFROM one\n").errors(),
        ["2: cannot copy from stage \"two\", it needs to be defined before current stage \"one\""]
    );
}

#[test]
fn additions() {
    let add =
        build("FROM a\nADD a.tar http://h/p/f.tgz?x=1 https://h/r.git#v1:sub /d/\n").last_copy();
    assert!(matches!(
        &add.sources[0],
        Source::Files { unpack: true, .. }
    ));
    assert!(
        matches!(&add.sources[1], Source::Url { filename, unpack: false, .. } if filename == "f.tgz")
    );
    let Source::Git(git) = &add.sources[2] else {
        panic!("git");
    };
    assert_eq!(
        *git,
        GitSource {
            remote: "https://h/r.git".to_owned(),
            reference: "v1".to_owned(),
            subdir: "sub".to_owned(),
            submodules: true,
            ..GitSource::default()
        }
    );
    let kept = build("FROM a\nADD --unpack=false a.tar /d/\n").last_copy();
    assert!(matches!(
        &kept.sources[0],
        Source::Files { unpack: false, .. }
    ));
}

#[test]
fn names_may_be_contexts() {
    let mut named = build(
        "FROM a AS base\nRUN x\nFROM base\nCOPY --from=src /f /g\nCOPY --from=docker.io/library/img:latest /h /i\n",
    );
    named.options.contexts = [
        ("src".to_owned(), NamedContext::Files),
        ("img".to_owned(), NamedContext::Image("other:1".to_owned())),
        ("base".to_owned(), NamedContext::Image("instead".to_owned())),
    ]
    .into();
    assert_eq!(
        named.names(),
        [
            "FROM instead",
            "[context src] load from client",
            "[stage-1 1/2] COPY --from=src /f /g",
            "FROM other:1",
            "[stage-1 2/2] COPY --from=docker.io/library/img:latest /h /i",
        ]
    );
}

proptest::proptest! {
    /// Whatever the instructions say, the answer is a graph or an error.
    #[test]
    fn no_instructions_panic(
        lines in proptest::collection::vec(
            "(FROM|ARG|ENV|LABEL|RUN|COPY|ADD|USER|WORKDIR|EXPOSE|VOLUME|CMD|SHELL|HEALTHCHECK|ONBUILD RUN|ONBUILD COPY|STOPSIGNAL) \
             (--from=(a|b|0|9)? |--mount=type=(bind|cache|secret|ssh|tmpfs)?(,(from|id|target|source|mode|size|uid|env)=[a$0/]{0,3})? |--link |--parents |--chown=[a:0$]{1,4} |--chmod=[a=x7$]{1,4} |--platform=\\$?[a-z/]{0,6} |AS )?\
             [a-c=0-9$/.*:,\\[\\]\"'{}<?#%@+ -]{0,24}",
            0..8,
        )
    ) {
        let text = format!("ARG a=b\nFROM x AS a\nARG b=1\n{}\n", lines.join("\n"));
        if let Err(errors) = build(&text).run() {
            proptest::prop_assert!(!errors.is_empty());
        }
    }
}
