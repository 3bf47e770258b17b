//! A stage while its instructions are gone through.

use std::collections::BTreeSet;

use crate::expand::Variables;
use crate::graph::{History, ImageConfig, Mark, NodeId, Platform};

/// What the instructions so far have made of a stage.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The step whose files it has.
    pub(super) node: NodeId,
    pub(super) config: ImageConfig,
    pub(super) author: Option<String>,
    pub(super) history: Vec<History>,
    /// The image at the bottom.
    pub(super) base_image: Option<NodeId>,
    pub(super) platform: Platform,
    /// The image's variables and the arguments in scope: what `$name` and `RUN` see.
    pub(super) env: Env,
    /// The arguments in scope, with their values when they have one.
    pub(super) args: Vec<(String, Option<String>)>,
    /// `CMD` was used in this stage, by a trigger or by itself.
    pub(super) cmd_set: bool,
    /// `WORKDIR` was used in this file.
    pub(super) workdir_set: bool,
    /// The base's variables are known, so that others can be called undefined.
    pub(super) env_known: bool,
}

impl State {
    /// What a stage that is `FROM` this one begins with.
    pub(super) fn inherited(&self) -> Self {
        let mut state = self.clone();
        state.config.on_build.clear();
        state.cmd_set = false;
        state
    }

    /// What is there now.
    pub(super) fn mark(&self, stage: usize, is_trigger: bool) -> Mark {
        Mark {
            stage,
            is_trigger,
            node: self.node,
            config: self.config.clone(),
            author: self.author.clone(),
            history: self.history.clone(),
            base_image: self.base_image,
            platform: self.platform.clone(),
        }
    }

    /// Adds a line to the history.
    pub(super) fn record(&mut self, node: Option<NodeId>, created_by: String) {
        self.history.push(History { node, created_by });
    }

    /// Sets a variable of the image.
    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        self.env.set(name, value);
        let line = format!("{name}={value}");
        let own = |line: &String| line.split('=').next() == Some(name);
        match self.config.env.iter_mut().find(|line| own(line)) {
            Some(old) => *old = line,
            None => self.config.env.push(line),
        }
    }

    /// The program and arguments of a shell form.
    pub(super) fn shell(&self, line: &str) -> Vec<String> {
        let mut argv = if self.config.shell.is_empty() {
            vec!["/bin/sh".to_owned(), "-c".to_owned()]
        } else {
            self.config.shell.clone()
        };
        argv.push(line.to_owned());
        argv
    }

    /// A path seen from the working directory, absolute and without `..`.
    pub(super) fn absolute(&self, path: &str) -> String {
        let joined = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{}/{path}", self.config.working_dir)
        };
        crate::ignore::clean(&joined)
    }
}

/// Variables in the order they were set first.
#[derive(Debug, Clone, Default)]
pub(super) struct Env(Vec<(String, String)>);

impl Env {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(own, _)| own == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

impl Variables for Env {
    fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Variables that look set, with a mark for their value: secrets must not be shown.
pub(super) struct Masked<'a> {
    pub(super) env: &'a Env,
    pub(super) secret: BTreeSet<String>,
}

impl Variables for Masked<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        if self.secret.contains(name) {
            Some("****")
        } else {
            self.env.value(name)
        }
    }
}
