//! Names to what they mean: which stage, context or image a `FROM`, `--from` or `from=` is, and the global arguments.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Diagnostic;
use crate::expand::{Expanded, Lexer};
use crate::graph::Platform;
use crate::instruction::{Copy, Dockerfile, Instruction, Kind, Stage};
use crate::lint::{Linter, Rule};
use crate::options::{BaseImage, Bases, NamedContext, Options};
use crate::parse::parse_trigger;
use crate::span::Span;
use crate::suggest;

use super::mount;

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Scratch,
    Stage(usize),
    /// Files of a context; `None` is the main one.
    Context(Option<String>),
    /// A reference, and the platform it is wanted for.
    Image(String, Platform),
}

/// A stage whose names are resolved.
#[derive(Debug)]
pub(super) struct Resolved {
    /// What it is based on.
    pub(super) origin: Origin,
    /// A named context takes its place: none of its instructions run.
    pub(super) replaced: bool,
}

/// All stages, with the arguments that hold before the first.
#[derive(Debug)]
pub(super) struct Stages<'a> {
    pub(super) dockerfile: &'a Dockerfile,
    pub(super) options: &'a Options,
    pub(super) lexer: Lexer,
    /// Automatic arguments and global `ARG`s with their values.
    pub(super) global: BTreeMap<String, String>,
    pub(super) stages: Vec<Resolved>,
    pub(super) target: usize,
}

impl<'a> Stages<'a> {
    /// Resolves the stages' bases and the target.
    pub(super) fn resolve(
        dockerfile: &'a Dockerfile,
        options: &'a Options,
        linter: &mut Linter,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        let lexer = Lexer::new(dockerfile.directives.escape);
        let target = target(dockerfile, options).unwrap_or_else(|error| {
            errors.push(error);
            0
        });
        let automatic = automatic_args(dockerfile, options, target);
        let no_args = BTreeMap::new();
        let (defaults, _) = global_args(dockerfile, lexer, &automatic, &no_args);
        let (global, more) = global_args(dockerfile, lexer, &automatic, &options.build_args);
        errors.extend(more);
        let mut this = Self {
            dockerfile,
            options,
            lexer,
            global,
            stages: Vec::new(),
            target,
        };
        for stage in &dockerfile.stages {
            this.lint_default(stage, &defaults, linter);
            match this.from(stage, linter) {
                Ok(resolved) => this.stages.push(resolved),
                Err(error) => {
                    errors.push(error);
                    this.stages.push(Resolved {
                        origin: Origin::Scratch,
                        replaced: false,
                    });
                }
            }
        }
        if errors.is_empty() {
            Ok(this)
        } else {
            Err(errors)
        }
    }

    fn expand(&self, stage: &Stage, word: &str) -> Result<Expanded, Diagnostic> {
        self.lexer
            .expand(word, &self.global)
            .map_err(|why| Diagnostic::error(stage.span, why))
    }

    fn from(&self, stage: &Stage, linter: &mut Linter) -> Result<Resolved, Diagnostic> {
        let base = self.expand(stage, &stage.base)?;
        self.lint_undeclared(stage, &base, linter);
        if base.text.is_empty() {
            let message = format!("base name ({}) should not be blank", stage.base);
            return Err(Diagnostic::error(stage.span, message).help(
                "give the ARG before the first FROM a default, or pass it with --build-arg",
            ));
        }
        let platform = self.platform(stage, linter)?;
        if let Some(context) = stage
            .name
            .as_deref()
            .and_then(|name| self.context(name, &platform))
        {
            return Ok(Resolved {
                origin: context,
                replaced: true,
            });
        }
        let earlier = self.stage_before(self.stages.len(), &base.text);
        let origin = match earlier {
            Some(index) => Origin::Stage(index),
            None => self.outside(&base.text, &platform),
        };
        Ok(Resolved {
            origin,
            replaced: false,
        })
    }

    /// The last stage of a name before another.
    fn stage_before(&self, index: usize, name: &str) -> Option<usize> {
        self.dockerfile.stages[..index].iter().rposition(|stage| {
            let own = stage.name.as_deref();
            own.is_some_and(|own| own.eq_ignore_ascii_case(name))
        })
    }

    /// What a name that is no stage means.
    fn outside(&self, name: &str, platform: &Platform) -> Origin {
        if name == "scratch" {
            return Origin::Scratch;
        }
        self.context(name, platform)
            .unwrap_or_else(|| Origin::Image(name.to_owned(), platform.clone()))
    }

    /// A named context; an image's name stands for the same image written otherwise.
    fn context(&self, name: &str, platform: &Platform) -> Option<Origin> {
        if name.eq_ignore_ascii_case("scratch") || name.eq_ignore_ascii_case("context") {
            return None;
        }
        let wanted = familiar(name);
        let (own, context) = self
            .options
            .contexts
            .iter()
            .find(|(own, _)| familiar(own) == wanted)?;
        Some(match context {
            NamedContext::Image(reference) => Origin::Image(reference.clone(), platform.clone()),
            NamedContext::Files => Origin::Context(Some(own.clone())),
        })
    }

    fn platform(&self, stage: &Stage, linter: &mut Linter) -> Result<Platform, Diagnostic> {
        let Some(written) = &stage.platform else {
            return Ok(self.options.target_platform.clone());
        };
        let expanded = self.expand(stage, written)?;
        self.lint_undeclared(stage, &expanded, linter);
        self.lint_platform(stage, written, &expanded, linter);
        if expanded.text.is_empty() {
            let near = expanded
                .unmatched
                .iter()
                .find_map(|name| suggest::nearest(name, self.global.keys().map(String::as_str)));
            let near = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
            return Err(Diagnostic::error(
                stage.span,
                format!("empty platform value from expression {written}{near}"),
            ));
        }
        Platform::parse(&expanded.text).map_err(|why| {
            let message = format!("failed to parse platform {written}: {why}");
            Diagnostic::error(stage.span, message)
        })
    }

    /// What `--from` of an instruction in a stage means.
    ///
    /// A number is a stage's place, as long as `numbers` says so: `RUN --mount` knows only names.
    pub(super) fn source(
        &self,
        current: usize,
        name: &str,
        span: Span,
        numbers: Numbers,
    ) -> Result<Origin, Diagnostic> {
        let stages = &self.dockerfile.stages;
        let index = match (numbers, name.parse::<usize>()) {
            (Numbers::AreStages, Ok(index)) if index < stages.len() => Some(index),
            (Numbers::AreStages, Ok(index)) => {
                let message = format!("invalid stage index {index}");
                return Err(Diagnostic::error(span, message));
            }
            _ => self.stage_before(stages.len(), name),
        };
        match index {
            None => Ok(self.outside(name, &self.options.target_platform)),
            Some(index) if index < current => Ok(Origin::Stage(index)),
            Some(index) if index == current => Err(Diagnostic::error(
                span,
                format!(
                    "circular dependency detected on stage: {}",
                    self.shown_name(current)
                ),
            )),
            Some(_) => Err(Diagnostic::error(
                span,
                format!(
                    "cannot copy from stage {name:?}, it needs to be defined before current stage {:?}",
                    self.shown_name(current)
                ),
            )),
        }
    }

    /// `build`, or `stage-1` when it has no name.
    pub(super) fn shown_name(&self, index: usize) -> String {
        let name = self.dockerfile.stages[index].name.clone();
        name.unwrap_or_else(|| format!("stage-{index}"))
    }

    /// What runs in a stage: the triggers of its base, then its own instructions. `bool`: it is a trigger.
    pub(super) fn instructions(
        &self,
        index: usize,
        bases: &Bases,
    ) -> Result<Vec<(std::borrow::Cow<'a, Instruction>, bool)>, Vec<Diagnostic>> {
        use std::borrow::Cow;
        let stage = &self.dockerfile.stages[index];
        if self.stages[index].replaced {
            return Ok(Vec::new());
        }
        let texts: Vec<String> = match &self.stages[index].origin {
            Origin::Stage(base) if self.stages[*base].replaced => Vec::new(),
            Origin::Stage(base) => {
                let own = self.dockerfile.stages[*base].instructions.iter();
                own.filter_map(|instruction| match &instruction.kind {
                    Kind::Onbuild(trigger) => Some(trigger.clone()),
                    _ => None,
                })
                .collect()
            }
            Origin::Image(reference, platform) => bases
                .get(reference, platform)
                .map(|base| base.config.on_build.clone())
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        let mut all = Vec::new();
        for text in texts {
            let mut trigger = parse_trigger(&text, self.lexer.escape).map_err(|errors| {
                let why = errors.iter().map(|error| error.message.clone());
                let why = why.collect::<Vec<_>>().join("; ");
                let message = format!("the base image's trigger `ONBUILD {text}`: {why}");
                vec![Diagnostic::error(stage.span, message)]
            })?;
            trigger.span = stage.span;
            trigger.line = stage.span;
            all.push((Cow::Owned(trigger), true));
        }
        all.extend(
            stage
                .instructions
                .iter()
                .map(|own| (Cow::Borrowed(own), false)),
        );
        Ok(all)
    }

    /// What an instruction takes files from, besides the main context.
    pub(super) fn sources(
        &self,
        current: usize,
        instruction: &Instruction,
    ) -> Result<Vec<Origin>, Diagnostic> {
        match &instruction.kind {
            Kind::Copy(copy) => Ok(self
                .copy_source(current, copy, instruction.line)?
                .into_iter()
                .collect()),
            Kind::Run(run) => {
                let mut origins = Vec::new();
                for flag in &run.mounts {
                    let from = mount::from_of(&flag.value)
                        .map_err(|why| Diagnostic::error(flag.span, why))?;
                    if let Some(from) = from {
                        origins.push(self.source(current, &from, flag.span, Numbers::AreNames)?);
                    }
                }
                Ok(origins)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// What `COPY --from` means; `None` is the main context.
    pub(super) fn copy_source(
        &self,
        current: usize,
        copy: &Copy,
        line: Span,
    ) -> Result<Option<Origin>, Diagnostic> {
        let Some(from) = &copy.from else {
            return Ok(None);
        };
        let plain = self.lexer.expand(&from.value, &crate::expand::Nothing);
        if plain.map(|expanded| expanded.text).as_deref() != Ok(&from.value) {
            return Err(Diagnostic::error(
                from.span,
                "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
            ));
        }
        // A trigger's flag has no place in this file.
        let span = if from.span.start >= line.start && from.span.end <= line.end {
            from.span
        } else {
            line
        };
        self.source(current, &from.value, span, Numbers::AreStages)
            .map(Some)
    }

    /// The stages that some stages need, themselves included, and the images they begin with.
    pub(super) fn reachable(
        &self,
        wanted: &[usize],
        bases: &Bases,
    ) -> Result<(BTreeSet<usize>, Vec<BaseImage>), Vec<Diagnostic>> {
        let mut seen = BTreeSet::new();
        let mut images: Vec<BaseImage> = Vec::new();
        let mut errors = Vec::new();
        let mut ahead = wanted.to_vec();
        while let Some(index) = ahead.pop() {
            if !seen.insert(index) {
                continue;
            }
            match &self.stages[index].origin {
                Origin::Stage(base) => ahead.push(*base),
                Origin::Image(reference, platform) => {
                    let image = BaseImage {
                        reference: reference.clone(),
                        platform: platform.clone(),
                        span: self.dockerfile.stages[index].span,
                    };
                    let known = images.iter().any(|other| {
                        other.reference == image.reference && other.platform == image.platform
                    });
                    if !known {
                        images.push(image);
                    }
                }
                Origin::Scratch | Origin::Context(_) => {}
            }
            let instructions = self.instructions(index, bases).unwrap_or_else(|more| {
                errors.extend(more);
                Vec::new()
            });
            for (instruction, _) in &instructions {
                match self.sources(index, instruction) {
                    Ok(origins) => ahead.extend(origins.iter().filter_map(|origin| match origin {
                        Origin::Stage(index) => Some(*index),
                        _ => None,
                    })),
                    Err(error) => errors.push(error),
                }
            }
        }
        if errors.is_empty() {
            Ok((seen, images))
        } else {
            Err(errors)
        }
    }

    fn lint_undeclared(&self, stage: &Stage, expanded: &Expanded, linter: &mut Linter) {
        let declared =
            self.dockerfile
                .global_args
                .iter()
                .flat_map(|instruction| match &instruction.kind {
                    Kind::Arg(pairs) => pairs.iter().map(|pair| pair.key.as_str()).collect(),
                    _ => Vec::new(),
                });
        let known: BTreeSet<&str> = declared
            .chain(self.global.keys().map(String::as_str))
            .collect();
        for name in expanded
            .unmatched
            .iter()
            .filter(|name| !known.contains(name.as_str()))
        {
            let near = suggest::did_you_mean(name, known.iter().copied());
            let message = format!("FROM argument '{name}' is not declared{near}");
            linter.warn(
                Rule::UndefinedArgInFrom,
                stage.span,
                &stage.comments,
                message,
            );
        }
    }

    fn lint_platform(
        &self,
        stage: &Stage,
        written: &str,
        expanded: &Expanded,
        linter: &mut Linter,
    ) {
        let used: Vec<&String> = expanded.matched.iter().collect();
        if used == ["TARGETPLATFORM"] && expanded.unmatched.is_empty() {
            if self.global.get("TARGETPLATFORM") == Some(&expanded.text) {
                let message = format!(
                    "Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
                );
                linter.warn(
                    Rule::RedundantTargetPlatform,
                    stage.span,
                    &stage.comments,
                    message,
                );
            }
            return;
        }
        let constant = used.is_empty() && expanded.unmatched.is_empty();
        let (true, Ok(platform)) = (constant, Platform::parse(&expanded.text)) else {
            return;
        };
        let name = stage.name.as_deref().unwrap_or_default();
        if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            let message = format!(
                "FROM --platform flag should not use constant value {:?}",
                expanded.text
            );
            let rule = Rule::FromPlatformFlagConstDisallowed;
            linter.warn(rule, stage.span, &stage.comments, message);
        }
    }

    /// A base image's name should be one when no argument is given.
    fn lint_default(
        &self,
        stage: &Stage,
        defaults: &BTreeMap<String, String>,
        linter: &mut Linter,
    ) {
        let Ok(expanded) = self.lexer.expand(&stage.base, defaults) else {
            return;
        };
        if !is_reference(&expanded.text) {
            let message = format!(
                "Default value for ARG {} results in empty or invalid base image name",
                stage.base
            );
            let rule = Rule::InvalidDefaultArgInFrom;
            linter.warn(rule, stage.span, &stage.comments, message);
        }
    }
}

/// Whether a number is a stage's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    AreStages,
    AreNames,
}

fn target(dockerfile: &Dockerfile, options: &Options) -> Result<usize, Diagnostic> {
    let Some(name) = options.target.as_deref().filter(|name| !name.is_empty()) else {
        return Ok(dockerfile.stages.len() - 1);
    };
    dockerfile.stage_named(name).ok_or_else(|| {
        let names = dockerfile
            .stages
            .iter()
            .filter_map(|stage| stage.name.as_deref());
        let near = suggest::did_you_mean(name, names.clone());
        let names = names.collect::<Vec<_>>().join(", ");
        let error = Diagnostic::error(
            dockerfile.stages[0].span,
            format!("target stage {name:?} could not be found{near}"),
        );
        match names.as_str() {
            "" => error.help("no stage of this file has a name"),
            names => error.help(format!("the stages are {names}")),
        }
    })
}

/// The arguments every build has before the first `FROM`.
fn automatic_args(
    dockerfile: &Dockerfile,
    options: &Options,
    target: usize,
) -> BTreeMap<String, String> {
    let (build, wanted) = (&options.build_platform, &options.target_platform);
    let stage = options.target.clone().filter(|name| !name.is_empty());
    let stage = stage.or_else(|| dockerfile.stages[target].name.clone());
    let mut args: BTreeMap<String, String> = [
        ("BUILDPLATFORM", build.to_string()),
        ("BUILDOS", build.os.clone()),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", build.architecture.clone()),
        ("BUILDVARIANT", build.variant.clone()),
        ("TARGETPLATFORM", wanted.to_string()),
        ("TARGETOS", wanted.os.clone()),
        ("TARGETOSVERSION", String::new()),
        ("TARGETARCH", wanted.architecture.clone()),
        ("TARGETVARIANT", wanted.variant.clone()),
        ("TARGETSTAGE", stage.unwrap_or_else(|| "default".to_owned())),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    for (name, value) in &mut args {
        if let Some(given) = options.build_args.get(name) {
            value.clone_from(given);
        }
    }
    args
}

/// The automatic arguments with the global `ARG`s, as given or by default.
fn global_args(
    dockerfile: &Dockerfile,
    lexer: Lexer,
    automatic: &BTreeMap<String, String>,
    given: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, Vec<Diagnostic>) {
    let mut args = automatic.clone();
    let mut errors = Vec::new();
    for instruction in &dockerfile.global_args {
        let Kind::Arg(pairs) = &instruction.kind else {
            continue;
        };
        for pair in pairs {
            let value = match (given.get(&pair.key), &pair.value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => match lexer.expand(default, &args) {
                    Ok(expanded) => Some(expanded.text),
                    Err(why) => {
                        errors.push(Diagnostic::error(instruction.line, why));
                        None
                    }
                },
                (None, None) => None,
            };
            if let Some(value) = value {
                args.insert(pair.key.clone(), value);
            }
        }
    }
    (args, errors)
}

/// An image's name without what is understood: `docker.io/library/a:latest` is `a`.
fn familiar(name: &str) -> String {
    let name = name.to_lowercase();
    let name = name.strip_suffix(":latest").unwrap_or(&name);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name).to_owned()
}

/// Whether a text can be an image's name: lower case, with the usual separators, a tag or digest.
fn is_reference(text: &str) -> bool {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    let parts: Vec<&str> = name.split('/').collect();
    let domain = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let component = |part: &&str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(inner)
            && part.ends_with(inner)
            && part
                .chars()
                .all(|c| inner(c) || matches!(c, '.' | '_' | '-'))
    };
    let path = match parts.as_slice() {
        [first, rest @ ..] if !rest.is_empty() && domain(first) => rest,
        all => all,
    };
    let tag_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    path.iter().all(component)
        && tag.is_none_or(|tag| !tag.is_empty() && tag.len() <= 128 && tag.chars().all(tag_char))
        && digest.is_none_or(|digest| digest.contains(':'))
}
