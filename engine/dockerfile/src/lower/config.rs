//! The instructions that only change the image's configuration.

use crate::diagnostic::Diagnostic;
use crate::duration;
use crate::graph::{Empty, Healthcheck};
use crate::instruction::{ArgPair, Instruction, Kind, Pair, ShellForm};
use crate::lint::Rule;

use super::state::State;
use super::{Current, Lowering, ports};

/// The signals by their names without `SIG`.
const SIGNALS: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

impl Lowering<'_> {
    pub(super) fn lower_config(
        &mut self,
        current: &Current<'_>,
        state: &mut State,
    ) -> Result<(), Diagnostic> {
        match &current.instruction.kind {
            Kind::Env(pairs) => {
                let pairs = self.pairs(current, state, pairs)?;
                for (name, value) in &pairs {
                    state.set_env(name, value);
                }
                state.record(None, joined("ENV", &pairs));
            }
            Kind::Label(pairs) => {
                let pairs = self.pairs(current, state, pairs)?;
                state.record(None, joined("LABEL", &pairs));
                state.config.labels.extend(pairs);
            }
            Kind::Arg(pairs) => self.arg(current, state, pairs)?,
            Kind::Cmd(form) => {
                let argv = argv(state, form);
                state.record(None, format!("CMD {}", quoted(&argv)));
                // `CMD []` takes away what comes from below.
                state.config.cmd = Some(argv).filter(|argv| !argv.is_empty());
                state.cmd_set = true;
            }
            Kind::Entrypoint(form) => entrypoint(state, form),
            Kind::Expose(words) => self.expose(current, state, words)?,
            Kind::Healthcheck(check) => {
                state.record(None, shown_healthcheck(check));
                state.config.healthcheck = Some(check.clone());
            }
            Kind::Maintainer(name) => {
                state.author = Some(name.clone());
                state.record(None, format!("MAINTAINER {name}"));
            }
            Kind::Onbuild(trigger) => state.config.on_build.push(trigger.clone()),
            Kind::Shell(words) => {
                state.config.shell.clone_from(words);
                state.record(None, format!("SHELL [{}]", words.join(" ")));
            }
            Kind::Stopsignal(signal) => {
                let signal = self.expand(current, state, signal)?;
                check_signal(current.instruction, &signal)?;
                state.record(None, format!("STOPSIGNAL {signal}"));
                state.config.stop_signal = Some(signal);
            }
            Kind::User(user) => {
                let user = self.expand(current, state, user)?;
                state.record(None, format!("USER {user}"));
                state.config.user = user;
            }
            Kind::Volume(paths) => {
                let mut volumes = Vec::new();
                for path in paths {
                    volumes.push(self.expand(current, state, path)?);
                }
                if volumes.iter().any(String::is_empty) {
                    return Err(Diagnostic::error(
                        current.instruction.line,
                        "VOLUME specified can not be an empty string",
                    ));
                }
                state.record(None, format!("VOLUME [{}]", volumes.join(" ")));
                state
                    .config
                    .volumes
                    .extend(volumes.into_iter().map(|path| (path, Empty {})));
            }
            // Those that make steps are dispatched before.
            Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_) => {}
        }
        Ok(())
    }

    /// Names and values, all expanded with what was set before the instruction.
    fn pairs(
        &mut self,
        current: &Current<'_>,
        state: &State,
        pairs: &[Pair],
    ) -> Result<Vec<(String, String)>, Diagnostic> {
        let mut expanded = Vec::new();
        for pair in pairs {
            let key = self.expand(current, state, &pair.key)?;
            let value = self.expand(current, state, &pair.value)?;
            expanded.push((key, value));
        }
        Ok(expanded)
    }

    /// `ARG`: given, else the default, else the global one of the same name, else declared but not set.
    fn arg(
        &mut self,
        current: &Current<'_>,
        state: &mut State,
        pairs: &[ArgPair],
    ) -> Result<(), Diagnostic> {
        let mut words = Vec::new();
        for pair in pairs {
            let given = self.options.build_args.get(&pair.key).cloned();
            let value = match (given, &pair.value) {
                (Some(given), _) => Some(given),
                (None, Some(default)) => Some(self.expand(current, state, default)?),
                (None, None) => current.stages.global.get(&pair.key).cloned(),
            };
            if let Some(value) = &value {
                state.env.set(&pair.key, value);
            }
            words.push(match &value {
                Some(value) => format!("{}={value}", pair.key),
                None => pair.key.clone(),
            });
            state.args.push((pair.key.clone(), value));
        }
        state.record(None, format!("ARG {}", words.join(" ")));
        Ok(())
    }

    fn expose(
        &mut self,
        current: &Current<'_>,
        state: &mut State,
        words: &[String],
    ) -> Result<(), Diagnostic> {
        let instruction = current.instruction;
        let mut all = Vec::new();
        for word in words {
            let lexer = self.lexer;
            let expanded = self.expand_with(lexer, current, state, word)?;
            for word in &expanded.words {
                let exposed =
                    ports::parse(word).map_err(|why| Diagnostic::error(instruction.line, why))?;
                let mut warn = |rule, message| {
                    self.linter
                        .warn(rule, instruction.line, &instruction.comments, message);
                };
                if exposed.odd_case {
                    warn(
                        Rule::ExposeProtoCasing,
                        format!(
                            "Defined protocol '{word}' in EXPOSE instruction should be lowercase"
                        ),
                    );
                }
                if exposed.mapping {
                    warn(
                        Rule::ExposeInvalidFormat,
                        format!(
                            "EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
                        ),
                    );
                }
                all.extend(exposed.ports);
            }
        }
        state.record(None, format!("EXPOSE [{}]", all.join(" ")));
        let ports = all.into_iter().map(|port| (port, Empty {}));
        state.config.exposed_ports.extend(ports);
        Ok(())
    }
}

fn entrypoint(state: &mut State, form: &ShellForm) {
    let argv = argv(state, form);
    state.record(None, format!("ENTRYPOINT {}", quoted(&argv)));
    // A command from below is an argument of another entrypoint.
    if !state.cmd_set {
        state.config.cmd = None;
    }
    state.config.entrypoint = Some(argv).filter(|argv| !argv.is_empty());
}

fn argv(state: &State, form: &ShellForm) -> Vec<String> {
    match form {
        ShellForm::Exec(argv) => argv.clone(),
        ShellForm::Shell(line) => state.shell(line),
    }
}

fn joined(keyword: &str, pairs: &[(String, String)]) -> String {
    let words = pairs.iter().map(|(name, value)| format!(" {name}={value}"));
    std::iter::once(keyword.to_owned()).chain(words).collect()
}

/// `["a" "b"]`, as Go prints it.
fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}

fn shown_healthcheck(check: &Healthcheck) -> String {
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.join(" "),
        duration::show(check.interval),
        duration::show(check.timeout),
        duration::show(check.start_period),
        duration::show(check.start_interval),
        check.retries
    )
}

fn check_signal(instruction: &Instruction, signal: &str) -> Result<(), Diagnostic> {
    let upper = signal.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let (base, offset) = match name.split_once(['+', '-']) {
        Some((base @ ("RTMIN" | "RTMAX"), offset)) => (base, offset),
        _ => (name, "0"),
    };
    let named = SIGNALS.contains(&base) && offset.parse::<u8>().is_ok_and(|offset| offset <= 15);
    let numbered = signal
        .parse::<u32>()
        .is_ok_and(|number| (1..=64).contains(&number));
    if named || numbered {
        return Ok(());
    }
    let near = crate::suggest::nearest(name, SIGNALS);
    let error = Diagnostic::error(instruction.line, format!("invalid signal: {signal}"));
    Err(match near {
        Some(near) => error.help(format!("did you mean SIG{near}?")),
        None => error.help("a signal is a number or a name like SIGTERM"),
    })
}
