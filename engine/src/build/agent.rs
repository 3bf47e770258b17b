//! An SSH agent as one step sees it: a socket with the owner and the mode that the step asks for, whose connections go on to the
//! agent. It ends with the value, and with it whatever is connected.

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use super::error::BuildError;
use super::owner::Owner;

/// A step's way to an agent.
#[derive(Debug)]
pub(crate) struct AgentSocket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl AgentSocket {
    /// Opens the socket `name` in a directory. Must be called where tasks can be started.
    pub(crate) fn open(
        (directory, name): (&Path, &str),
        agent: &str,
        (owner, mode): (Owner, u32),
    ) -> Result<Self, BuildError> {
        let path = directory.join(name);
        let failed = |error: std::io::Error| BuildError::io("make the socket", &path, error);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(|error| failed(error.into()))?;
        // The address of a socket has 108 bytes, a path may have more.
        let short = format!("/proc/self/fd/{}/{name}", parent.as_raw_fd());
        let listener = StdListener::bind(short).map_err(failed)?;
        std::os::unix::fs::chown(&path, Some(owner.user), Some(owner.group)).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        let task = tokio::spawn(serve(listener, PathBuf::from(agent)));
        Ok(Self { path, task })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: UnixListener, agent: PathBuf) {
    let mut talks = JoinSet::new();
    while let Ok((mut step, _)) = listener.accept().await {
        let agent = agent.clone();
        talks.spawn(async move {
            match UnixStream::connect(&agent).await {
                // Either side may end the talk.
                Ok(mut agent) => drop(copy_bidirectional(&mut step, &mut agent).await),
                Err(error) => {
                    tracing::warn!(agent = %agent.display(), %error, "a build's SSH agent does not answer");
                }
            }
        });
        while talks.try_join_next().is_some() {}
    }
}
