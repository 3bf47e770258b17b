//! Where the engine is: its directories, its socket, and whether we may start it.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The engine that a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// Images, containers, volumes, networks.
    pub(crate) root: PathBuf,
    /// Socket, log, run-time state.
    pub(crate) state: PathBuf,
    /// The socket to talk to.
    pub(crate) socket: PathBuf,
    /// The socket is that of the engine in `state`, so that we may start one there.
    pub(crate) ours: bool,
}

/// What the places are decided from, options before environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlaceOptions {
    pub(crate) root: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) host: Option<String>,
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
    ///
    /// # Errors
    /// The host is not of the form `unix://PATH`.
    pub(crate) fn decide(options: &PlaceOptions) -> Result<Places, Failure> {
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
        let socket = match &options.host {
            Some(host) => options.working_directory.join(socket_of(host)?),
            None => own_socket.clone(),
        };
        let ours = socket == own_socket;
        Ok(Places {
            root,
            state,
            socket,
            ours,
        })
    }

    /// The log of the engine itself.
    pub(crate) fn engine_log(&self) -> PathBuf {
        self.state.join("engine.log")
    }
}

fn socket_of(host: &str) -> Result<&Path, Failure> {
    let path = host
        .strip_prefix("unix://")
        .or_else(|| host.starts_with('/').then_some(host));
    path.filter(|path| !path.is_empty())
        .map(Path::new)
        .ok_or_else(|| {
            Failure::new(format!(
                "cannot use the engine at \"{host}\": it is not a unix socket"
            ))
            .hint("write it as unix:///path/of/the.sock")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(root: Option<&str>, state: Option<&str>, host: Option<&str>) -> Places {
        let options = PlaceOptions {
            root: root.map(str::to_owned),
            state: state.map(str::to_owned),
            host: host.map(str::to_owned),
            working_directory: "/w".into(),
            ..PlaceOptions::default()
        };
        Places::decide(&options).expect("the tests give good hosts")
    }

    #[test]
    fn places_follow_from_each_other() {
        let default = decide(None, None, None);
        assert_eq!(default.root, Path::new("/var/lib/hoist"));
        assert_eq!(default.socket, Path::new("/run/hoist/hoist.sock"));
        assert!(default.ours);
        let own = decide(Some("r"), None, None);
        assert_eq!(own.root, Path::new("/w/r"));
        assert_eq!(own.socket, Path::new("/w/r/run/hoist.sock"));
        let other = decide(None, Some("/s"), Some("unix:///var/run/docker.sock"));
        assert!(!other.ours);
        assert!(decide(None, Some("/s"), Some("unix:///s/hoist.sock")).ours);
    }

    #[test]
    fn only_unix_sockets_are_engines() {
        assert!(socket_of("tcp://1.2.3.4:2375").is_err());
        assert!(socket_of("unix://").is_err());
    }
}
