//! Instructions to the graph of a build.
//!
//! Only stages that the target needs are gone through, in the file's order, each instruction adding a step, changing
//! the configuration, or both. Steps that no stage owns, images and contexts, are shared.

mod config;
mod copy;
mod git;
mod mount;
mod ports;
mod resolve;
mod run;
mod state;

pub use git::git_context;

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Diagnostic, Severity};
use crate::expand::{Expanded, Lexer, Variables};
use crate::graph::{BuildGraph, ImageConfig, Mark, Node, NodeId, Op, Platform};
use crate::instruction::{Dockerfile, Instruction, Kind};
use crate::lint::{CheckConfig, Linter, Rule};
use crate::options::{BaseImage, Bases, NoCache, Options};
use crate::span::Span;
use crate::suggest;

use resolve::{Origin, Stages};
use state::{Env, Masked, State};

/// What images get when they have no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Dockerfile {
    /// The images whose configuration [`Dockerfile::lower`] needs and that are not among those known.
    ///
    /// An image's `ONBUILD` may need more images: ask again with what was learnt until none is missing.
    ///
    /// # Errors
    /// What is wrong with the stages' names and arguments.
    pub fn bases(
        &self,
        options: &Options,
        known: &Bases,
    ) -> Result<Vec<BaseImage>, Vec<Diagnostic>> {
        let mut linter = Linter::new(CheckConfig::default());
        let stages = Stages::resolve(self, options, &mut linter)?;
        let (_, images) = stages.reachable(&[stages.target], known)?;
        Ok(images
            .into_iter()
            .filter(|image| known.get(&image.reference, &image.platform).is_none())
            .collect())
    }

    /// The graph of the build.
    ///
    /// # Errors
    /// Everything that is wrong; warnings are among it when `# check=error=true` makes them fail the build.
    pub fn lower(&self, options: &Options, bases: &Bases) -> Result<BuildGraph, Vec<Diagnostic>> {
        let (lowering, result) = lower(self, options, bases, Scope::Target);
        result?;
        lowering.finish()
    }

    /// The build checks and errors that are found without any base image, of all stages when there is no target.
    pub fn check(&self, options: &Options) -> Vec<Diagnostic> {
        let scope = match options.target {
            Some(_) => Scope::Target,
            None => Scope::AllStages,
        };
        let unknown = Bases::default();
        let (lowering, result) = lower(self, options, &unknown, scope);
        let mut findings = lowering.linter.findings;
        findings.extend(result.err().unwrap_or_default());
        findings.sort_by_key(|finding| finding.span.start);
        findings
    }
}

/// What is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// What the target needs.
    Target,
    /// Every stage, for checks: base images need not be known.
    AllStages,
}

fn lower<'a>(
    dockerfile: &'a Dockerfile,
    options: &'a Options,
    bases: &'a Bases,
    scope: Scope,
) -> (Lowering<'a>, Result<(), Vec<Diagnostic>>) {
    let mut config = dockerfile.directives.check.clone();
    let mut errors = Vec::new();
    if let Some(value) = options.build_args.get("BUILDKIT_DOCKERFILE_CHECK") {
        match CheckConfig::parse(value) {
            Ok(own) => config = own,
            Err(why) => errors.push(Diagnostic::error(Span::default(), why)),
        }
    }
    let mut lowering = Lowering {
        dockerfile,
        options,
        bases,
        scope,
        lexer: Lexer::new(dockerfile.directives.escape),
        linter: Linter::new(config),
        nodes: Vec::new(),
        shared: BTreeMap::new(),
        done: BTreeMap::new(),
        target: 0,
        trail: Vec::new(),
    };
    lowering.adopt_warnings();
    if let Err(more) = lowering.run() {
        errors.extend(more);
    }
    let result = if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    };
    (lowering, result)
}

/// A graph while it is made.
struct Lowering<'a> {
    dockerfile: &'a Dockerfile,
    options: &'a Options,
    bases: &'a Bases,
    scope: Scope,
    lexer: Lexer,
    linter: Linter,
    nodes: Vec<Node>,
    /// Steps that no stage owns.
    shared: BTreeMap<Origin, NodeId>,
    /// Stages that were gone through.
    done: BTreeMap<usize, State>,
    target: usize,
    /// What each instruction left, when that is asked for.
    trail: Vec<Mark>,
}

/// The instruction that is gone through.
struct Current<'a> {
    stages: &'a Stages<'a>,
    /// The stage.
    index: usize,
    instruction: &'a Instruction,
    /// From a base image.
    trigger: bool,
    label: &'a mut Label,
}

/// How a stage's steps are shown.
struct Label {
    /// Empty when the build has but one stage.
    stage: String,
    step: usize,
    steps: usize,
}

impl Label {
    /// `[web 2/4] RUN make`.
    fn next(&mut self, command: &str, trigger: bool) -> String {
        if self.steps == 0 {
            return command.to_owned();
        }
        self.step += 1;
        let blank = if self.stage.is_empty() { "" } else { " " };
        let width = self.steps.to_string().len();
        let trigger = if trigger { "ONBUILD " } else { "" };
        format!(
            "[{}{blank}{:>width$}/{}] {trigger}{command}",
            self.stage, self.step, self.steps
        )
    }
}

impl<'a> Lowering<'a> {
    /// The parser's warnings, as far as this build's configuration tells them.
    fn adopt_warnings(&mut self) {
        let config = &self.linter.config;
        let told = |finding: &&Diagnostic| {
            let rule = Rule::ALL
                .iter()
                .find(|rule| Some(rule.name()) == finding.rule.as_deref());
            rule.is_none_or(|rule| config.tells(*rule))
        };
        let own = self.dockerfile.warnings.iter().filter(told).cloned();
        let own: Vec<Diagnostic> = own.collect();
        self.linter.findings.extend(own);
    }

    fn run(&mut self) -> Result<(), Vec<Diagnostic>> {
        let stages = Stages::resolve(self.dockerfile, self.options, &mut self.linter)?;
        self.target = stages.target;
        let wanted: Vec<usize> = match self.scope {
            Scope::Target => vec![stages.target],
            Scope::AllStages => (0..self.dockerfile.stages.len()).collect(),
        };
        let (needed, _) = stages.reachable(&wanted, self.bases)?;
        let alone = self.is_alone(&stages, &needed);
        let mut errors = Vec::new();
        for index in needed {
            let label = if alone {
                String::new()
            } else {
                stages.shown_name(index)
            };
            match self.stage(&stages, index, label) {
                Ok(state) => {
                    self.done.insert(index, state);
                }
                Err(more) => {
                    errors.extend(more);
                    // What builds on it is told nothing of its own.
                    break;
                }
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Whether the file has one stage that needs no other files than the context's.
    fn is_alone(&self, stages: &Stages<'_>, needed: &BTreeSet<usize>) -> bool {
        self.dockerfile.stages.len() == 1
            && needed.iter().all(|index| {
                let instructions = stages.instructions(*index, self.bases);
                instructions.is_ok_and(|all| {
                    all.iter().all(|(instruction, _)| match &instruction.kind {
                        Kind::Copy(copy) => copy.from.is_none(),
                        Kind::Run(run) => run.mounts.is_empty(),
                        _ => true,
                    })
                })
            })
    }

    fn stage(
        &mut self,
        stages: &Stages<'_>,
        index: usize,
        label: String,
    ) -> Result<State, Vec<Diagnostic>> {
        let instructions = stages.instructions(index, self.bases)?;
        let outside = !matches!(
            stages.stages[index].origin,
            Origin::Scratch | Origin::Stage(_)
        );
        let step = |kind: &Kind| {
            matches!(
                kind,
                Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_)
            )
        };
        let own = instructions
            .iter()
            .filter(|(instruction, trigger)| *trigger || step(&instruction.kind))
            .count();
        let mut label = Label {
            stage: label,
            step: 0,
            steps: own + usize::from(outside && !stages.stages[index].replaced),
        };
        let mut state = self
            .begin(stages, index, &mut label)
            .map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        for (instruction, trigger) in &instructions {
            let mut current = Current {
                stages,
                index,
                instruction,
                trigger: *trigger,
                label: &mut label,
            };
            if let Err(error) = self.instruction(&mut current, &mut state) {
                errors.push(error);
            }
            if self.options.trail {
                self.trail.push(state.mark(index, *trigger));
            }
        }
        if errors.is_empty() {
            Ok(state)
        } else {
            Err(errors)
        }
    }

    /// What a stage begins with.
    fn begin(
        &mut self,
        stages: &Stages<'_>,
        index: usize,
        label: &mut Label,
    ) -> Result<State, Diagnostic> {
        let stage = &self.dockerfile.stages[index];
        let origin = &stages.stages[index].origin;
        if let Origin::Stage(base) = origin {
            let state = self.done.get(base).ok_or_else(|| {
                Diagnostic::error(stage.span, format!("stage {} is not built", stage.base))
            })?;
            let mut state = state.inherited();
            ensure_path(&mut state);
            return Ok(state);
        }
        let node = self.origin_node(origin, stage.span, Some(label));
        let mut state = State {
            node,
            config: ImageConfig::default(),
            author: None,
            history: Vec::new(),
            base_image: None,
            platform: self.options.target_platform.clone(),
            env: Env::default(),
            args: Vec::new(),
            cmd_set: false,
            workdir_set: false,
            env_known: true,
        };
        if let Origin::Image(reference, platform) = origin {
            self.adopt_image(&mut state, index, (reference, platform))?;
            state.base_image = Some(node);
        }
        ensure_path(&mut state);
        Ok(state)
    }

    /// Takes over an image's configuration.
    fn adopt_image(
        &mut self,
        state: &mut State,
        index: usize,
        (reference, platform): (&str, &Platform),
    ) -> Result<(), Diagnostic> {
        let stage = &self.dockerfile.stages[index];
        state.platform = platform.clone();
        let Some(base) = self.bases.get(reference, platform) else {
            if self.scope == Scope::AllStages {
                state.env_known = false;
                return Ok(());
            }
            return Err(Diagnostic::error(
                stage.span,
                format!("{reference}: the image's configuration is not known"),
            ));
        };
        state.config = base.config.clone();
        state.config.on_build.clear();
        if let Some(actual) = &base.platform {
            if actual.os != platform.os || actual.architecture != platform.architecture {
                let message = format!(
                    "Base image {} was pulled with platform \"{actual}\", expected \"{platform}\" for current build",
                    stage.base
                );
                let rule = Rule::InvalidBaseImagePlatform;
                self.linter.warn(rule, stage.span, &stage.comments, message);
            }
            state.platform = actual.clone();
        }
        for line in &base.config.env {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            state.env.set(name, value);
        }
        if !state.config.working_dir.is_empty() {
            state.config.working_dir = state.absolute(&format!("/{}", state.config.working_dir));
        }
        Ok(())
    }

    /// The step of what is no stage's, made once.
    fn origin_node(&mut self, origin: &Origin, span: Span, label: Option<&mut Label>) -> NodeId {
        if let Origin::Stage(index) = origin
            && let Some(state) = self.done.get(index)
        {
            return state.node;
        }
        let (command, op) = match origin {
            Origin::Image(reference, platform) => (
                format!("FROM {reference}"),
                Op::Image {
                    reference: reference.clone(),
                    platform: platform.clone(),
                },
            ),
            Origin::Context(Some(name)) => (
                format!("[context {name}] load from client"),
                Op::Context {
                    name: Some(name.clone()),
                },
            ),
            Origin::Context(None) => (
                "[internal] load build context".to_owned(),
                Op::Context { name: None },
            ),
            Origin::Scratch | Origin::Stage(_) => ("scratch".to_owned(), Op::Scratch),
        };
        let is_image = matches!(origin, Origin::Image(..));
        // The step counts in every stage that begins with it, even where another made it.
        let stage = label.as_ref().map(|label| label.stage.clone());
        let name = match label {
            Some(label) if is_image => label.next(&command, false),
            Some(label) if !matches!(origin, Origin::Scratch) => {
                label.step += usize::from(label.steps > 0);
                command
            }
            _ => command,
        };
        if let Some(node) = self.shared.get(origin) {
            return *node;
        }
        let node = self.push(Node {
            stage: stage.unwrap_or_default(),
            name,
            span,
            no_cache: false,
            op,
        });
        self.shared.insert(origin.clone(), node);
        node
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// Adds a step of a stage.
    fn step(&mut self, current: &mut Current<'_>, shown: &str, op: Op) -> NodeId {
        let name = current.label.next(shown, current.trigger);
        let stage = current.stages.shown_name(current.index);
        let own_name = self.dockerfile.stages[current.index].name.clone();
        let no_cache = match &self.options.no_cache {
            NoCache::None => false,
            NoCache::All => true,
            NoCache::Stages(names) => names.contains(&own_name.unwrap_or_default()),
        };
        self.push(Node {
            stage,
            name,
            span: current.instruction.span,
            no_cache,
            op,
        })
    }

    fn instruction(
        &mut self,
        current: &mut Current<'_>,
        state: &mut State,
    ) -> Result<(), Diagnostic> {
        match &current.instruction.kind {
            Kind::Run(run) => self.lower_run(current, state, run),
            Kind::Copy(copy) => self.lower_copy(current, state, copy),
            Kind::Add(add) => self.lower_add(current, state, add),
            Kind::Workdir(path) => self.lower_workdir(current, state, path),
            _ => self.lower_config(current, state),
        }
    }

    /// Expands a word of an instruction; variables that nobody defined are told.
    fn expand(
        &mut self,
        current: &Current<'_>,
        state: &State,
        word: &str,
    ) -> Result<String, Diagnostic> {
        let expanded = self.expand_with(self.lexer, current, state, word)?;
        Ok(expanded.text)
    }

    fn expand_with(
        &mut self,
        lexer: Lexer,
        current: &Current<'_>,
        state: &State,
        word: &str,
    ) -> Result<Expanded, Diagnostic> {
        let expanded = lexer
            .expand(word, &state.env)
            .map_err(|why| Diagnostic::error(current.instruction.line, why))?;
        self.lint_undefined(current, state, &expanded);
        Ok(expanded)
    }

    fn lint_undefined(&mut self, current: &Current<'_>, state: &State, expanded: &Expanded) {
        if !state.env_known {
            return;
        }
        let declared = |name: &str| {
            state.args.iter().any(|(own, _)| own == name)
                || matches!(
                    name,
                    "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE"
                )
        };
        for name in expanded.unmatched.iter().filter(|name| !declared(name)) {
            let near = match suggest::nearest(name, state.env.names()) {
                Some(near) => format!(" (did you mean ${near}?)"),
                None => String::new(),
            };
            let message = format!("Usage of undefined variable '${name}'{near}");
            let instruction = current.instruction;
            let rule = Rule::UndefinedVar;
            self.linter
                .warn(rule, instruction.line, &instruction.comments, message);
        }
    }

    /// An instruction as it is shown: the keyword in upper case, variables put in.
    fn shown(&self, text: &str, lexer: Lexer, variables: &dyn Variables) -> String {
        let text = lexer
            .expand(text, variables)
            .map_or_else(|_| text.to_owned(), |expanded| expanded.text);
        match text.split_once(' ') {
            Some((keyword, rest)) => format!("{} {rest}", keyword.to_uppercase()),
            None => text.to_uppercase(),
        }
    }

    fn finish(mut self) -> Result<BuildGraph, Vec<Diagnostic>> {
        self.linter
            .findings
            .sort_by_key(|finding| finding.span.start);
        let mut warnings = self.linter.findings;
        if self.linter.config.error && !warnings.is_empty() {
            let rules: BTreeSet<&str> = warnings
                .iter()
                .filter_map(|finding| finding.rule.as_deref())
                .collect();
            let rules = rules.into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("lint violation found for rules: {rules}");
            let span = warnings[0].span;
            warnings.push(Diagnostic::error(span, message));
            return Err(warnings);
        }
        debug_assert!(
            warnings
                .iter()
                .all(|finding| finding.severity == Severity::Warning),
            "errors are returned before"
        );
        let epoch = source_date_epoch(self.options, self.dockerfile)?;
        let name = self.dockerfile.stages[self.target].name.clone();
        let Some(state) = self.done.remove(&self.target) else {
            return Err(vec![Diagnostic::error(
                self.dockerfile.stages[self.target].span,
                "the target stage was not built",
            )]);
        };
        let mut config = state.config;
        config.labels.extend(self.options.labels.clone());
        Ok(BuildGraph {
            nodes: self.nodes,
            target: state.node,
            target_stage: name.unwrap_or_else(|| format!("stage-{}", self.target)),
            config,
            author: state.author,
            history: state.history,
            base_image: state.base_image,
            platform: state.platform,
            proxy: proxy(&self.options.build_args),
            source_date_epoch: epoch,
            warnings,
            trail: self.trail,
        })
    }

    /// What the steps of a secret's variables show instead of them.
    fn masked<'e>(env: &'e Env, secret: BTreeSet<String>) -> Masked<'e> {
        Masked { env, secret }
    }
}

/// Gives an image a `PATH` when it has none.
fn ensure_path(state: &mut State) {
    if !state
        .config
        .env
        .iter()
        .any(|line| line.starts_with("PATH="))
    {
        state.set_env("PATH", DEFAULT_PATH);
    }
}

/// The proxy settings among the build arguments.
fn proxy(args: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    const NAMES: [&str; 5] = [
        "http_proxy",
        "https_proxy",
        "ftp_proxy",
        "no_proxy",
        "all_proxy",
    ];
    args.iter()
        .filter(|(name, _)| NAMES.contains(&name.to_lowercase().as_str()))
        .flat_map(|(name, value)| {
            // Programs look for the one or the other.
            [name.to_uppercase(), name.to_lowercase()].map(|name| (name, value.clone()))
        })
        .collect()
}

/// `SOURCE_DATE_EPOCH` as given, or by default of a global `ARG`.
fn source_date_epoch(
    options: &Options,
    dockerfile: &Dockerfile,
) -> Result<Option<i64>, Vec<Diagnostic>> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    let global = || {
        dockerfile
            .global_args
            .iter()
            .find_map(|instruction| match &instruction.kind {
                Kind::Arg(pairs) => pairs
                    .iter()
                    .find(|pair| pair.key == NAME)
                    .and_then(|pair| pair.value.clone()),
                _ => None,
            })
    };
    let value = options.build_args.get(NAME).cloned().or_else(global);
    match value.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            let message = format!("invalid {NAME}: {text:?}");
            vec![Diagnostic::error(Span::default(), message).help("give seconds since 1970")]
        }),
    }
}

#[cfg(test)]
mod tests;
