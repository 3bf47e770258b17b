//! The command line of a case: as much of it as planning needs.

use std::collections::BTreeMap;

use hoist_compose::model::Project;
use hoist_compose::observe::Observed;
use hoist_compose::plan::{
    DownOptions, KillOptions, Live, Orphans, Plan, PlanError, Recreate, RemoveImages,
    RemoveOptions, StartOptions, StopOptions, UpOptions, VolumeChanges, Wait, plan_down, plan_kill,
    plan_remove, plan_restart, plan_start, plan_stop, plan_up,
};

/// A parsed command.
#[derive(Debug, Default)]
pub(crate) struct Command {
    verb: String,
    flags: BTreeMap<String, String>,
    scale: BTreeMap<String, u32>,
    /// `--all-resources`.
    pub(crate) all_resources: bool,
    /// `--profile`.
    pub(crate) profiles: Vec<String>,
    /// Services named.
    pub(crate) services: Vec<String>,
}

/// Flags followed by a value.
const VALUED: [&str; 6] = [
    "--scale",
    "--profile",
    "-t",
    "--rmi",
    "-s",
    "--volumes-changed",
];

impl Command {
    /// Reads `up --scale web=2 web`.
    pub(crate) fn parse(line: &str) -> Self {
        let (all_resources, line) = match line.strip_prefix("--all-resources ") {
            Some(line) => (true, line),
            None => (false, line),
        };
        let mut words = line.split_whitespace();
        let mut command = Command {
            verb: words.next().unwrap_or_default().to_owned(),
            all_resources,
            ..Command::default()
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("a value").to_owned();
            match word {
                "--scale" => command.add_scale(&value()),
                "--profile" => command.profiles.push(value()),
                flag if VALUED.contains(&flag) && !(flag == "-s" && command.verb == "rm") => {
                    command.flags.insert(flag.to_owned(), value());
                }
                flag if flag.starts_with('-') => {
                    command.flags.insert(flag.to_owned(), String::new());
                }
                pair if command.verb == "scale" => command.add_scale(pair),
                service => command.services.push(service.to_owned()),
            }
        }
        command
    }

    fn add_scale(&mut self, pair: &str) {
        let (service, count) = pair.split_once('=').expect("service=count");
        self.scale
            .insert(service.to_owned(), count.parse().unwrap());
        if self.verb == "scale" {
            self.services.push(service.to_owned());
        }
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.contains_key(flag)
    }

    fn timeout(&self) -> Option<i64> {
        self.flags.get("-t").map(|text| text.parse().unwrap())
    }

    /// Whether only the named services, and what they need, are loaded.
    pub(crate) fn works_on_files(&self) -> bool {
        matches!(self.verb.as_str(), "up" | "create" | "scale")
    }

    /// Plans it.
    pub(crate) fn plan(&self, project: &Project, observed: &Observed) -> Result<Plan, PlanError> {
        if self.works_on_files() {
            return plan_up(project, observed, &self.up_options());
        }
        let live = if self.has("--labels-only") {
            Live::from_labels(&project.name, observed)
        } else {
            Live::from_project(project, observed)?
        };
        let services = self.services.clone();
        let stop = StopOptions {
            services: services.clone(),
            timeout: self.timeout(),
            no_deps: self.has("--no-deps"),
        };
        match self.verb.as_str() {
            "down" => plan_down(&live, observed, &self.down_options()),
            "start" => plan_start(
                &live,
                observed,
                &StartOptions {
                    services,
                    wait: self.has("--wait"),
                    wait_timeout: None,
                },
            ),
            "stop" => plan_stop(&live, observed, &stop),
            "restart" => plan_restart(&live, observed, &stop),
            "kill" => {
                let signal = self.flags.get("-s").cloned().unwrap_or_default();
                plan_kill(
                    &live,
                    observed,
                    &KillOptions {
                        services,
                        signal,
                        remove_orphans: false,
                    },
                )
            }
            "rm" => plan_remove(
                &live,
                observed,
                &RemoveOptions {
                    services,
                    stop: self.has("-s"),
                    volumes: self.has("-v"),
                },
            ),
            other => panic!("no verb {other}"),
        }
    }

    fn up_options(&self) -> UpOptions {
        let recreate = match (self.has("--force-recreate"), self.has("--no-recreate")) {
            (true, _) => Recreate::Always,
            (_, true) => Recreate::Never,
            _ => Recreate::Diverged,
        };
        let recreate_dependencies = match (self.has("--always-recreate-deps"), recreate) {
            (true, _) => Recreate::Always,
            (false, Recreate::Never) => Recreate::Never,
            _ => Recreate::Diverged,
        };
        UpOptions {
            services: self.services.clone(),
            recreate,
            recreate_dependencies,
            no_deps: self.has("--no-deps"),
            start: self.verb != "create" && !self.has("--no-start"),
            orphans: if self.has("--remove-orphans") {
                Orphans::Remove
            } else {
                Orphans::Warn
            },
            renew_anonymous_volumes: self.has("-V"),
            timeout: self.timeout(),
            scale: self.scale.clone(),
            wait: self.has("--wait").then(Wait::default),
            volume_changes: if self.has("-y") {
                VolumeChanges::Recreate
            } else {
                VolumeChanges::Ask
            },
            compatible_names: self.has("--compatibility"),
        }
    }

    fn down_options(&self) -> DownOptions {
        DownOptions {
            services: self.services.clone(),
            volumes: self.has("-v"),
            remove_orphans: self.has("--remove-orphans"),
            timeout: self.timeout(),
            images: match self.flags.get("--rmi").map(String::as_str) {
                Some("local") => RemoveImages::Local,
                Some("all") => RemoveImages::All,
                _ => RemoveImages::Keep,
            },
        }
    }
}
