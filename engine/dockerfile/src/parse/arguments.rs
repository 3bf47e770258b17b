//! What each instruction takes: its flags and the rest of its line to a [`Kind`].

use crate::diagnostic::Diagnostic;
use crate::duration;
use crate::graph::Healthcheck;
use crate::instruction::{
    Add, ArgPair, Copy, Heredoc, Kind, Network, Pair, Run, Security, ShellForm, Stage, Transfer,
};
use crate::span::{Source, Span};
use crate::suggest;

use super::flags::{self, Flags, Given, Known};
use super::heredoc;
use super::lines::Line;
use super::words::{self, Word};

/// An instruction's line, taken apart, while its arguments are read.
pub(super) struct Arguments<'a> {
    /// In upper case.
    pub(super) keyword: &'a str,
    /// As written.
    pub(super) written: &'a str,
    pub(super) rest: Word,
    pub(super) flags: Vec<Given>,
    pub(super) heredocs: Vec<Heredoc>,
    pub(super) escape: char,
    pub(super) line: &'a Line,
    pub(super) source: &'a Source<'a>,
    pub(super) whole: Span,
    pub(super) errors: &'a mut Vec<Diagnostic>,
}

/// Words in exec form, or why they are not.
enum Json {
    Strings(Vec<String>),
    NotStrings,
    Not,
}

/// `["a", "b"]`, as Docker recognises it: anything that is no array of JSON is in shell form.
fn json(text: &str) -> Json {
    if !text.trim_start().starts_with('[') {
        return Json::Not;
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Json::Not;
    };
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    });
    match strings.collect() {
        Some(strings) => Json::Strings(strings),
        None => Json::NotStrings,
    }
}

impl Arguments<'_> {
    /// Tells of an error at the instruction.
    fn error<T>(&mut self, message: impl Into<String>, help: impl Into<String>) -> Option<T> {
        let error = Diagnostic::error(self.whole, message);
        self.errors.push(error.help(help));
        None
    }

    fn error_at<T>(&mut self, span: Span, message: impl Into<String>) -> Option<T> {
        self.errors.push(Diagnostic::error(span, message));
        None
    }

    fn span_of(&self, word: &Word) -> Span {
        self.line.span(self.source, word.range.clone())
    }

    /// Reads the flags, telling of those that are wrong.
    fn read_flags(&mut self, known: Known) -> Option<Flags> {
        let before = self.errors.len();
        let flags = Flags::read(&self.flags, known, self.errors);
        (self.errors.len() == before).then_some(flags)
    }

    /// Finds the heredocs that the line announces.
    pub(super) fn announce_heredocs(&mut self) {
        let mut keyword = self.keyword.to_owned();
        let mut rest = self.rest.text.clone();
        if keyword == "ONBUILD" {
            let inner = words::split_line(&rest, self.escape);
            keyword = inner.keyword.text.to_ascii_uppercase();
            rest = inner.rest.text;
        }
        let may = matches!(keyword.as_str(), "ADD" | "COPY" | "RUN");
        if may && !matches!(json(&rest), Json::Strings(_)) {
            self.heredocs = heredoc::announced(&self.line.text);
        }
    }

    /// The instruction; `None` when something was wrong, which was then told.
    pub(super) fn kind(&mut self) -> Option<Kind> {
        match self.keyword {
            "ADD" => self.add(),
            "ARG" => self.arg(),
            "CMD" => self.plain(Self::shell_form).map(Kind::Cmd),
            "COPY" => self.copy(),
            "ENTRYPOINT" => self.plain(Self::shell_form).map(Kind::Entrypoint),
            "ENV" => self.plain(Self::pairs).map(Kind::Env),
            "EXPOSE" => self.plain(Self::expose),
            "HEALTHCHECK" => self.healthcheck(),
            "LABEL" => self.plain(Self::pairs).map(Kind::Label),
            "MAINTAINER" => self.plain(Self::one).map(Kind::Maintainer),
            "ONBUILD" => self.plain(Self::onbuild),
            "RUN" => self.run(),
            "SHELL" => self.plain(Self::shell),
            "STOPSIGNAL" => self.one().map(Kind::Stopsignal),
            "USER" => self.plain(Self::one).map(Kind::User),
            "VOLUME" => self.plain(Self::volume),
            _ => self.plain(Self::one).map(Kind::Workdir),
        }
    }

    /// An instruction without flags.
    fn plain<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let flags = self.read_flags(flags::NONE);
        let kind = read(self);
        flags.and(kind)
    }

    fn one(&mut self) -> Option<String> {
        if self.rest.text.is_empty() {
            let message = format!("{} requires exactly one argument", self.keyword);
            return self.error(message, format!("write `{} <value>`", self.keyword));
        }
        Some(self.rest.text.clone())
    }

    fn at_least_one<T>(&mut self) -> Option<T> {
        let message = format!("{} requires at least one argument", self.keyword);
        let help = match self.keyword {
            "ARG" => "write `ARG <name>[=<default>]`",
            "ENV" | "LABEL" => "write `<key>=<value> …`",
            "EXPOSE" => "write `EXPOSE <port>[/<protocol>]`",
            "HEALTHCHECK" => "write `HEALTHCHECK CMD <command>` or `HEALTHCHECK NONE`",
            "ONBUILD" => "write `ONBUILD <instruction>`",
            "SHELL" => "write `SHELL [\"executable\", \"argument\"]`",
            _ => "write a value after it",
        };
        self.error(message, help)
    }

    fn not_strings<T>(&mut self) -> Option<T> {
        let span = self.span_of(&self.rest.clone());
        self.error_at(
            span,
            "when using JSON array syntax, arrays must be comprised of strings only",
        )
    }

    fn shell_form(&mut self) -> Option<ShellForm> {
        match json(&self.rest.text) {
            Json::Strings(strings) => Some(ShellForm::Exec(strings)),
            Json::NotStrings => self.not_strings(),
            Json::Not => Some(ShellForm::Shell(self.rest.text.clone())),
        }
    }

    /// Words in exec form, or between blanks.
    fn list(&mut self) -> Option<Vec<Word>> {
        match json(&self.rest.text) {
            Json::Strings(strings) => Some(
                strings
                    .into_iter()
                    .map(|text| Word {
                        text,
                        range: self.rest.range.clone(),
                    })
                    .collect(),
            ),
            Json::NotStrings => self.not_strings(),
            Json::Not => Some(words::split_blanks(&self.rest)),
        }
    }

    fn pairs(&mut self) -> Option<Vec<Pair>> {
        let words = words::split_quoted(&self.rest, self.escape);
        let Some(first) = words.first() else {
            return self.at_least_one();
        };
        if !first.text.contains('=') {
            let (key, value) = match self.rest.text.split_once(words::is_blank) {
                Some((key, value)) => (key, value.trim_start_matches(words::is_blank)),
                None => {
                    let message = format!("{} must have two arguments", self.keyword);
                    let help = format!("write `{} {}=<value>`", self.keyword, first.text);
                    return self.error(message, help);
                }
            };
            return Some(vec![Pair {
                key: key.to_owned(),
                value: value.to_owned(),
                legacy: true,
            }]);
        }
        let mut pairs = Vec::new();
        for word in words {
            match word.text.split_once('=') {
                Some(("", _)) => {
                    let span = self.span_of(&word);
                    let message = format!("{} names can not be blank", self.keyword);
                    return self.error_at(span, message);
                }
                Some((key, value)) => pairs.push(Pair {
                    key: key.to_owned(),
                    value: value.to_owned(),
                    legacy: false,
                }),
                None => {
                    let error = Diagnostic::error(
                        self.span_of(&word),
                        format!(
                            "Syntax error - can't find = in {:?}. Must be of the form: name=value",
                            word.text
                        ),
                    );
                    self.errors
                        .push(error.help("put a value that has blanks into quotes"));
                    return None;
                }
            }
        }
        Some(pairs)
    }

    fn arg(&mut self) -> Option<Kind> {
        let words = words::split_quoted(&self.rest, self.escape);
        if words.is_empty() {
            return self.at_least_one();
        }
        let mut pairs = Vec::new();
        for word in words {
            pairs.push(match word.text.split_once('=') {
                Some(("", _)) => {
                    let span = self.span_of(&word);
                    return self.error_at(span, "ARG names can not be blank");
                }
                Some((key, value)) => ArgPair {
                    key: key.to_owned(),
                    value: Some(value.to_owned()),
                },
                None => ArgPair {
                    key: word.text,
                    value: None,
                },
            });
        }
        Some(Kind::Arg(pairs))
    }

    fn expose(&mut self) -> Option<Kind> {
        let words = words::split_blanks(&self.rest);
        if words.is_empty() {
            return self.at_least_one();
        }
        let mut ports: Vec<String> = words.into_iter().map(|word| word.text).collect();
        ports.sort();
        Some(Kind::Expose(ports))
    }

    fn volume(&mut self) -> Option<Kind> {
        let words = self.list()?;
        if words.is_empty() {
            return self.at_least_one();
        }
        let volumes: Vec<String> = words
            .iter()
            .map(|word| word.text.trim().to_owned())
            .collect();
        if volumes.iter().any(String::is_empty) {
            return self.error(
                "VOLUME specified can not be an empty string",
                "write a path",
            );
        }
        Some(Kind::Volume(volumes))
    }

    fn shell(&mut self) -> Option<Kind> {
        match json(&self.rest.text) {
            Json::Strings(strings) if strings.is_empty() => self.at_least_one(),
            Json::Strings(strings) => Some(Kind::Shell(strings)),
            Json::NotStrings => self.not_strings(),
            Json::Not if self.rest.text.is_empty() => self.at_least_one(),
            Json::Not => self.error(
                "SHELL requires the arguments to be in JSON form",
                "write `SHELL [\"executable\", \"argument\"]`",
            ),
        }
    }

    fn onbuild(&mut self) -> Option<Kind> {
        if self.rest.text.is_empty() {
            return self.at_least_one();
        }
        let inner = words::split_line(&self.rest.text, self.escape);
        match inner.keyword.text.to_ascii_uppercase().as_str() {
            "ONBUILD" => {
                return self.error(
                    "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
                    "write the trigger once",
                );
            }
            keyword @ ("MAINTAINER" | "FROM") => {
                let message = format!("{keyword} isn't allowed as an ONBUILD trigger");
                return self.error(message, "any other instruction is");
            }
            _ => {}
        }
        let mut trigger = self.rest.text.clone();
        for heredoc in &self.heredocs {
            trigger.push('\n');
            trigger.push_str(&heredoc.content);
            trigger.push_str(&heredoc.name);
        }
        Some(Kind::Onbuild(trigger))
    }

    fn run(&mut self) -> Option<Kind> {
        let flags = self.read_flags(flags::RUN);
        let command = self.shell_form();
        let (flags, command) = (flags?, command?);
        if let Some(device) = flags.get("device") {
            return self.error_at(
                device.span,
                "RUN --device needs CDI devices, which this builder does not have",
            );
        }
        let network = match flags.get("network") {
            None => None,
            Some(flag) => Some(match flag.value.as_str() {
                "default" => Network::Default,
                "none" => Network::None,
                "host" => Network::Host,
                other => {
                    let near = suggest::did_you_mean(other, ["default", "none", "host"]);
                    let message = format!("invalid network mode {other:?}{near}");
                    return self.error_at(flag.span, message);
                }
            }),
        };
        let security = match flags.get("security") {
            None => Security::Sandbox,
            Some(flag) => match flag.value.as_str() {
                "sandbox" => Security::Sandbox,
                "insecure" => Security::Insecure,
                other => {
                    let near = suggest::did_you_mean(other, ["sandbox", "insecure"]);
                    let message = format!("security {other:?} is not valid{near}");
                    return self.error_at(flag.span, message);
                }
            },
        };
        Some(Kind::Run(Run {
            command,
            heredocs: std::mem::take(&mut self.heredocs),
            mounts: flags.all("mount"),
            network,
            security,
        }))
    }

    /// Sources, destination and the flags that `COPY` and `ADD` share.
    fn transfer(&mut self, flags: &Flags) -> Option<Transfer> {
        let words = self.list()?;
        let Some((dest, sources)) = words
            .split_last()
            .filter(|(_, sources)| !sources.is_empty())
        else {
            let keyword = self.keyword;
            return self.error(
                format!(
                    "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
                ),
                format!("write `{keyword} <source>… <destination>`"),
            );
        };
        let (dest, sources) = (dest.clone(), sources.to_vec());
        if heredoc::parse_word(&dest.text).is_some() {
            let message = format!("{} cannot accept a heredoc as a destination", self.keyword);
            let span = self.span_of(&dest);
            return self.error_at(span, message);
        }
        let mut transfer = Transfer {
            sources: Vec::new(),
            inline: Vec::new(),
            dest: dest.text,
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.bool("link").unwrap_or_default(),
            exclude: flags
                .all("exclude")
                .into_iter()
                .map(|flag| flag.value)
                .collect(),
        };
        for source in sources {
            let announced = heredoc::parse_word(&source.text);
            let read = announced.and_then(|announced| {
                let of_name = |own: &&Heredoc| own.name == announced.name;
                self.heredocs.iter().rfind(of_name).cloned()
            });
            match read {
                Some(heredoc) => transfer.inline.push(heredoc),
                None => transfer.sources.push(source.text),
            }
        }
        Some(transfer)
    }

    fn copy(&mut self) -> Option<Kind> {
        let flags = self.read_flags(flags::COPY);
        let transfer = self.transfer(flags.as_ref().unwrap_or(&Flags::default()));
        let (flags, transfer) = (flags?, transfer?);
        Some(Kind::Copy(Copy {
            transfer,
            from: flags
                .get("from")
                .filter(|flag| !flag.value.is_empty())
                .cloned(),
            parents: flags.bool("parents").unwrap_or_default(),
        }))
    }

    fn add(&mut self) -> Option<Kind> {
        let flags = self.read_flags(flags::ADD);
        let transfer = self.transfer(flags.as_ref().unwrap_or(&Flags::default()));
        let (flags, transfer) = (flags?, transfer?);
        Some(Kind::Add(Add {
            transfer,
            checksum: flags.text("checksum"),
            keep_git_dir: flags.bool("keep-git-dir"),
            unpack: flags.bool("unpack"),
        }))
    }

    fn healthcheck(&mut self) -> Option<Kind> {
        let (kind, command) = match self.rest.text.split_once(char::is_whitespace) {
            Some((kind, rest)) => (kind.to_ascii_uppercase(), rest.trim_start().to_owned()),
            None => (self.rest.text.to_ascii_uppercase(), String::new()),
        };
        match kind.as_str() {
            "" => return self.at_least_one(),
            "NONE" if command.is_empty() => {
                return Some(Kind::Healthcheck(Healthcheck {
                    test: vec![kind],
                    ..Healthcheck::default()
                }));
            }
            "NONE" => {
                return self.error(
                    "HEALTHCHECK NONE takes no arguments",
                    "write `HEALTHCHECK NONE`",
                );
            }
            "CMD" => {}
            other => {
                let message = format!("Unknown type {other:?} in HEALTHCHECK (try CMD)");
                return self.error(message, "write `HEALTHCHECK CMD <command>`");
            }
        }
        let flags = self.read_flags(flags::HEALTHCHECK);
        let test = match json(&command) {
            Json::Strings(strings) if !strings.is_empty() => {
                std::iter::once("CMD".to_owned()).chain(strings).collect()
            }
            Json::NotStrings => return self.not_strings(),
            Json::Not if !command.is_empty() => vec!["CMD-SHELL".to_owned(), command],
            _ => {
                return self.error(
                    "Missing command after HEALTHCHECK CMD",
                    "write `HEALTHCHECK CMD <command>`",
                );
            }
        };
        let flags = flags?;
        let before = self.errors.len();
        let healthcheck = Healthcheck {
            test,
            interval: self.interval(&flags, "interval"),
            timeout: self.interval(&flags, "timeout"),
            start_period: self.interval(&flags, "start-period"),
            start_interval: self.interval(&flags, "start-interval"),
            retries: self.retries(&flags),
        };
        (self.errors.len() == before).then_some(Kind::Healthcheck(healthcheck))
    }

    /// A duration of a millisecond or more, in nanoseconds; nought when not given.
    fn interval(&mut self, flags: &Flags, name: &str) -> i64 {
        let Some(flag) = flags.get(name).filter(|flag| !flag.value.is_empty()) else {
            return 0;
        };
        match duration::parse(&flag.value) {
            Ok(0) => 0,
            Ok(length) if length < 1_000_000 => {
                let message = format!("Interval {name:?} cannot be less than 1ms");
                self.error_at::<()>(flag.span, message);
                0
            }
            Ok(length) => length,
            Err(why) => {
                self.error_at::<()>(flag.span, why);
                0
            }
        }
    }

    fn retries(&mut self, flags: &Flags) -> u32 {
        let Some(flag) = flags.get("retries").filter(|flag| !flag.value.is_empty()) else {
            return 0;
        };
        match flag.value.parse::<i32>() {
            Ok(retries) if retries >= 0 => retries.unsigned_abs(),
            Ok(retries) => {
                let message = format!("--retries cannot be negative ({retries})");
                self.error_at::<()>(flag.span, message);
                0
            }
            Err(_) => {
                let message = format!("--retries takes a number, not {:?}", flag.value);
                self.error_at::<()>(flag.span, message);
                0
            }
        }
    }

    /// `FROM [--platform=…] image [AS name]`.
    pub(super) fn from(&mut self) -> Option<Stage> {
        let words = words::split_blanks(&self.rest);
        let flags = self.read_flags(flags::FROM);
        let name = match words.as_slice() {
            [_] => None,
            [_, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => {
                Some(self.stage_name(name)?)
            }
            _ => {
                return self.error(
                    "FROM requires either one or three arguments",
                    "write `FROM [--platform=<platform>] <image> [AS <name>]`",
                );
            }
        };
        let flags = flags?;
        Some(Stage {
            name,
            base: words.first()?.text.clone(),
            platform: flags.text("platform"),
            keyword: self.written.to_owned(),
            alias: words
                .get(1)
                .zip(words.get(2))
                .map(|(keyword, name)| (keyword.text.clone(), name.text.clone())),
            span: self.whole,
            comments: self.line.comments.clone(),
            instructions: Vec::new(),
        })
    }

    fn stage_name(&mut self, word: &Word) -> Option<String> {
        let name = word.text.to_lowercase();
        let mut chars = name.chars();
        let first = chars.next().is_some_and(|c| c.is_ascii_lowercase());
        let rest = chars
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
        if first && rest {
            return Some(name);
        }
        let span = self.span_of(word);
        self.error_at(
            span,
            format!(
                "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
                word.text
            ),
        )
    }
}
