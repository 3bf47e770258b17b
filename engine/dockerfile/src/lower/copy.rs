//! `COPY` and `ADD`.

use crate::diagnostic::Diagnostic;
use crate::expand::Lexer;
use crate::graph::{Chmod, CopyOp, GitSource, InlineFile, NodeId, Op, Source};
use crate::ignore::clean;
use crate::instruction::{Add, Copy, Transfer};
use crate::lint::Rule;

use super::git;
use super::resolve::Origin;
use super::state::State;
use super::{Current, Lowering};

/// What `COPY` and `ADD` do differently.
#[derive(Default)]
struct Kind<'a> {
    add: Option<&'a Add>,
    checksum: Option<String>,
    parents: bool,
    /// Where files come from.
    from: Option<NodeId>,
    /// They come from the main context.
    from_context: bool,
}

impl Kind<'_> {
    fn name(&self) -> &'static str {
        if self.add.is_some() { "ADD" } else { "COPY" }
    }
}

impl Lowering<'_> {
    pub(super) fn lower_copy(
        &mut self,
        current: &mut Current<'_>,
        state: &mut State,
        copy: &Copy,
    ) -> Result<(), Diagnostic> {
        let line = current.instruction.line;
        let origin = current.stages.copy_source(current.index, copy, line)?;
        let mut kind = Kind {
            parents: copy.parents,
            from_context: origin.is_none(),
            ..Kind::default()
        };
        if let Some(origin) = origin {
            kind.from = Some(self.origin_node(&origin, line, None));
        }
        self.lower_transfer(current, state, &copy.transfer, kind)
    }

    pub(super) fn lower_add(
        &mut self,
        current: &mut Current<'_>,
        state: &mut State,
        add: &Add,
    ) -> Result<(), Diagnostic> {
        let checksum = match &add.checksum {
            Some(checksum) => Some(self.expand(current, state, checksum)?),
            None => None,
        };
        let kind = Kind {
            add: Some(add),
            checksum: checksum.filter(|checksum| !checksum.is_empty()),
            from_context: true,
            ..Kind::default()
        };
        self.lower_transfer(current, state, &add.transfer, kind)
    }

    fn lower_transfer(
        &mut self,
        current: &mut Current<'_>,
        state: &mut State,
        transfer: &Transfer,
        mut kind: Kind<'_>,
    ) -> Result<(), Diagnostic> {
        let option = |this: &mut Self, value: &Option<String>| match value {
            Some(value) => this
                .expand(current, state, value)
                .map(|value| Some(value).filter(|value| !value.is_empty())),
            None => Ok(None),
        };
        let chown = option(self, &transfer.chown)?;
        let chmod = option(self, &transfer.chmod)?;
        let dest = self.expand(current, state, &transfer.dest)?;
        let mut paths = Vec::new();
        for source in &transfer.sources {
            paths.push(self.expand(current, state, source)?);
        }
        let error = |why: String| Diagnostic::error(current.instruction.line, why);
        let mode = chmod
            .as_deref()
            .map(parse_chmod)
            .transpose()
            .map_err(error)?;
        check_checksum(&kind, &paths).map_err(error)?;
        let mut sources = Vec::new();
        for path in &paths {
            sources.push(self.source(current, &mut kind, path)?);
        }
        for heredoc in &transfer.inline {
            let mut data = heredoc.text();
            if heredoc.expand {
                let lexer = Lexer {
                    ignore_quotes: true,
                    ..Lexer::new('\\')
                };
                data = self.expand_with(lexer, current, state, &data)?.text;
            }
            sources.push(Source::Inline(InlineFile {
                path: heredoc.name.clone(),
                data,
                mode: 0o644,
            }));
        }
        let inline = transfer
            .inline
            .iter()
            .map(|heredoc| format!("<<{}", heredoc.name));
        let flags = [
            kind.parents.then(|| "--parents".to_owned()),
            chown.as_ref().map(|chown| format!("--chown={chown}")),
            chmod.as_ref().map(|chmod| format!("--chmod={chmod}")),
        ];
        let words = flags
            .into_iter()
            .flatten()
            .chain(paths.iter().cloned())
            .chain(inline);
        let words = words.chain([dest.clone()]).collect::<Vec<_>>().join(" ");
        let op = CopyOp {
            base: state.node,
            sources,
            dest: destination(state, &dest),
            chown,
            chmod: mode,
            link: transfer.link,
            parents: kind.parents,
            exclude: transfer.exclude.clone(),
        };
        let shown = self.shown(&current.instruction.original, self.lexer, &state.env);
        let node = self.step(current, &shown, Op::Copy(Box::new(op)));
        state.node = node;
        state.record(Some(node), format!("{} {words} # buildkit", kind.name()));
        Ok(())
    }

    /// A source by how it is written.
    fn source(
        &mut self,
        current: &Current<'_>,
        kind: &mut Kind<'_>,
        path: &str,
    ) -> Result<Source, Diagnostic> {
        let line = current.instruction.line;
        let error = |why: String| Diagnostic::error(line, why);
        let unpack = kind.add.and_then(|add| add.unpack);
        if let Some(git) = git::parse(path).map_err(error)? {
            let Some(add) = kind.add else {
                return Err(error("source can't be a git ref for COPY".to_owned()));
            };
            return git_source(git, add, kind.checksum.as_deref())
                .map(Source::Git)
                .map_err(error);
        }
        if is_url(path) {
            if kind.add.is_none() {
                return Err(error("source can't be a URL for COPY".to_owned()));
            }
            return Ok(Source::Url {
                filename: url_file_name(path),
                url: path.to_owned(),
                checksum: kind.checksum.clone(),
                unpack: unpack.unwrap_or_default(),
            });
        }
        if kind.from_context {
            self.lint_ignored(current, kind.name(), path);
        }
        let from = match kind.from {
            Some(from) => from,
            None => self.origin_node(&Origin::Context(None), line, None),
        };
        kind.from = Some(from);
        let (root, pattern) = match (kind.parents, path.split_once("/./")) {
            (false, _) => (path, None),
            (true, Some((root, pattern))) => (root, Some(pattern)),
            (true, None) => ("/", Some(path)),
        };
        let pattern = pattern.map(|pattern| {
            clean(&format!("/{pattern}"))
                .trim_start_matches('/')
                .to_owned()
        });
        Ok(Source::Files {
            from,
            path: clean(&format!("/{root}")),
            parents_pattern: pattern,
            unpack: kind.add.is_some() && unpack.unwrap_or(true),
        })
    }

    fn lint_ignored(&mut self, current: &Current<'_>, keyword: &str, path: &str) {
        let Some(ignore) = &self.options.ignore else {
            return;
        };
        // With exceptions a directory may be ignored and have files that are not.
        if ignore.is_empty() || ignore.has_exceptions() {
            return;
        }
        let path = clean(path);
        let root = path == "." || path == "/";
        let ignored = if root {
            ignore.ignores_all()
        } else {
            ignore.ignores(path.trim_start_matches('/'))
        };
        if ignored {
            let verb = if keyword == "ADD" { "Add" } else { "Copy" };
            let message =
                format!("Attempting to {verb} file {path:?} that is excluded by .dockerignore");
            let instruction = current.instruction;
            let rule = Rule::CopyIgnoredFile;
            self.linter
                .warn(rule, instruction.line, &instruction.comments, message);
        }
    }
}

fn is_url(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// A checksum needs one source that it can be of.
fn check_checksum(kind: &Kind<'_>, paths: &[String]) -> Result<(), String> {
    let Some(checksum) = &kind.checksum else {
        return Ok(());
    };
    let [path] = paths else {
        return Err("checksum can't be specified for multiple sources".to_owned());
    };
    if git::parse(path)?.is_some() {
        return Ok(());
    }
    if !is_url(path) {
        return Err("checksum requires HTTP(S) or Git sources".to_owned());
    }
    let hex = checksum.strip_prefix("sha256:").map(|hex| (hex, 64));
    let hex = hex.or_else(|| checksum.strip_prefix("sha384:").map(|hex| (hex, 96)));
    let hex = hex.or_else(|| checksum.strip_prefix("sha512:").map(|hex| (hex, 128)));
    match hex {
        Some((hex, length))
            if hex.len() == length && hex.chars().all(|c| c.is_ascii_hexdigit()) =>
        {
            Ok(())
        }
        Some(_) => Err(format!(
            "invalid checksum digest length or format: {checksum}"
        )),
        None => Err(format!("unsupported digest algorithm: {checksum}")),
    }
}

fn git_source(git: git::GitRef, add: &Add, checksum: Option<&str>) -> Result<GitSource, String> {
    if let (Some(flag), Some(query)) = (add.keep_git_dir, git.keep_git_dir)
        && flag != query
    {
        return Err("inconsistent keep-git-dir configuration".to_owned());
    }
    if let (Some(flag), Some(query)) = (checksum, git.checksum.as_deref())
        && flag != query
    {
        return Err(format!("checksum mismatch {flag:?} != {query:?}"));
    }
    Ok(GitSource {
        remote: git.remote,
        reference: git.reference,
        subdir: git.subdir,
        checksum: git.checksum.or_else(|| checksum.map(str::to_owned)),
        keep_git_dir: git.keep_git_dir.or(add.keep_git_dir).unwrap_or_default(),
        submodules: git.submodules.unwrap_or(true),
    })
}

/// The last component of a URL's path.
fn url_file_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let (_, path) = path.split_once('/').unwrap_or_default();
    match path.trim_end_matches('/').rsplit('/').next() {
        None | Some("" | "." | "..") => "__unnamed__".to_owned(),
        Some(name) => name.to_owned(),
    }
}

/// Where files go: absolute, and with a slash at the end when it is said to be a directory.
fn destination(state: &State, dest: &str) -> String {
    let directory = dest.is_empty() || dest == "." || dest.ends_with('/') || dest.ends_with("/.");
    let path = state.absolute(dest);
    if directory && path != "/" {
        format!("{path}/")
    } else {
        path
    }
}

/// Permission bits, or `chmod`'s words for changing them.
fn parse_chmod(text: &str) -> Result<Chmod, String> {
    let invalid = || {
        format!(
            "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        )
    };
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let bits = u32::from_str_radix(text, 8).map_err(|_| invalid())?;
        return if bits <= 0o7777 {
            Ok(Chmod::Octal(bits))
        } else {
            Err(invalid())
        };
    }
    let clause = |clause: &str| {
        let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        let mut rest = actions;
        while let Some(more) = rest.strip_prefix(['-', '+', '=']) {
            rest = more.trim_start_matches(['r', 'w', 'x', 'X', 's', 't', 'u', 'g', 'o']);
        }
        !actions.is_empty() && rest.is_empty()
    };
    if text.split(',').all(clause) {
        Ok(Chmod::Symbolic(text.to_owned()))
    } else {
        Err(invalid())
    }
}
