//! The Dockerfile instructions that `image import --change` takes, applied to an image's defaults.
//!
//! The instructions are those that Docker's `import` and `commit` take: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL,
//! STOPSIGNAL, USER, VOLUME, WORKDIR.

use super::config::{ContainerDefaults, Empty, HealthcheckDefaults};
use super::words::{Words, expand};

/// A `--change` that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("change {instruction:?}: {why}")]
pub struct ChangeError {
    /// The instruction as it was given.
    pub instruction: String,
    /// What is wrong with it.
    pub why: String,
}

type Outcome = Result<(), String>;

/// Applies instructions in their order. One text may hold several lines; a line that ends in a backslash goes on.
///
/// # Errors
/// The first instruction that is unknown or malformed.
pub fn apply_all(config: &mut ContainerDefaults, changes: &[String]) -> Result<(), ChangeError> {
    for text in changes {
        let joined = text.replace("\\\n", " ");
        for line in joined
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            apply(config, line).map_err(|why| ChangeError {
                instruction: line.to_owned(),
                why,
            })?;
        }
    }
    Ok(())
}

fn apply(config: &mut ContainerDefaults, line: &str) -> Outcome {
    let (keyword, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let keyword = keyword.to_ascii_uppercase();
    if rest.is_empty() {
        return Err(format!("{keyword} needs a value"));
    }
    match keyword.as_str() {
        "CMD" => config.cmd = Some(command(config, rest)),
        "ENTRYPOINT" => set_entrypoint(config, rest),
        "ENV" => set_env(config, rest)?,
        "EXPOSE" => expose(config, rest)?,
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(config, rest)?),
        "LABEL" => config.labels.extend(pairs(rest, &config.env)?),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "SHELL" => config.shell = Some(exec_form(rest).ok_or("SHELL needs a JSON list of words")?),
        "STOPSIGNAL" => config.stop_signal = expand(rest, &config.env)?,
        "USER" => config.user = expand(rest, &config.env)?,
        "VOLUME" => add_volumes(config, rest)?,
        "WORKDIR" => set_workdir(config, rest)?,
        other => return Err(format!("{other} is not a valid change command")),
    }
    Ok(())
}

/// `["a", "b"]` as it is, anything else through the shell.
fn command(config: &ContainerDefaults, text: &str) -> Vec<String> {
    exec_form(text).unwrap_or_else(|| {
        let shell = config
            .shell
            .clone()
            .unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
        shell.into_iter().chain([text.to_owned()]).collect()
    })
}

fn exec_form(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// A new entry point makes an inherited command meaningless, but not one that was given beside it; changes of one call are given together.
fn set_entrypoint(config: &mut ContainerDefaults, text: &str) {
    config.entrypoint = Some(command(config, text));
}

fn set_env(config: &mut ContainerDefaults, text: &str) -> Outcome {
    for (name, value) in pairs(text, &config.env)? {
        let entry = format!("{name}={value}");
        let is_same = |known: &&mut String| known.split('=').next() == Some(name.as_str());
        match config.env.iter_mut().find(is_same) {
            Some(known) => *known = entry,
            None => config.env.push(entry),
        }
    }
    Ok(())
}

/// `A=b C="d e"`, or the old form `A b c` of one pair.
fn pairs(text: &str, env: &[String]) -> Result<Vec<(String, String)>, String> {
    let words = Words::split(text)?;
    let first = words.first().ok_or("a name and a value are needed")?;
    if !first.contains('=') {
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or("a name and a value are needed: NAME=value")?;
        return Ok(vec![(name.to_owned(), expand(value.trim(), env)?)]);
    }
    let pair = |word: &String| {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| format!("{word:?} is not of the form NAME=value"))?;
        let name = expand(name, env)?;
        if name.is_empty() {
            return Err("a name is empty".to_owned());
        }
        Ok((name, expand(value, env)?))
    };
    words.iter().map(pair).collect()
}

fn expose(config: &mut ContainerDefaults, text: &str) -> Outcome {
    for word in Words::split(text)? {
        let word = expand(&word, &config.env)?;
        let (ports, protocol) = word.split_once('/').unwrap_or((&word, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            return Err(format!("invalid protocol {protocol:?} in {word:?}"));
        }
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let port = |text: &str| {
            text.parse::<u16>()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| format!("invalid port {word:?}"))
        };
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(format!("invalid range of ports {word:?}"));
        }
        config
            .exposed_ports
            .extend((first..=last).map(|port| (format!("{port}/{protocol}"), Empty {})));
    }
    Ok(())
}

fn add_volumes(config: &mut ContainerDefaults, text: &str) -> Outcome {
    let paths = match exec_form(text) {
        Some(paths) => paths,
        None => Words::split(text)?,
    };
    for path in paths {
        let path = expand(&path, &config.env)?;
        if path.trim().is_empty() {
            return Err("a volume's path is empty".to_owned());
        }
        config.volumes.insert(path, Empty {});
    }
    Ok(())
}

/// A relative directory is below the one before.
fn set_workdir(config: &mut ContainerDefaults, text: &str) -> Outcome {
    let directory = expand(text, &config.env)?;
    let base = if config.working_dir.is_empty() {
        "/"
    } else {
        &config.working_dir
    };
    let joined = if directory.starts_with('/') {
        directory
    } else {
        format!("{base}/{directory}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    config.working_dir = format!("/{}", parts.join("/"));
    Ok(())
}

fn healthcheck(config: &ContainerDefaults, text: &str) -> Result<HealthcheckDefaults, String> {
    let mut check = HealthcheckDefaults::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option
            .split_once(char::is_whitespace)
            .ok_or("a command is missing")?;
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| format!("--{option} needs a value"))?;
        match name {
            "interval" => check.interval = duration(value)?,
            "timeout" => check.timeout = duration(value)?,
            "start-period" => check.start_period = duration(value)?,
            "start-interval" => check.start_interval = duration(value)?,
            "retries" => {
                check.retries = value
                    .parse()
                    .ok()
                    .filter(|count| *count >= 0)
                    .ok_or_else(|| format!("{value:?} is not a count"))?
            }
            other => return Err(format!("unknown flag: --{other}")),
        }
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = match (kind.to_ascii_uppercase().as_str(), exec_form(command)) {
        ("NONE", _) if command.is_empty() => vec!["NONE".to_owned()],
        ("CMD", _) if command.is_empty() => return Err("a command is missing after CMD".to_owned()),
        ("CMD", Some(words)) => ["CMD".to_owned()].into_iter().chain(words).collect(),
        ("CMD", None) if config.shell.is_some() => ["CMD".to_owned()]
            .into_iter()
            .chain(self::command(config, command))
            .collect(),
        ("CMD", None) => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        (other, _) => return Err(format!("unknown type {other:?}: NONE or CMD is needed")),
    };
    Ok(check)
}

/// Go's durations, `1m30s`, in nanoseconds.
fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid duration {text:?}");
    let mut total = 0_f64;
    let mut rest = text;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(invalid)?;
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .map_or(rest.len(), |end| digits + end);
        let unit = match &rest[digits..unit_end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(invalid()),
        };
        total += number * unit;
        rest = &rest[unit_end..];
    }
    Ok(total.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(changes: &[&str], expected: &str) {
        let mut config = ContainerDefaults::default();
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        let found = match apply_all(&mut config, &changes) {
            Ok(()) => serde_json::to_string(&config).expect("json"),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{changes:?}");
    }

    #[test]
    fn commands_have_two_forms() {
        check(
            &[r#"CMD ["nginx","-g","daemon off;"]"#],
            r#"{"Cmd":["nginx","-g","daemon off;"]}"#,
        );
        check(
            &["cmd echo $HOME"],
            r#"{"Cmd":["/bin/sh","-c","echo $HOME"]}"#,
        );
        check(
            &[r#"SHELL ["/bin/bash","-c"]"#, "ENTRYPOINT run it"],
            r#"{"Entrypoint":["/bin/bash","-c","run it"],"Shell":["/bin/bash","-c"]}"#,
        );
        check(&["CMD []"], r#"{"Cmd":[]}"#);
    }

    #[test]
    fn environment_is_expanded_and_replaced() {
        check(
            &["ENV A=1 B=\"two words\"", "ENV A=3"],
            r#"{"Env":["A=3","B=two words"]}"#,
        );
        check(
            &["ENV PATH=/usr/bin", "ENV PATH=/opt/bin:$PATH"],
            r#"{"Env":["PATH=/opt/bin:/usr/bin"]}"#,
        );
        check(&["ENV A b c"], r#"{"Env":["A=b c"]}"#);
        check(&["ENV A=${B:-x} C='$A'"], r#"{"Env":["A=x","C=$A"]}"#);
        check(
            &["ENV A"],
            r#"change "ENV A": a name and a value are needed: NAME=value"#,
        );
        check(
            &["ENV A=1 B"],
            r#"change "ENV A=1 B": "B" is not of the form NAME=value"#,
        );
    }

    #[test]
    fn the_rest_goes_where_docker_puts_it() {
        check(
            &["EXPOSE 80 53/UDP 8000-8001"],
            r#"{"ExposedPorts":{"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{}}}"#,
        );
        check(
            &["VOLUME /data /b", r#"VOLUME ["/c d"]"#],
            r#"{"Volumes":{"/b":{},"/c d":{},"/data":{}}}"#,
        );
        check(
            &["WORKDIR /a", "WORKDIR b/../c"],
            r#"{"WorkingDir":"/a/c"}"#,
        );
        check(
            &["USER www:www", "STOPSIGNAL SIGQUIT"],
            r#"{"User":"www:www","StopSignal":"SIGQUIT"}"#,
        );
        check(
            &["LABEL a=b \"c d\"=\"e f\""],
            r#"{"Labels":{"a":"b","c d":"e f"}}"#,
        );
        check(&["ONBUILD RUN x"], r#"{"OnBuild":["RUN x"]}"#);
        check(&["EXPOSE 0"], r#"change "EXPOSE 0": invalid port "0""#);
        check(
            &["EXPOSE 80/icmp"],
            r#"change "EXPOSE 80/icmp": invalid protocol "icmp" in "80/icmp""#,
        );
        check(
            &["RUN x"],
            r#"change "RUN x": RUN is not a valid change command"#,
        );
        check(&["CMD"], r#"change "CMD": CMD needs a value"#);
    }

    #[test]
    fn health_checks_have_options() {
        check(
            &["HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD pg_isready || exit 1"],
            r#"{"Healthcheck":{"Test":["CMD-SHELL","pg_isready || exit 1"],"Interval":90000000000,"Timeout":500000000,"Retries":3}}"#,
        );
        check(
            &[r#"HEALTHCHECK CMD ["true"]"#],
            r#"{"Healthcheck":{"Test":["CMD","true"]}}"#,
        );
        check(
            &["HEALTHCHECK NONE"],
            r#"{"Healthcheck":{"Test":["NONE"]}}"#,
        );
        check(
            &["HEALTHCHECK --every=1s CMD x"],
            r#"change "HEALTHCHECK --every=1s CMD x": unknown flag: --every"#,
        );
        check(
            &["HEALTHCHECK --interval=5 CMD x"],
            r#"change "HEALTHCHECK --interval=5 CMD x": invalid duration "5""#,
        );
    }

    #[test]
    fn several_lines_are_several_instructions() {
        check(
            &["# a comment\nCMD [\"a\"]\nUSER \\\n  b"],
            r#"{"User":"b","Cmd":["a"]}"#,
        );
    }
}
