//! The parser, instruction by instruction.

use proptest::prelude::*;

use super::*;
use crate::graph::Healthcheck;
use crate::instruction::ShellForm;

/// The only instruction after `FROM scratch`.
#[track_caller]
fn one(line: &str) -> Kind {
    let text = format!("FROM scratch\n{line}\n");
    let dockerfile = parse(&text).unwrap_or_else(|errors| panic!("{line}: {errors:?}"));
    let [stage] = dockerfile.stages.as_slice() else {
        panic!("{line}: one stage expected");
    };
    let [instruction] = stage.instructions.as_slice() else {
        panic!("{line}: one instruction expected");
    };
    instruction.kind.clone()
}

/// Every error as `line:column message`.
#[track_caller]
fn errors(text: &str) -> Vec<String> {
    parse(text)
        .expect_err("should be refused")
        .iter()
        .map(|error| {
            format!(
                "{}:{} {}",
                error.span.line, error.span.column, error.message
            )
        })
        .collect()
}

/// The error of an instruction after `FROM scratch`.
#[track_caller]
fn error(line: &str) -> String {
    let all = errors(&format!("FROM scratch\n{line}\n"));
    assert_eq!(all.len(), 1, "{line}: {all:?}");
    all[0].clone()
}

fn shell(text: &str) -> ShellForm {
    ShellForm::Shell(text.to_owned())
}

fn exec(words: &[&str]) -> ShellForm {
    ShellForm::Exec(words.iter().map(|word| (*word).to_owned()).collect())
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn commands_have_two_forms() {
    assert_eq!(one("CMD echo  hi"), Kind::Cmd(shell("echo  hi")));
    assert_eq!(
        one(r#"CMD ["echo", "hi"]"#),
        Kind::Cmd(exec(&["echo", "hi"]))
    );
    assert_eq!(one("CMD ['echo']"), Kind::Cmd(shell("['echo']")));
    assert_eq!(one(r#"CMD ["a", "b""#), Kind::Cmd(shell(r#"["a", "b""#)));
    assert_eq!(one("ENTRYPOINT []"), Kind::Entrypoint(exec(&[])));
    assert_eq!(
        one(r#"SHELL ["bash", "-c"]"#),
        Kind::Shell(strings(&["bash", "-c"]))
    );
    assert_eq!(
        error("CMD [1]"),
        "2:5 when using JSON array syntax, arrays must be comprised of strings only"
    );
    assert_eq!(
        error("SHELL bash -c"),
        "2:1 SHELL requires the arguments to be in JSON form"
    );
    assert_eq!(
        error("SHELL []"),
        "2:1 SHELL requires at least one argument"
    );
}

#[test]
fn env_label_and_arg() {
    let pairs = |line: &str| match one(line) {
        Kind::Env(pairs) | Kind::Label(pairs) => pairs
            .into_iter()
            .map(|pair| {
                format!(
                    "{}|{}{}",
                    pair.key,
                    pair.value,
                    if pair.legacy { "!" } else { "" }
                )
            })
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        pairs(r#"ENV a=1 b="x y" c=z\ w"#),
        ["a|1", r#"b|"x y""#, r"c|z\ w"]
    );
    assert_eq!(pairs("ENV name some value"), ["name|some value!"]);
    assert_eq!(pairs("LABEL a.b=c"), ["a.b|c"]);
    assert_eq!(error("ENV a"), "2:1 ENV must have two arguments");
    assert_eq!(error("ENV"), "2:1 ENV requires at least one argument");
    assert_eq!(
        error("ENV a=b c"),
        "2:9 Syntax error - can't find = in \"c\". Must be of the form: name=value"
    );
    assert_eq!(error("ENV =b"), "2:5 ENV names can not be blank");
    let Kind::Arg(args) = one("ARG a b= c=\"d e\"") else {
        panic!("an ARG");
    };
    assert_eq!(args[0].value, None);
    assert_eq!(args[1].value.as_deref(), Some(""));
    assert_eq!(args[2].value.as_deref(), Some("\"d e\""));
    assert_eq!(error("ARG"), "2:1 ARG requires at least one argument");
}

#[test]
fn copy_and_add() {
    let Kind::Copy(copy) = one(
        "COPY --from=build --chown=1:2 --chmod=755 --link --parents --exclude=*.o --exclude=x a b /c/",
    ) else {
        panic!("a COPY");
    };
    assert_eq!(copy.from.unwrap().value, "build");
    assert!(copy.parents && copy.transfer.link);
    assert_eq!(copy.transfer.chown.as_deref(), Some("1:2"));
    assert_eq!(copy.transfer.exclude, ["*.o", "x"]);
    assert_eq!(copy.transfer.sources, ["a", "b"]);
    assert_eq!(copy.transfer.dest, "/c/");
    let Kind::Add(add) =
        one(r#"ADD --checksum=sha256:0 --keep-git-dir=false --unpack ["a b", "/c"]"#)
    else {
        panic!("an ADD");
    };
    assert_eq!(add.keep_git_dir, Some(false));
    assert_eq!(add.unpack, Some(true));
    assert_eq!(add.transfer.sources, ["a b"]);
    assert_eq!(
        error("COPY a"),
        "2:1 COPY requires at least two arguments, but only one was provided. Destination could not be determined"
    );
    assert_eq!(
        error("COPY --form=a b c"),
        "2:6 unknown flag: --form (did you mean from?)"
    );
    assert_eq!(
        error("COPY --from a b"),
        "2:6 missing a value on flag: --from"
    );
    assert_eq!(
        error("COPY --link=maybe a b"),
        "2:6 expecting boolean value for flag --link, not: maybe"
    );
    assert_eq!(
        error("COPY --link --link a b"),
        "2:13 duplicate flag specified: --link"
    );
    assert_eq!(error("ADD --from=x a b"), "2:5 unknown flag: --from");
    assert_eq!(error("ENV --x=y a=b"), "2:5 unknown flag: --x");
}

#[test]
fn run_with_its_flags() {
    let Kind::Run(run) = one(
        "RUN --mount=type=cache,target=/a --mount=type=secret,id=b --network=none --security=insecure make",
    ) else {
        panic!("a RUN");
    };
    assert_eq!(run.command, shell("make"));
    assert_eq!(run.mounts.len(), 2);
    assert_eq!(run.network, Some(crate::Network::None));
    assert_eq!(run.security, crate::Security::Insecure);
    assert_eq!(
        error("RUN --network=hsot x"),
        "2:5 invalid network mode \"hsot\" (did you mean host?)"
    );
    assert_eq!(
        error("RUN --security=x x"),
        "2:5 security \"x\" is not valid"
    );
    assert!(error("RUN --device=nvidia.com/gpu=all x").contains("CDI"));
}

#[test]
fn healthcheck() {
    assert_eq!(
        one(
            "HEALTHCHECK --interval=5s --timeout=1m --retries=3 --start-period=2s --start-interval=1s CMD curl -f x"
        ),
        Kind::Healthcheck(Healthcheck {
            test: strings(&["CMD-SHELL", "curl -f x"]),
            interval: 5_000_000_000,
            timeout: 60_000_000_000,
            start_period: 2_000_000_000,
            start_interval: 1_000_000_000,
            retries: 3,
        })
    );
    let Kind::Healthcheck(exec) = one(r#"HEALTHCHECK cmd ["a"]"#) else {
        panic!("a HEALTHCHECK");
    };
    assert_eq!(exec.test, ["CMD", "a"]);
    assert_eq!(
        error("HEALTHCHECK NONE x"),
        "2:1 HEALTHCHECK NONE takes no arguments"
    );
    assert_eq!(
        error("HEALTHCHECK CMD"),
        "2:1 Missing command after HEALTHCHECK CMD"
    );
    assert_eq!(
        error("HEALTHCHECK RUN x"),
        "2:1 Unknown type \"RUN\" in HEALTHCHECK (try CMD)"
    );
    assert_eq!(
        error("HEALTHCHECK --interval=x CMD y"),
        "2:13 time: invalid duration \"x\""
    );
    assert_eq!(
        error("HEALTHCHECK --interval=1ns CMD y"),
        "2:13 Interval \"interval\" cannot be less than 1ms"
    );
}

#[test]
fn the_rest() {
    assert_eq!(
        one("EXPOSE 80 443/udp"),
        Kind::Expose(strings(&["443/udp", "80"]))
    );
    assert_eq!(one("VOLUME /a /b"), Kind::Volume(strings(&["/a", "/b"])));
    assert_eq!(one(r#"VOLUME ["/a b"]"#), Kind::Volume(strings(&["/a b"])));
    assert_eq!(one("USER a:b"), Kind::User("a:b".to_owned()));
    assert_eq!(one("WORKDIR /a b"), Kind::Workdir("/a b".to_owned()));
    assert_eq!(one("STOPSIGNAL TERM"), Kind::Stopsignal("TERM".to_owned()));
    assert_eq!(
        one("MAINTAINER A <a@b>"),
        Kind::Maintainer("A <a@b>".to_owned())
    );
    assert_eq!(
        one("ONBUILD RUN a\\\n  b"),
        Kind::Onbuild("RUN a  b".to_owned())
    );
    assert_eq!(error("USER"), "2:1 USER requires exactly one argument");
    assert_eq!(error("EXPOSE"), "2:1 EXPOSE requires at least one argument");
    assert_eq!(
        error("VOLUME [\"\"]"),
        "2:1 VOLUME specified can not be an empty string"
    );
    assert_eq!(
        error("ONBUILD ONBUILD RUN x"),
        "2:1 Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
    );
    assert_eq!(
        error("ONBUILD from x"),
        "2:1 FROM isn't allowed as an ONBUILD trigger"
    );
}

#[test]
fn from_and_stages() {
    let dockerfile =
        parse("ARG V=1\nFROM --platform=linux/amd64 a:$V AS Build\nRUN x\nfrom build\n").unwrap();
    assert_eq!(dockerfile.global_args.len(), 1);
    assert_eq!(dockerfile.stages[0].name.as_deref(), Some("build"));
    assert_eq!(dockerfile.stages[0].base, "a:$V");
    assert_eq!(
        dockerfile.stages[0].platform.as_deref(),
        Some("linux/amd64")
    );
    assert_eq!(dockerfile.stage_named("BUILD"), Some(0));
    assert_eq!(
        errors("FROM a b"),
        ["1:1 FROM requires either one or three arguments"]
    );
    assert_eq!(
        errors("FROM a AS 1b"),
        [
            "1:11 invalid name for build stage: \"1b\", name can't start with a number or contain symbols"
        ]
    );
    assert_eq!(
        errors("RUN x\nFROM a"),
        ["1:1 no build stage in current context"]
    );
    assert_eq!(errors(""), ["1:1 the Dockerfile cannot be empty"]);
    assert_eq!(errors("# only\n"), ["1:1 file with no instructions"]);
    assert_eq!(
        errors("ARG a\n"),
        ["1:1 dockerfile contains no stages to build"]
    );
}

#[test]
fn all_errors_are_told_at_once() {
    let text = "FORM alpine\nRUN x\nFROM a\nRUNN y\nCOPY --chwon=x a b\nCMD [1]\nRUN fine\n";
    assert_eq!(
        errors(text),
        [
            "1:1 unknown instruction: FORM (did you mean FROM?)",
            "4:1 unknown instruction: RUNN (did you mean RUN?)",
            "5:6 unknown flag: --chwon (did you mean chown?)",
            "6:5 when using JSON array syntax, arrays must be comprised of strings only",
        ]
    );
    let shown = parse(text).unwrap_err()[2].render("Dockerfile", text);
    assert_eq!(
        shown,
        "error: unknown flag: --chwon (did you mean chown?)
 --> Dockerfile:5:6
  |
5 | COPY --chwon=x a b
  |      ^^^^^^^^^
  |
  = help: its flags are --chown, --from, --chmod, --link, --parents, --exclude"
    );
}

#[test]
fn lines_continue_over_comments_and_blanks() {
    let dockerfile =
        parse("FROM a\nRUN one \\\n  # comment\n\n  two\\  \n&& three \\\\\nCMD x\n").unwrap();
    let stage = &dockerfile.stages[0];
    let Kind::Run(run) = &stage.instructions[0].kind else {
        panic!("a RUN");
    };
    assert_eq!(run.command, shell("one   two&& three \\\\"));
    let span = stage.instructions[0].span;
    assert_eq!((span.line, span.end_line), (2, 6));
    let rules: Vec<_> = dockerfile
        .warnings
        .iter()
        .filter_map(|finding| finding.rule.as_deref())
        .collect();
    assert_eq!(rules, ["NoEmptyContinuation", "JSONArgsRecommended"]);
    assert_eq!(dockerfile.warnings[0].span.line, 4);
}

#[test]
fn an_error_in_a_continuation_is_where_it_is() {
    assert_eq!(
        errors("FROM a\nCOPY \\\n  --chwon=x \\\n  a b\n"),
        ["3:3 unknown flag: --chwon (did you mean chown?)"]
    );
}

#[test]
fn directives() {
    let text = "# syntax=docker/dockerfile:1-labs\n# escape=`\n#check = skip=all;error=true\nFROM a\nRUN x `\n y\nCOPY c:\\x d:\\\n";
    let dockerfile = parse(text).unwrap();
    assert_eq!(
        dockerfile.directives.syntax.as_deref(),
        Some("docker/dockerfile:1-labs")
    );
    assert_eq!(dockerfile.directives.escape, '`');
    assert!(dockerfile.directives.check.error && dockerfile.directives.check.skip_all);
    assert_eq!(dockerfile.stages[0].instructions.len(), 2);
    // After a comment or an instruction they are comments.
    let late = parse("# hello\n# escape=`\nFROM a\n").unwrap();
    assert_eq!(late.directives.escape, '\\');
    assert_eq!(
        errors("# escape=x\nFROM a"),
        ["1:1 invalid escape token 'x' does not match ` or \\"]
    );
    assert_eq!(
        errors("# escape=`\n# escape=`\nFROM a"),
        ["2:1 only one escape parser directive can be used"]
    );
    assert_eq!(
        errors("# check=what\nFROM a"),
        ["1:1 invalid check option \"what\""]
    );
}

#[test]
fn heredocs() {
    let Kind::Run(run) = one("RUN <<EOF\n  one\n# not a comment\ntwo\nEOF") else {
        panic!("a RUN");
    };
    assert_eq!(run.heredocs[0].content, "  one\n# not a comment\ntwo\n");
    assert!(run.heredocs[0].expand);
    let Kind::Copy(copy) = one("COPY <<-'a' <<\"b\" plain /dir/\n\tx $y\n\ta\nz\nb") else {
        panic!("a COPY");
    };
    assert_eq!(copy.transfer.inline.len(), 2);
    assert_eq!(copy.transfer.inline[0].text(), "x $y\n");
    assert!(!copy.transfer.inline[0].expand && copy.transfer.inline[0].chomp);
    assert_eq!(copy.transfer.inline[1].content, "z\n");
    assert_eq!(copy.transfer.sources, ["plain"]);
    assert_eq!(
        one("ONBUILD RUN <<A\nx\nA"),
        Kind::Onbuild("RUN <<A\nx\nA".to_owned())
    );
    let Kind::Run(plain) = one("RUN cat <<< word && echo \"<<EOF\"") else {
        panic!("a RUN");
    };
    assert!(plain.heredocs.is_empty());
    assert_eq!(
        errors("FROM a\nRUN <<EOF\nx\n"),
        ["2:1 unterminated heredoc"]
    );
    assert_eq!(
        error("COPY a <<E\nE"),
        "2:8 COPY cannot accept a heredoc as a destination"
    );
}

#[test]
fn build_checks() {
    let check = |text: &str| -> Vec<String> {
        parse(text)
            .unwrap()
            .warnings
            .iter()
            .map(|finding| {
                format!(
                    "{} {}",
                    finding.span.line,
                    finding.rule.as_deref().unwrap_or_default()
                )
            })
            .collect()
    };
    assert_eq!(check("FROM a AS Up\n"), ["1 StageNameCasing"]);
    assert_eq!(check("FROM a as b\n"), ["1 FromAsCasing"]);
    assert_eq!(
        check("from a\nRUN x\nRUN y\n"),
        ["1 ConsistentInstructionCasing"]
    );
    assert_eq!(
        check("FROM a AS b\nFROM a AS b\n"),
        ["2 DuplicateStageName"]
    );
    assert_eq!(check("FROM a AS scratch\n"), ["1 ReservedStageName"]);
    assert_eq!(check("FROM a\nCMD x\n"), ["2 JSONArgsRecommended"]);
    assert_eq!(
        check("FROM a\nSHELL [\"x\"]\nCMD x\n"),
        Vec::<String>::new()
    );
    assert_eq!(check("FROM a\nMAINTAINER x\n"), ["2 MaintainerDeprecated"]);
    assert_eq!(check("FROM a\nENV a b\n"), ["2 LegacyKeyValueFormat"]);
    assert_eq!(
        check("FROM a\nENV DB_PASSWORD=x PUBLIC_KEY=y\n"),
        ["2 SecretsUsedInArgOrEnv"]
    );
    assert_eq!(check("FROM a\nARG TOKEN\n"), ["2 SecretsUsedInArgOrEnv"]);
    assert_eq!(
        check("FROM a\nCMD [\"a\"]\nCMD [\"b\"]\n"),
        ["2 MultipleInstructionsDisallowed"]
    );
    assert_eq!(
        check("# check=experimental=all\n# nope\nARG A=1\nFROM a\n"),
        ["3 InvalidDefinitionDescription"]
    );
    assert_eq!(
        check("# check=skip=FromAsCasing\nFROM a as b\n"),
        Vec::<String>::new()
    );
    assert_eq!(
        check("FROM a\n# check=skip=JSONArgsRecommended\nCMD x\n"),
        Vec::<String>::new()
    );
}

#[test]
fn carriage_returns_and_byte_order_marks() {
    let dockerfile = parse("\u{feff}FROM a\r\nRUN x \\\r\n  y\r\n").unwrap();
    let Kind::Run(run) = &dockerfile.stages[0].instructions[0].kind else {
        panic!("a RUN");
    };
    assert_eq!(run.command, shell("x   y"));
    assert_eq!(dockerfile.stages[0].span.line, 1);
}

#[test]
fn large_files_are_read_in_time() {
    let text = format!("FROM a\n{}", "RUNN x\n".repeat(20_000));
    assert_eq!(errors(&text).len(), 20_000);
    assert!(parse(&format!("FROM a\nRUN {}", "x \\\n".repeat(50_000))).is_ok());
}

proptest! {
    #[test]
    fn no_text_panics(text in "([A-Z]{0,4}|FROM a|RUN|COPY|ENV|ADD|ONBUILD|HEALTHCHECK|<<|<<-A|A|--x=|[ \\\\\n\"'\\[\\]$#=,é`-]){0,30}") {
        match parse(&text) {
            Ok(dockerfile) => {
                for stage in &dockerfile.stages {
                    for instruction in &stage.instructions {
                        prop_assert!(text.is_char_boundary(instruction.span.start));
                        prop_assert!(text.get(instruction.span.start..instruction.span.end).is_some());
                    }
                }
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    prop_assert!(!error.render("Dockerfile", &text).is_empty());
                }
            }
        }
    }

    #[test]
    fn instructions_are_where_they_say(lines in proptest::collection::vec("RUN [a-z]{1,8}( \\\\\n  [a-z]{1,4})?", 0..6)) {
        let text = format!("FROM a\n{}\n", lines.join("\n"));
        let dockerfile = parse(&text).unwrap();
        let stage = &dockerfile.stages[0];
        prop_assert_eq!(stage.instructions.len(), lines.len());
        for (instruction, line) in stage.instructions.iter().zip(&lines) {
            prop_assert_eq!(&text[instruction.span.start..instruction.span.end], line);
        }
    }
}
