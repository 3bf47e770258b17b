//! The part of a program that makes a process what was asked for: who it is, what it may do, what it runs.
//! The same for a container's first process and for further ones.

use hoist_kernel::init::program::{Capabilities, Command, Op, UserLookup};

use super::lower::{Builder, LowerError, c_string, console};
use super::spec::{ResourceLimit, Seccomp, TerminalSize};
use super::{mounts, seccomp};

/// Docker's `PATH` for images that set none; used only to find the program.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_UMASK: u32 = 0o022;

/// A process to make.
#[derive(Debug)]
pub(super) struct Process<'spec> {
    pub(super) argv: &'spec [String],
    pub(super) environment: &'spec [String],
    pub(super) working_directory: &'spec str,
    pub(super) user: &'spec str,
    /// Capabilities as bits.
    pub(super) allowed: u64,
    pub(super) privileged: bool,
    pub(super) terminal: Option<TerminalSize>,
    /// Whether it is the container's first one.
    pub(super) first: bool,
}

/// Adds the operations. The order is the kernel's: limits while privileges are held, the user after the files that
/// name it can be read, the filter last, and nothing between it and execve(2) but dropping what it needed.
pub(super) fn add(builder: &mut Builder<'_>, process: &Process<'_>) -> Result<(), LowerError> {
    let spec = builder.spec;
    if let (Some(size), false) = (process.terminal, process.first) {
        builder.inside(console(size, false)?);
    }
    if spec.user_namespace.is_none() {
        add_limits(builder)?;
    }
    builder.inside(Op::JoinKeyring(c_string("the id", spec.id.as_str())?));
    if spec.security.no_new_privileges {
        builder.inside(Op::NoNewPrivileges);
    }
    builder.inside(Op::LookUpUser(user_lookup(
        process.user,
        &spec.additional_groups,
    )?));
    let directory = if process.working_directory.is_empty() {
        "/"
    } else {
        process.working_directory
    };
    let target = mounts::target(directory, mounts::USER_LINKS)?;
    builder.inside(Op::WorkingDirectory {
        target,
        create: process.first,
    });
    builder.inside(Op::Stdio);
    builder.inside(Op::SetUmask(spec.umask.unwrap_or(DEFAULT_UMASK)));
    let capabilities = Capabilities {
        allowed: process.allowed,
    };
    builder.inside(Op::BecomeUser(capabilities));
    let filter = filter(builder, process)?;
    if let Some(filter) = filter {
        builder.inside(Op::LoadFilter(filter));
    }
    builder.inside(Op::FinishCapabilities(capabilities));
    if process.first && spec.init {
        builder.inside(Op::BecomeInit);
    }
    builder.inside(Op::Exec(command(process)?));
    Ok(())
}

/// Adds the resource limits; hard ones can only be raised with the machine's own privileges.
pub(super) fn add_limits(builder: &mut Builder<'_>) -> Result<(), LowerError> {
    for limit in &builder.spec.limits {
        let op = limit_op(limit)?;
        builder.privileged(op);
    }
    Ok(())
}

fn filter(
    builder: &mut Builder<'_>,
    process: &Process<'_>,
) -> Result<Option<Vec<hoist_kernel::init::program::Instruction>>, LowerError> {
    let seccomp = &builder.spec.security.seccomp;
    // A profile of the user's own holds whatever else is allowed, as in Docker.
    if process.privileged && !matches!(seccomp, Seccomp::Profile(_)) {
        return Ok(None);
    }
    let facts = seccomp::Facts {
        kernel: builder.machine.kernel,
        capabilities: process.allowed,
    };
    let ready = &builder.machine.default_filter;
    match seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default if ready.capabilities == process.allowed && !ready.program.is_empty() => {
            Ok(Some(ready.program.clone()))
        }
        Seccomp::Default => Ok(Some(seccomp::compile(&seccomp::default_profile(), &facts)?)),
        Seccomp::Profile(json) => {
            let profile = seccomp::Profile::from_json(json)?;
            Ok(Some(seccomp::compile(&profile, &facts)?))
        }
    }
}

/// `user[:group]`.
fn user_lookup(user: &str, additional: &[String]) -> Result<UserLookup, LowerError> {
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    let is_out = |text: &str| text.parse::<i64>().is_ok_and(|id| id < 0);
    if is_out(user) || is_out(group) {
        return Err(LowerError::IdRange);
    }
    Ok(UserLookup {
        user: user.as_bytes().to_vec(),
        group: group.as_bytes().to_vec(),
        additional: additional
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect(),
    })
}

fn command(process: &Process<'_>) -> Result<Command, LowerError> {
    let name = process
        .argv
        .first()
        .filter(|name| !name.is_empty())
        .ok_or(LowerError::NoCommand)?;
    let strings = |what: &str, strings: &[String]| {
        strings
            .iter()
            .map(|text| c_string(what, text.as_str()))
            .collect::<Result<Vec<_>, _>>()
    };
    let candidates = if name.contains('/') {
        vec![name.clone()]
    } else {
        let path = variable(process.environment, "PATH").unwrap_or(DEFAULT_PATH);
        path.split(':')
            .map(|directory| in_directory(directory, name))
            .collect()
    };
    Ok(Command {
        argv: strings("the command", process.argv)?,
        candidates: strings("the command", &candidates)?,
        environment: process
            .environment
            .iter()
            // An empty one is as good as none, as with runc.
            .filter(|entry| *entry != "HOME=")
            .map(|entry| c_string("the environment", entry.as_str()))
            .collect::<Result<Vec<_>, _>>()?,
        add_home: variable(process.environment, "HOME").is_none_or(str::is_empty),
    })
}

/// An empty directory in `PATH` is the working directory.
fn in_directory(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        format!("./{name}")
    } else {
        format!("{directory}/{name}")
    }
}

/// The last one counts, as for the C library.
fn variable<'list>(environment: &'list [String], name: &str) -> Option<&'list str> {
    let value = |variable: &'list String| variable.strip_prefix(name)?.strip_prefix('=');
    environment.iter().rev().find_map(value)
}

fn limit_op(limit: &ResourceLimit) -> Result<Op, LowerError> {
    let number =
        limit_number(&limit.name).ok_or_else(|| LowerError::UnknownLimit(limit.name.clone()))?;
    let value = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    Ok(Op::SetLimit {
        resource: number,
        soft: value(limit.soft),
        hard: value(limit.hard),
    })
}

/// `RLIMIT_*` of asm-generic/resource.h, by name with or without the prefix.
fn limit_number(name: &str) -> Option<u32> {
    const NAMES: [&str; 16] = [
        "cpu",
        "fsize",
        "data",
        "stack",
        "core",
        "rss",
        "nproc",
        "nofile",
        "memlock",
        "as",
        "locks",
        "sigpending",
        "msgqueue",
        "nice",
        "rtprio",
        "rttime",
    ];
    let lower = name.to_ascii_lowercase();
    let plain = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    let position = NAMES.iter().position(|known| *known == plain)?;
    u32::try_from(position).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(argv: &str, environment: &[&str]) -> Vec<String> {
        let environment: Vec<String> = environment.iter().map(|text| (*text).to_owned()).collect();
        let argv = [argv.to_owned()];
        let process = Process {
            argv: &argv,
            environment: &environment,
            working_directory: "/",
            user: "",
            allowed: 0,
            privileged: false,
            terminal: None,
            first: true,
        };
        let command = command(&process).unwrap();
        command
            .candidates
            .into_iter()
            .map(|path| path.into_string().unwrap())
            .collect()
    }

    #[test]
    fn programs_are_looked_for_in_the_containers_path() {
        assert_eq!(
            candidates("sh", &["PATH=/a::/b/"]),
            ["/a/sh", "./sh", "/b//sh"]
        );
        assert_eq!(candidates("sh", &["PATH=/a", "PATH=/b"]), ["/b/sh"]);
        assert_eq!(candidates("./sh", &["PATH=/a"]), ["./sh"]);
        assert_eq!(candidates("sh", &[]).len(), 6);
    }

    #[test]
    fn users_groups_and_limits_are_split_and_named() {
        let lookup = user_lookup("app:12", &["audio".to_owned()]).unwrap();
        assert_eq!(
            (lookup.user, lookup.group),
            (b"app".to_vec(), b"12".to_vec())
        );
        assert_eq!(user_lookup("", &[]).unwrap(), UserLookup::default());
        for bad in ["-1", "0:-1", "app:-7"] {
            let told = user_lookup(bad, &[]).unwrap_err().to_string();
            assert_eq!(told, "uids and gids must be in range 0-2147483647", "{bad}");
        }
        assert_eq!(limit_number("RLIMIT_NOFILE"), Some(7));
        assert_eq!(limit_number("nproc"), Some(6));
        assert_eq!(limit_number("files"), None);
    }
}
