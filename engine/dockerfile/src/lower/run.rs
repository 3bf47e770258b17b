//! `RUN` and `WORKDIR`.

use std::collections::BTreeSet;

use crate::diagnostic::Diagnostic;
use crate::expand::Lexer;
use crate::graph::{InlineFile, MountKind, Network, NodeId, Op, RunMount, RunOp};
use crate::instruction::{Run, ShellForm};
use crate::lint::Rule;

use super::mount::{self, Mount};
use super::resolve::{Numbers, Origin};
use super::state::State;
use super::{Current, Lowering};

/// Where scripts from heredocs are, as BuildKit has it.
const SCRIPTS: &str = "/dev/pipes";

/// A command, ready to run.
struct Command {
    argv: Vec<String>,
    scripts: Vec<InlineFile>,
    /// What is shown after the instruction's line.
    summary: String,
}

/// Agents' sockets without a place of their own are where BuildKit has them.
fn place_agents(mounts: &mut [RunMount]) {
    let agents = mounts
        .iter_mut()
        .filter(|mount| matches!(mount.kind, MountKind::Ssh { .. }));
    for (index, mount) in agents.enumerate() {
        if mount.target.is_empty() {
            mount.target = format!("/run/buildkit/ssh_agent.{index}");
        }
    }
}

impl Lowering<'_> {
    pub(super) fn lower_run(
        &mut self,
        current: &mut Current<'_>,
        state: &mut State,
        run: &Run,
    ) -> Result<(), Diagnostic> {
        let command = command(state, run);
        let mut mounts = Vec::new();
        let mut secret = BTreeSet::new();
        for flag in &run.mounts {
            // A trigger's flag has no place in this file.
            let span = if current.trigger {
                current.instruction.line
            } else {
                flag.span
            };
            let at = |why: String| Diagnostic::error(span, why);
            let mut findings = Vec::new();
            let mount = mount::parse(&flag.value, |value| {
                let expanded = self.lexer.expand(value, &state.env)?;
                let text = expanded.text.clone();
                findings.push(expanded);
                Ok(text)
            })
            .map_err(at)?;
            for expanded in findings {
                self.lint_undefined(current, state, &expanded);
            }
            secret.extend(mount.env.clone());
            mounts.push(self.mount(current, state, mount).map_err(|mut error| {
                error.span = span;
                error
            })?);
        }
        place_agents(&mut mounts);
        let op = RunOp {
            base: state.node,
            argv: command.argv.clone(),
            env: state.env.pairs().to_vec(),
            workdir: state.absolute("."),
            user: state.config.user.clone(),
            mounts,
            network: match run.network {
                None | Some(Network::Default) => self.options.network,
                Some(network) => network,
            },
            security: run.security,
            scripts: command.scripts,
        };
        let lexer = Lexer {
            keep_quotes: true,
            keep_unset: true,
            ..self.lexer
        };
        let text = format!("{}{}", current.instruction.original, command.summary);
        let shown = self.shown(&text, lexer, &Self::masked(&state.env, secret));
        let node = self.step(current, &shown, Op::Run(Box::new(op)));
        state.node = node;
        let line = format!("RUN {} # buildkit", with_args(state, &command.argv));
        state.record(Some(node), line);
        Ok(())
    }

    fn mount(
        &mut self,
        current: &Current<'_>,
        state: &State,
        mount: Mount,
    ) -> Result<RunMount, Diagnostic> {
        let line = current.instruction.line;
        let error = |why: String| Diagnostic::error(line, why);
        let from = match mount.from.as_str() {
            "" => None,
            name => Some(
                current
                    .stages
                    .source(current.index, name, line, Numbers::AreNames)?,
            ),
        };
        let source = crate::ignore::clean(&format!("/{}", mount.source));
        let target = match mount.target.as_str() {
            "" => String::new(),
            target => state.absolute(target),
        };
        let own_target = || match target.as_str() {
            "" | "/" => Err(error(format!("invalid mount target {:?}", mount.target))),
            _ => Ok(target.clone()),
        };
        let owner = mount.owner;
        Ok(match mount.kind {
            mount::Kind::Bind => RunMount {
                target: own_target()?,
                kind: MountKind::Bind {
                    from: self.mount_source(from.unwrap_or(Origin::Context(None)), current),
                    source,
                    writable: !mount.read_only,
                },
            },
            mount::Kind::Cache => {
                let id = match mount.id.as_str() {
                    "" => crate::ignore::clean(&mount.target),
                    id => id.to_owned(),
                };
                let namespace = self.options.build_args.get("BUILDKIT_CACHE_MOUNT_NS");
                RunMount {
                    target: own_target()?,
                    kind: MountKind::Cache {
                        id: namespace.map_or(id.clone(), |space| format!("{space}/{id}")),
                        sharing: mount.sharing.unwrap_or_default(),
                        from: from.map(|from| self.mount_source(from, current)),
                        source,
                        read_only: mount.read_only,
                        owner,
                    },
                }
            }
            mount::Kind::Tmpfs => RunMount {
                target: own_target()?,
                kind: MountKind::Tmpfs { size: mount.size },
            },
            mount::Kind::Secret => secret(&mount, target),
            mount::Kind::Ssh => RunMount {
                target,
                kind: MountKind::Ssh {
                    id: match mount.id.as_str() {
                        "" => "default".to_owned(),
                        id => id.to_owned(),
                    },
                    required: mount.required,
                    owner,
                },
            },
        })
    }

    fn mount_source(&mut self, origin: Origin, current: &Current<'_>) -> NodeId {
        self.origin_node(&origin, current.instruction.line, None)
    }

    pub(super) fn lower_workdir(
        &mut self,
        current: &mut Current<'_>,
        state: &mut State,
        path: &str,
    ) -> Result<(), Diagnostic> {
        let path = self.expand(current, state, path)?;
        if !state.workdir_set && !path.starts_with('/') {
            let message = format!(
                "Relative workdir {path:?} can have unexpected results if the base image changes"
            );
            let instruction = current.instruction;
            let rule = Rule::WorkdirRelativePath;
            self.linter
                .warn(rule, instruction.line, &instruction.comments, message);
        }
        state.workdir_set = true;
        let path = state.absolute(&path);
        state.config.working_dir.clone_from(&path);
        let mut made = None;
        if path != "/" {
            let shown = self.shown(&current.instruction.original, self.lexer, &state.env);
            let op = Op::Workdir {
                base: state.node,
                path: path.clone(),
                user: state.config.user.clone(),
            };
            state.node = self.step(current, &shown, op);
            made = Some(state.node);
        }
        state.record(made, format!("WORKDIR {path}"));
        Ok(())
    }
}

/// A secret as a file, by default below `/run/secrets`, or as a variable.
fn secret(mount: &Mount, target: String) -> RunMount {
    let id = [mount.source.as_str(), mount.id.as_str()]
        .into_iter()
        .find(|id| !id.is_empty())
        .map_or_else(|| base_name(&mount.target), str::to_owned);
    let target = match (target.is_empty(), &mount.env) {
        (true, None) => format!("/run/secrets/{}", base_name(&id)),
        _ => target,
    };
    let env = mount.env.as_ref().map(|name| match name.as_str() {
        "" => id.clone(),
        name => name.to_owned(),
    });
    RunMount {
        target,
        kind: MountKind::Secret {
            id,
            env,
            required: mount.required,
            owner: mount.owner,
        },
    }
}

/// What runs: the words of the exec form, or the shell with its line and heredocs.
fn command(state: &State, run: &Run) -> Command {
    let mut scripts = Vec::new();
    let mut summary = String::new();
    let line = match &run.command {
        ShellForm::Exec(argv) => {
            return Command {
                argv: argv.clone(),
                scripts,
                summary,
            };
        }
        ShellForm::Shell(line) => line,
    };
    let only = crate::parse::parse_heredoc_word(line).and(run.heredocs.first());
    let argv = match (only, run.heredocs.as_slice()) {
        (_, []) => state.shell(line),
        (Some(heredoc), _) => {
            summary = format!(" ({})", summarise(&heredoc.content));
            let data = heredoc.text();
            if data.starts_with("#!") {
                let path = format!("{SCRIPTS}/{}", heredoc.name);
                scripts.push(InlineFile {
                    path: path.clone(),
                    data,
                    mode: 0o755,
                });
                vec![path]
            } else {
                state.shell(&data)
            }
        }
        // The shell reads several itself.
        (None, heredocs) => {
            let mut text = line.clone();
            for heredoc in heredocs {
                text.push('\n');
                text.push_str(&heredoc.content);
                text.push_str(&heredoc.name);
            }
            state.shell(&text)
        }
    };
    Command {
        argv,
        scripts,
        summary,
    }
}

/// A heredoc's first line.
fn summarise(content: &str) -> String {
    let mut lines = content.trim().lines();
    let first = lines.next().unwrap_or_default().to_owned();
    match lines.next() {
        Some(_) => format!("{first}..."),
        None => first,
    }
}

/// `|2 A=1 B=2 /bin/sh -c make`: a command with the arguments in scope, as the history has it.
fn with_args(state: &State, argv: &[String]) -> String {
    use crate::expand::Variables;
    let mut words: Vec<String> = Vec::new();
    for (name, value) in &state.args {
        let value = state
            .env
            .value(name)
            .or(value.as_deref())
            .unwrap_or_default();
        let word = format!("{name}={value}");
        let own = |word: &String| word.split('=').next() == Some(name);
        match words.iter_mut().find(|word| own(word)) {
            Some(old) => *old = word,
            None => words.push(word),
        }
    }
    if !words.is_empty() {
        words.insert(0, format!("|{}", words.len()));
    }
    words.extend(argv.iter().cloned());
    words.join(" ")
}

/// The last component of a path.
fn base_name(path: &str) -> String {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or_default().to_owned()
}
