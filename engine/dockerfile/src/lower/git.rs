//! Sources that are git repositories: `https://host/repo.git#branch:dir`, `git@host:repo`, `…?tag=v1&subdir=a`.

use crate::graph::GitSource;
use crate::lint::parse_bool;

/// A git repository as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GitRef {
    pub(super) remote: String,
    pub(super) reference: String,
    pub(super) subdir: String,
    pub(super) checksum: Option<String>,
    pub(super) keep_git_dir: Option<bool>,
    pub(super) submodules: Option<bool>,
}

/// Reads a source; `None` when it is no git repository.
pub(super) fn parse(source: &str) -> Result<Option<GitRef>, String> {
    let (url, fragment) = match source.split_once('#') {
        Some((url, fragment)) => (url, fragment),
        None => (source, ""),
    };
    let (remote, query) = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
            let is_git = match scheme {
                "git" | "ssh" => true,
                "http" | "https" => path.ends_with(".git"),
                _ => false,
            };
            if !is_git {
                return Ok(None);
            }
            (format!("{scheme}://{path}"), query)
        }
        None if is_scp_like(url) => {
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            (path.to_owned(), query)
        }
        None => return Ok(None),
    };
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let mut git = GitRef {
        remote,
        reference: reference.to_owned(),
        subdir: subdir.to_owned(),
        ..GitRef::default()
    };
    let mut named = Vec::new();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        git.option(key, value, &mut named)?;
    }
    if named.len() > 1 {
        return Err("branch conflicts with tag".to_owned());
    }
    if let Some(name) = named.pop() {
        git.set_reference(&name)?;
    }
    Ok(Some(git))
}

/// Reads a build context that is a git repository, with all that `ADD` takes and `github.com/user/repository`; `None` when it is
/// none. Submodules come with it unless the query says otherwise.
///
/// # Errors
/// A query that is not known, or contradicts itself.
pub fn git_context(text: &str) -> Result<Option<GitSource>, String> {
    let shorthand = text.strip_prefix("github.com/").map(|rest| {
        // Without the ending it would be the address of a page.
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (path, more) = rest.split_at(end);
        let path = path.strip_suffix(".git").unwrap_or(path);
        format!("https://github.com/{path}.git{more}")
    });
    let Some(git) = parse(shorthand.as_deref().unwrap_or(text))? else {
        return Ok(None);
    };
    Ok(Some(GitSource {
        remote: git.remote,
        reference: git.reference,
        subdir: git.subdir,
        checksum: git.checksum,
        keep_git_dir: git.keep_git_dir.unwrap_or(false),
        submodules: git.submodules.unwrap_or(true),
    }))
}

impl GitRef {
    fn set_reference(&mut self, reference: &str) -> Result<(), String> {
        if !self.reference.is_empty() && self.reference != reference {
            return Err(format!(
                "ref conflicts: {:?} vs {reference:?}",
                self.reference
            ));
        }
        reference.clone_into(&mut self.reference);
        Ok(())
    }

    fn option(&mut self, key: &str, value: &str, named: &mut Vec<String>) -> Result<(), String> {
        let flag = || match value {
            "" => Ok(true),
            value => parse_bool(value).ok_or_else(|| format!("invalid {key} value: {value:?}")),
        };
        let below = |prefix: &str| match value.starts_with(prefix) {
            true => value.to_owned(),
            false => format!("{prefix}{value}"),
        };
        match key {
            "keep-git-dir" => self.keep_git_dir = Some(flag()?),
            "submodules" => self.submodules = Some(flag()?),
            // How it is fetched is the builder's own business.
            "fetch-by-commit" => {
                flag()?;
            }
            _ if value.is_empty() => return Err(format!("query {key:?} has no value")),
            "ref" => self.set_reference(value)?,
            "tag" => named.push(below("refs/tags/")),
            "branch" => named.push(below("refs/heads/")),
            "subdir" if !self.subdir.is_empty() && self.subdir != value => {
                return Err(format!("subdir conflicts: {:?} vs {value:?}", self.subdir));
            }
            "subdir" => value.clone_into(&mut self.subdir),
            "checksum" | "commit" => self.checksum = Some(value.to_owned()),
            "mtime" if matches!(value, "checkout" | "commit") => {}
            "mtime" => {
                return Err(format!(
                    "invalid mtime value: {value:?} (must be \"checkout\" or \"commit\")"
                ));
            }
            _ => return Err(format!("unexpected query {key:?}")),
        }
        Ok(())
    }
}

/// `user@host:path`.
fn is_scp_like(url: &str) -> bool {
    let Some((user, rest)) = url.split_once('@') else {
        return false;
    };
    let Some((host, path)) = rest.split_once(':') else {
        return false;
    };
    let word = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    word(user) && word(host) && !path.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_repositories_too() {
        let read = |text: &str| git_context(text).unwrap().unwrap();
        let short = read("github.com/a/b?subdir=x#v1");
        assert_eq!(short.remote, "https://github.com/a/b.git");
        assert_eq!(
            (short.reference.as_str(), short.subdir.as_str()),
            ("v1", "x")
        );
        assert!(short.submodules && !short.keep_git_dir);
        assert_eq!(read("github.com/a/b.git").remote, short.remote);
        let full = read("https://h/x.git?branch=main&submodules=0&checksum=abc&keep-git-dir=1");
        assert_eq!(full.reference, "refs/heads/main");
        assert!(!full.submodules && full.keep_git_dir);
        assert_eq!(full.checksum.as_deref(), Some("abc"));
        assert_eq!(git_context("https://h/x.tar.gz"), Ok(None));
        assert!(git_context("https://h/x.git?colour=red").is_err());
    }

    #[test]
    fn repositories_are_recognised() {
        let git = parse("https://host/a/b.git#v1:dir").unwrap().unwrap();
        assert_eq!(
            (
                git.remote.as_str(),
                git.reference.as_str(),
                git.subdir.as_str()
            ),
            ("https://host/a/b.git", "v1", "dir")
        );
        let scp = parse("git@host:a/b.git").unwrap().unwrap();
        assert_eq!(scp.remote, "git@host:a/b.git");
        let query =
            parse("https://host/b.git?tag=v2&subdir=x&keep-git-dir&submodules=false&commit=abc")
                .unwrap()
                .unwrap();
        assert_eq!(query.reference, "refs/tags/v2");
        assert_eq!(query.keep_git_dir, Some(true));
        assert_eq!(query.submodules, Some(false));
        assert_eq!(query.checksum.as_deref(), Some("abc"));
        for plain in [
            "a.git",
            "./x@y:z/../q",
            "https://host/file.tar",
            "https://host/x",
            "/a/b",
            "ftp://h/x.git",
        ] {
            assert!(
                parse(plain).unwrap().is_none() || plain.contains('@'),
                "{plain}"
            );
        }
        assert!(parse("https://h/b.git?branch=a&tag=b").is_err());
        assert!(parse("https://h/b.git?brnch=a").is_err());
        assert!(parse("https://h/b.git?ref=a#b").is_err());
    }
}
