//! Platforms, warnings, errors, the history, and what a build is told besides the file.

use super::*;

#[test]
fn platforms() {
    let text = "FROM --platform=$BUILDPLATFORM a AS build\nFROM a\nCOPY --from=build /x /\n";
    let mut cross = build(text);
    cross.options.target_platform = Platform::parse("linux/arm64").unwrap();
    let graph = cross.graph();
    let platforms: Vec<String> = graph
        .nodes
        .iter()
        .filter_map(|node| match &node.op {
            Op::Image { platform, .. } => Some(platform.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(graph.platform.to_string(), "linux/arm64");
    assert_eq!(
        build("FROM --platform=$TARGETPLATFROM a\n").errors(),
        ["1: empty platform value from expression $TARGETPLATFROM (did you mean TARGETPLATFORM?)"]
    );
    for (text, shown) in [
        ("arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("x86_64", "linux/amd64"),
        ("linux/arm", "linux/arm/v7"),
    ] {
        assert_eq!(Platform::parse(text).unwrap().to_string(), shown);
    }
    assert!(Platform::parse("a/b/c/d").is_err() && Platform::parse("").is_err());
}

#[test]
fn warnings_need_the_graph() {
    let check = |text: &str, expected: &[&str]| {
        assert_eq!(build(text).warnings(), expected, "{text}");
    };
    check(
        "FROM a\nLABEL x=$PTH\n",
        &["2:1: UndefinedVar: Usage of undefined variable '$PTH' (did you mean $PATH?)"],
    );
    check("FROM a\nARG x\nLABEL y=$x\n", &[]);
    check(
        "FROM a\nWORKDIR x\nWORKDIR y\n",
        &[
            "2:1: WorkdirRelativePath: Relative workdir \"x\" can have unexpected results if the base image changes",
        ],
    );
    check(
        "FROM --platform=$TARGETPLATFORM a\n",
        &[
            "1:1: RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        ],
    );
    check(
        "FROM --platform=linux/arm64 a\n",
        &[
            "1:1: FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/arm64\"",
        ],
    );
    check(
        "FROM a\nEXPOSE 53/UDP\n",
        &[
            "2:1: ExposeProtoCasing: Defined protocol '53/UDP' in EXPOSE instruction should be lowercase",
        ],
    );
    check(
        "FROM a\nEXPOSE 80:80\n",
        &[
            "2:1: ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '80:80'",
        ],
    );
    let given = build("ARG TAG\nFROM a:$TAG\n").arg("TAG", "1");
    assert_eq!(
        given.warnings(),
        [
            "2:1: InvalidDefaultArgInFrom: Default value for ARG a:$TAG results in empty or invalid base image name"
        ]
    );
    assert_eq!(
        build("ARG TAG=1\nFROM a:${TGA:-2}\n").warnings(),
        ["2:1: UndefinedArgInFrom: FROM argument 'TGA' is not declared (did you mean TAG?)"]
    );
    let mut ignoring = build("FROM a\nCOPY secret/x /y\n");
    ignoring.options.ignore = Some(Ignore::parse("secret").unwrap());
    assert_eq!(
        ignoring.warnings(),
        [
            "2:1: CopyIgnoredFile: Attempting to Copy file \"secret/x\" that is excluded by .dockerignore"
        ]
    );
    assert_eq!(
        build("# check=error=true\nFROM a\nCMD x\n")
            .errors()
            .last()
            .unwrap(),
        "3: lint violation found for rules: JSONArgsRecommended"
    );
    assert!(
        build("FROM a\nCMD x\n")
            .arg("BUILDKIT_DOCKERFILE_CHECK", "skip=all")
            .warnings()
            .is_empty()
    );
}

#[test]
fn checks_need_no_base() {
    let dockerfile =
        parse("FROM a AS one\nLABEL x=$FROM_BASE\nCMD x\nFROM b\nWORKDIR y\nSTOPSIGNAL SIGTREM\n")
            .unwrap();
    let found: Vec<String> = dockerfile
        .check(&Options::default())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("3:1: JSONArgsRecommended"));
    assert!(found[1].starts_with("5:1: WorkdirRelativePath"));
    assert_eq!(found[2], "6:1: invalid signal: SIGTREM");
}

#[test]
fn all_errors_of_a_stage_are_told() {
    assert_eq!(
        build("FROM a\nEXPOSE x\nSTOPSIGNAL y\nRUN fine\nVOLUME $none\n").errors(),
        [
            "2: invalid containerPort: x",
            "3: invalid signal: y",
            "5: VOLUME specified can not be an empty string"
        ]
    );
}

#[test]
fn history_as_docker_writes_it() {
    let graph = build(
        "FROM a\nARG V=1\nENV A=b\nWORKDIR /w\nCOPY --chown=1 x y\nCMD [\"a\"]\nHEALTHCHECK CMD x\nEXPOSE 80\n",
    )
    .graph();
    let lines: Vec<&str> = graph
        .history
        .iter()
        .map(|line| line.created_by.as_str())
        .collect();
    assert_eq!(
        lines,
        [
            "ARG V=1",
            "ENV A=b",
            "WORKDIR /w",
            "COPY --chown=1 x y # buildkit",
            "CMD [\"a\"]",
            "HEALTHCHECK {Test:[CMD-SHELL x] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
            "EXPOSE [80/tcp]",
        ]
    );
    let layers: Vec<bool> = graph
        .history
        .iter()
        .map(|line| line.node.is_some())
        .collect();
    assert_eq!(layers, [false, false, true, true, false, false, false]);
}

#[test]
fn the_build_has_its_own_settings() {
    let mut own = build("FROM a AS one\nRUN x\nFROM one\nRUN y\n")
        .arg("HTTP_PROXY", "http://p")
        .arg("SOURCE_DATE_EPOCH", "42");
    own.options.labels.insert("l".to_owned(), "m".to_owned());
    own.options.no_cache = NoCache::Stages(["one".to_owned()].into());
    let graph = own.graph();
    assert_eq!(graph.proxy["http_proxy"], "http://p");
    assert_eq!(graph.source_date_epoch, Some(42));
    assert_eq!(graph.config.labels["l"], "m");
    let uncached: Vec<bool> = graph.nodes.iter().map(|node| node.no_cache).collect();
    assert_eq!(uncached, [false, true, false]);
    assert!(
        build("FROM a\n")
            .arg("SOURCE_DATE_EPOCH", "now")
            .run()
            .is_err()
    );
    let json = serde_json::to_string(&graph).unwrap();
    assert_eq!(serde_json::from_str::<BuildGraph>(&json).unwrap(), graph);
}

#[test]
fn doubling_variables_do_not_eat_the_memory() {
    let text = format!("FROM a\nENV a=xxxxxxxx\n{}", "ENV a=$a$a\n".repeat(60));
    let errors = build(&text).errors();
    assert!(errors[0].contains("longer than"), "{}", errors[0]);
}
