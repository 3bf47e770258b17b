//! A Dockerfile as values: what the parser makes and the lowering reads. Nothing is expanded here.

use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::graph::Healthcheck;
use crate::lint::CheckConfig;
use crate::span::Span;

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq)]
pub struct Dockerfile {
    /// The text it was read from; spans point into it.
    pub text: String,
    /// `# syntax`, `# escape`, `# check`.
    pub directives: Directives,
    /// `ARG`s before the first `FROM`.
    pub global_args: Vec<Instruction>,
    /// The stages, in order; at least one.
    pub stages: Vec<Stage>,
    /// The build checks that need only the text. Those that need expansion come with the graph.
    pub warnings: Vec<Diagnostic>,
}

/// The parser directives at the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: kept for show, this front end is the only one.
    pub syntax: Option<String>,
    /// `# escape=`: a backslash or a backtick.
    pub escape: char,
    /// `# check=`.
    pub check: CheckConfig,
}

impl Default for Directives {
    fn default() -> Self {
        Self {
            syntax: None,
            escape: '\\',
            check: CheckConfig::default(),
        }
    }
}

/// A `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// `AS name`, in lower case.
    pub name: Option<String>,
    /// What it is based on, before expansion.
    pub base: String,
    /// `--platform`, before expansion.
    pub platform: Option<String>,
    /// The keyword as written: `FROM`, `from`.
    pub keyword: String,
    /// `AS` and the name, both as written.
    pub alias: Option<(String, String)>,
    /// The `FROM` line.
    pub span: Span,
    /// The comments directly above.
    pub comments: Vec<String>,
    /// What follows.
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// The keyword as written: `RUN`, `run`.
    pub keyword: String,
    /// What it says.
    pub kind: Kind,
    /// Where it is, with its continuation lines and heredocs.
    pub span: Span,
    /// Where its first logical line is, without heredocs.
    pub line: Span,
    /// The logical line: continuations joined, heredocs not included.
    pub original: String,
    /// The comments directly above.
    pub comments: Vec<String>,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `ADD`.
    Add(Add),
    /// `ARG`.
    Arg(Vec<ArgPair>),
    /// `CMD`.
    Cmd(ShellForm),
    /// `COPY`.
    Copy(Copy),
    /// `ENTRYPOINT`.
    Entrypoint(ShellForm),
    /// `ENV`.
    Env(Vec<Pair>),
    /// `EXPOSE`, sorted as Docker does.
    Expose(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`.
    Label(Vec<Pair>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`: the trigger's text, with its heredocs.
    Onbuild(String),
    /// `RUN`.
    Run(Run),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    Stopsignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    Workdir(String),
}

/// A `key=value` of `ENV` or `LABEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Before expansion.
    pub key: String,
    /// Before expansion, quotes included.
    pub value: String,
    /// Written `KEY value`.
    pub legacy: bool,
}

/// A name of `ARG`, perhaps with its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgPair {
    /// The name.
    pub key: String,
    /// Before expansion, quotes included.
    pub value: Option<String>,
}

/// A command line in exec form or shell form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ShellForm {
    /// `["a", "b"]`.
    Exec(Vec<String>),
    /// The rest of the line, for the shell.
    Shell(String),
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The command.
    pub command: ShellForm,
    /// Its heredocs, in order.
    pub heredocs: Vec<Heredoc>,
    /// `--mount` flags, before expansion.
    pub mounts: Vec<Flag>,
    /// `--network`.
    pub network: Option<Network>,
    /// `--security`.
    pub security: Security,
}

/// `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// That of the build.
    Default,
    /// None but loopback.
    None,
    /// The host's.
    Host,
}

/// `RUN --security`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// As any container.
    #[default]
    Sandbox,
    /// All privileges; needs an entitlement.
    Insecure,
}

/// A flag's value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The value, quotes removed.
    pub value: String,
    /// The whole flag.
    pub span: Span,
}

/// A heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word after `<<`.
    pub name: String,
    /// Variables in it are expanded (by `COPY` and `ADD`): the word was not quoted.
    pub expand: bool,
    /// `<<-`: leading tabs are removed.
    pub chomp: bool,
    /// The file descriptor before `<<`.
    pub descriptor: u32,
    /// The lines between, each with its end.
    pub content: String,
}

impl Heredoc {
    /// The content as a file gets it: without leading tabs when chomped.
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content
            .split_inclusive('\n')
            .map(|line| line.trim_start_matches('\t'))
            .collect()
    }
}

/// Sources and destination of `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// Paths, before expansion.
    pub sources: Vec<String>,
    /// Heredocs among the sources.
    pub inline: Vec<Heredoc>,
    /// Where to, before expansion.
    pub dest: String,
    /// `--chown`, before expansion.
    pub chown: Option<String>,
    /// `--chmod`, before expansion.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, in order.
    pub exclude: Vec<String>,
}

/// `COPY`.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    /// What and where to.
    pub transfer: Transfer,
    /// `--from`.
    pub from: Option<Flag>,
    /// `--parents`.
    pub parents: bool,
}

/// `ADD`.
#[derive(Debug, Clone, PartialEq)]
pub struct Add {
    /// What and where to.
    pub transfer: Transfer,
    /// `--checksum`, before expansion.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`.
    pub unpack: Option<bool>,
}

impl Dockerfile {
    /// Where a stage name's stage is: the last of that name, as in Docker.
    pub fn stage_named(&self, name: &str) -> Option<usize> {
        self.stages.iter().rposition(|stage| {
            stage
                .name
                .as_deref()
                .is_some_and(|own| own.eq_ignore_ascii_case(name))
        })
    }
}
