//! Words for what failed, Docker's where it has them: its users' scripts look for them.

use hoist_kernel::KernelError;
use hoist_kernel::init::Op;
use hoist_kernel::init::program::{Command, InitProgram, UserLookup};
use hoist_kernel::init::report::Reason;
use hoist_kernel::init::start::StartError;
use rustix::io::Errno;

use crate::protocol::Failure;

/// Exit code of a command that does not exist.
const NOT_FOUND: i32 = 127;
/// Exit code of a command that cannot be executed.
const NOT_EXECUTABLE: i32 = 126;
/// Exit code of every other failure to start.
const OTHER: i32 = 128;

/// Words a failed operation.
pub(crate) fn failure(op: Option<&Op>, reason: Reason) -> Failure {
    let (message, exit_code) = match op {
        Some(Op::Exec(command)) => exec_failure(command, reason),
        Some(Op::LookUpUser(lookup)) => (user_failure(lookup, reason), OTHER),
        Some(Op::WorkingDirectory { target, .. }) => {
            let path = format!("/{}", target.path.to_string_lossy());
            let why = match reason {
                Reason::OutsideRoot => "it is outside of the container's root".to_owned(),
                reason => describe(reason),
            };
            (
                format!("cannot change to the working directory {path:?}: {why}"),
                OTHER,
            )
        }
        Some(op @ Op::Attach { .. }) if reason == Reason::Errno(Errno::NOTDIR) => {
            let what = op.describe();
            let why =
                "not a directory: Are you trying to mount a directory onto a file (or vice-versa)?";
            (format!("cannot {what}: {why}"), NOT_FOUND)
        }
        Some(op) => (
            format!("cannot {}: {}", op.describe(), describe(reason)),
            OTHER,
        ),
        None => (
            format!("cannot make the process: {}", describe(reason)),
            OTHER,
        ),
    };
    Failure {
        message,
        errno: reason.errno(),
        exit_code,
    }
}

/// Words the failure of an operation by its index, as a program's reports have it: those of `before` follow those of `inside`.
pub(crate) fn of_program(program: &InitProgram, operation: usize, reason: Reason) -> Failure {
    let before = || {
        program
            .before
            .get(operation.wrapping_sub(program.inside.len()))
    };
    failure(program.inside.get(operation).or_else(before), reason)
}

/// Words a failure before the process was there.
pub(crate) fn start_error(error: StartError, before: &[Op]) -> Failure {
    match error {
        StartError::Before(index, reason) => failure(before.get(index), reason),
        StartError::Kernel(error) => Failure {
            message: format!("cannot make the container's process: {error}"),
            errno: error.errno.raw_os_error(),
            exit_code: OTHER,
        },
    }
}

/// Words a failure to make namespaces.
pub(crate) fn namespaces_error(error: &KernelError) -> Failure {
    let hint = match error.errno {
        Errno::NOSPC => " (the machine allows no more of them: user.max_user_namespaces)",
        Errno::INVAL | Errno::NOSYS => " (the kernel has no user namespaces)",
        _ => "",
    };
    Failure {
        message: format!("cannot make a user namespace: {error}{hint}"),
        errno: error.errno.raw_os_error(),
        exit_code: OTHER,
    }
}

/// A failure that has no operation.
pub(crate) fn plain(message: impl Into<String>) -> Failure {
    Failure {
        message: message.into(),
        errno: 0,
        exit_code: OTHER,
    }
}

fn exec_failure(command: &Command, reason: Reason) -> (String, i32) {
    let name = command
        .argv
        .first()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    let (why, code) = match reason {
        Reason::NotInPath => ("executable file not found in $PATH".to_owned(), NOT_FOUND),
        Reason::Errno(Errno::NOENT) => {
            (format!("stat {name}: no such file or directory"), NOT_FOUND)
        }
        Reason::Errno(Errno::NOTDIR) => (format!("stat {name}: not a directory"), NOT_FOUND),
        Reason::IsDirectory => ("is a directory".to_owned(), NOT_EXECUTABLE),
        Reason::Errno(Errno::NOEXEC) => ("exec format error".to_owned(), NOT_EXECUTABLE),
        reason => (describe(reason), NOT_EXECUTABLE),
    };
    (format!("exec: {name:?}: {why}"), code)
}

fn user_failure(lookup: &UserLookup, reason: Reason) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match reason {
        Reason::NoSuchUser => {
            format!(
                "unable to find user {}: no matching entries in passwd file",
                text(&lookup.user)
            )
        }
        Reason::NoSuchGroup => {
            // Either the group itself or one of the additional ones: name what is not a number.
            let wanted = std::iter::once(&lookup.group).chain(&lookup.additional);
            let names =
                wanted.filter(|name| !name.is_empty() && !name.iter().all(u8::is_ascii_digit));
            let names: Vec<String> = names.map(|name| text(name)).collect();
            format!(
                "unable to find group {}: no matching entries in group file",
                names.join(", ")
            )
        }
        Reason::BadId => "uids and gids must be in range 0-2147483647".to_owned(),
        reason => format!("cannot find the user: {}", describe(reason)),
    }
}

/// Words a reason as the C library does.
pub(crate) fn describe(reason: Reason) -> String {
    match reason {
        Reason::Errno(errno) => {
            let text = std::io::Error::from(errno).to_string();
            let end = text.find(" (os error").unwrap_or(text.len());
            text[..end].to_lowercase()
        }
        Reason::Forged => {
            "it is not the kernel's own: the image has put something in its place".to_owned()
        }
        Reason::NoIdMaps => "the kernel cannot show this file system with the ids of a user namespace (it takes Linux 5.19 \
            and a file system that can be id-mapped, such as ext4, xfs or btrfs; tmpfs since 6.3): \
            put it on another file system, or use userns_mode: host"
            .to_owned(),
        Reason::NotInPath => "executable file not found in $PATH".to_owned(),
        Reason::IsDirectory => "is a directory".to_owned(),
        Reason::OutsideRoot => "it is outside of the container's root".to_owned(),
        Reason::NoSuchUser | Reason::NoSuchGroup | Reason::BadId => {
            "no such user or group".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(name: &std::ffi::CStr) -> Op {
        Op::Exec(Command {
            argv: vec![name.to_owned()],
            candidates: Vec::new(),
            environment: Vec::new(),
            add_home: false,
        })
    }

    #[test]
    fn commands_that_cannot_run_are_worded_as_docker_words_them() {
        let check = |name: &std::ffi::CStr, reason, expected: &str, code| {
            let failure = failure(Some(&exec(name)), reason);
            assert_eq!(
                (failure.message.as_str(), failure.exit_code),
                (expected, code)
            );
        };
        let not_found = "exec: \"foo\": executable file not found in $PATH";
        check(c"foo", Reason::NotInPath, not_found, 127);
        let no_file = "exec: \"/foo\": stat /foo: no such file or directory";
        check(c"/foo", Reason::Errno(Errno::NOENT), no_file, 127);
        check(
            c"/etc",
            Reason::IsDirectory,
            "exec: \"/etc\": is a directory",
            126,
        );
        check(
            c"/f",
            Reason::Errno(Errno::ACCESS),
            "exec: \"/f\": permission denied",
            126,
        );
        check(
            c"/f",
            Reason::Errno(Errno::NOEXEC),
            "exec: \"/f\": exec format error",
            126,
        );
    }

    #[test]
    fn users_are_named() {
        let lookup = UserLookup {
            user: b"web".to_vec(),
            group: b"12".to_vec(),
            additional: vec![b"adm".to_vec()],
        };
        let message = |reason| failure(Some(&Op::LookUpUser(lookup.clone())), reason).message;
        assert_eq!(
            message(Reason::NoSuchUser),
            "unable to find user web: no matching entries in passwd file"
        );
        assert_eq!(
            message(Reason::NoSuchGroup),
            "unable to find group adm: no matching entries in group file"
        );
    }
}
