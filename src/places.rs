//! Where the engine is: its directories, its socket, and whether we may start it.

use std::path::PathBuf;

use hoist_api::client::Endpoint;

/// The engine that a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// Images, containers, volumes, networks.
    pub(crate) root: PathBuf,
    /// Socket, log, run-time state.
    pub(crate) state: PathBuf,
    /// The engine to talk to.
    pub(crate) endpoint: Endpoint,
    /// It is that of the engine in `state`, so that we may start one there.
    pub(crate) ours: bool,
}

/// What the places are decided from, options before environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlaceOptions {
    pub(crate) root: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) endpoint: Option<Endpoint>,
    /// The user's own run-time directory, when the user is not root.
    pub(crate) user_runtime: Option<PathBuf>,
    /// The user's own data directory, when the user is not root.
    pub(crate) user_data: Option<PathBuf>,
    /// What relative paths start from.
    pub(crate) working_directory: PathBuf,
}

impl Places {
    /// Decides the places. A root of one's own has its state inside it, unless that is given too, so
    /// that it never meets the default engine's socket.
    pub(crate) fn decide(options: &PlaceOptions) -> Places {
        let absolute = |text: &String| options.working_directory.join(text);
        let default_root = match &options.user_data {
            Some(data) => data.join("hoist"),
            None => PathBuf::from("/var/lib/hoist"),
        };
        let default_state = match &options.user_runtime {
            Some(runtime) => runtime.join("hoist"),
            None => PathBuf::from("/run/hoist"),
        };
        let root = options
            .root
            .as_ref()
            .map_or_else(|| default_root.clone(), absolute);
        let state = match &options.state {
            Some(state) => absolute(&state.clone()),
            None if root == default_root => default_state,
            None => root.join("run"),
        };
        let own_socket = state.join("hoist.sock");
        let endpoint = match &options.endpoint {
            Some(Endpoint::Unix(path)) => Endpoint::Unix(options.working_directory.join(path)),
            Some(other) => other.clone(),
            None => Endpoint::Unix(own_socket.clone()),
        };
        let ours = endpoint.socket() == Some(&own_socket);
        Places {
            root,
            state,
            endpoint,
            ours,
        }
    }

    /// The log of the engine itself.
    pub(crate) fn engine_log(&self) -> PathBuf {
        self.state.join("engine.log")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn decide(root: Option<&str>, state: Option<&str>, host: Option<&str>) -> Places {
        let options = PlaceOptions {
            root: root.map(str::to_owned),
            state: state.map(str::to_owned),
            endpoint: host.map(|host| Endpoint::parse(host).expect("the tests give good hosts")),
            working_directory: "/w".into(),
            ..PlaceOptions::default()
        };
        Places::decide(&options)
    }

    #[test]
    fn places_follow_from_each_other() {
        let default = decide(None, None, None);
        assert_eq!(default.root, Path::new("/var/lib/hoist"));
        assert_eq!(
            default.endpoint,
            Endpoint::Unix("/run/hoist/hoist.sock".into())
        );
        assert!(default.ours);
        let own = decide(Some("r"), None, None);
        assert_eq!(own.root, Path::new("/w/r"));
        assert_eq!(own.endpoint, Endpoint::Unix("/w/r/run/hoist.sock".into()));
        let other = decide(None, Some("/s"), Some("unix:///var/run/docker.sock"));
        assert!(!other.ours);
        assert!(decide(None, Some("/s"), Some("unix:///s/hoist.sock")).ours);
    }
}
