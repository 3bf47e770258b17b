//! Files from the network: `ADD` of URLs and git repositories, and contexts that are one. Everything here blocks.
//!
//! Git is the machine's own `git`: where it is not installed, the error says so.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hoist_dockerfile::{GitSource, Ignore};
use sha2::{Digest as _, Sha256};

use super::steps::Build;
use crate::build::Scratch;
use crate::build::error::BuildError;
use crate::build::report::Reporter;
use crate::build::select::Origin;
use crate::build::tree;

/// How often a running git looks whether its build was given up.
const LOOK: Duration = Duration::from_millis(20);

/// Downloads a file; its content and time.
pub(super) fn url(
    build: &Build,
    url: &str,
    checksum: Option<&str>,
) -> Result<(Vec<u8>, Option<i64>), BuildError> {
    let fetched = tokio::runtime::Handle::current().block_on(async {
        tokio::select! {
            fetched = super::download::get(url) => fetched,
            () = build.reporter.cancelled() => Err(BuildError::Cancelled),
        }
    })?;
    if let Some(expected) = checksum {
        let found = format!("sha256:{}", hex::encode(Sha256::digest(&fetched.0)));
        if found != expected {
            return Err(BuildError::Refused(format!(
                "{url} has the digest {found}, and {expected} was expected"
            )));
        }
    }
    Ok(fetched)
}

/// Checks a repository out; its files.
pub(super) fn git(build: &Build, source: &GitSource) -> Result<Origin, BuildError> {
    let place = clone(&build.scratch, &build.reporter, source)?;
    Ok(Origin {
        root: tree::open(&place)?,
        ignore: Ignore::default(),
        is_context: true,
    })
}

/// Checks a repository out into a directory of the build's own.
pub(super) fn clone(
    scratch: &Scratch,
    reporter: &Reporter,
    source: &GitSource,
) -> Result<PathBuf, BuildError> {
    let place = scratch.unique()?;
    let git = |arguments: &[&str]| run(reporter, &place, arguments);
    git(&["init", "--quiet", "."])?;
    git(&["remote", "add", "origin", "--", &source.remote])?;
    let wanted = match source.reference.as_str() {
        "" => "HEAD",
        named => named,
    };
    if wanted.starts_with('-') {
        return Err(BuildError::Refused(format!(
            "invalid git reference {wanted:?}"
        )));
    }
    let is_commit = wanted.len() >= 7 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
    match git(&["fetch", "--quiet", "--depth", "1", "origin", wanted]) {
        Ok(_) => git(&["checkout", "--quiet", "--force", "FETCH_HEAD"])?,
        // Servers need not give single commits; then all is fetched and the commit looked for.
        Err(_) if is_commit => {
            git(&["fetch", "--quiet", "--tags", "origin"])?;
            git(&["checkout", "--quiet", "--force", wanted])?
        }
        Err(error) => return Err(error),
    };
    if let Some(expected) = &source.checksum {
        let commit = git(&["rev-parse", "HEAD"])?;
        if !commit.trim().starts_with(expected.as_str()) {
            return Err(BuildError::Refused(format!(
                "{} is at commit {}, and {expected} was expected",
                source.remote,
                commit.trim()
            )));
        }
    }
    if source.submodules {
        git(&[
            "submodule",
            "--quiet",
            "update",
            "--init",
            "--recursive",
            "--depth",
            "1",
        ])?;
    }
    if !source.keep_git_dir {
        let directory = place.join(".git");
        hoist_volumes::erase_tree(&directory)
            .map_err(|error| BuildError::io("remove", &directory, error))?;
    }
    inside(&place, &source.subdir)
}

/// A directory of the repository; links in it stay inside.
fn inside(place: &Path, directory: &str) -> Result<PathBuf, BuildError> {
    let root = tree::open(place)?;
    let found = crate::build::select::follow(&root, Path::new(directory))?;
    let found = found.ok_or_else(|| BuildError::NotFound(directory.to_owned()))?;
    Ok(place.join(found))
}

fn run(reporter: &Reporter, place: &Path, arguments: &[&str]) -> Result<String, BuildError> {
    let mut child = Command::new("git")
        // Nobody is there to type a password, and no hook or other protocol of the machine's configuration is to run.
        .args([
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "protocol.ext.allow=never",
        ])
        .args(arguments)
        .current_dir(place)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => BuildError::Refused(
                "git repositories need the program git on the engine's machine: install it"
                    .to_owned(),
            ),
            _ => BuildError::io("start", "git", error),
        })?;
    loop {
        if reporter.is_cancelled() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(BuildError::Cancelled);
        }
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) => std::thread::sleep(LOOK),
            Err(error) => return Err(BuildError::io("wait for", "git", error)),
        }
    }
    let output = child
        .wait_with_output()
        .map_err(|error| BuildError::io("wait for", "git", error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let why = match output.status.signal() {
        Some(signal) if why.is_empty() => format!("killed by signal {signal}"),
        _ => why,
    };
    Err(BuildError::Refused(format!(
        "git {} failed: {why}",
        arguments.first().unwrap_or(&"")
    )))
}

/// Reads `https://host/x.git?tag=v1#reference:directory` and the like; `None` when it is no repository.
///
/// # Errors
/// A query that is not known.
pub(super) fn repository(text: &str) -> Result<Option<GitSource>, BuildError> {
    let found = hoist_dockerfile::git_context(text)
        .map_err(|why| BuildError::Refused(format!("build context {text}: {why}")))?;
    if found.is_some() {
        return Ok(found);
    }
    // Repositories by protocols that an instruction may not name: the machine's own.
    let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
    let is_git = address.contains("://") && address.ends_with(".git");
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    Ok(is_git.then(|| GitSource {
        remote: address.to_owned(),
        reference: reference.to_owned(),
        subdir: subdir.to_owned(),
        submodules: true,
        ..GitSource::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_archives() {
        let read = |text: &str| repository(text).unwrap();
        let found = read("https://h/x.git#v1:sub/dir").unwrap();
        assert_eq!(found.remote, "https://h/x.git");
        assert_eq!(
            (found.reference.as_str(), found.subdir.as_str()),
            ("v1", "sub/dir")
        );
        assert!(read("git@h:x").is_some());
        assert_eq!(read("file:///x.git").unwrap().remote, "file:///x.git");
        assert!(read("https://h/x.tar.gz").is_none());
        assert!(repository("https://h/x.git?colour=red").is_err());
    }
}
