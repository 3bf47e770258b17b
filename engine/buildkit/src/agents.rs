//! Sockets on this machine that lead to SSH agents of a client.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::task::JoinSet;

use crate::session::Session;

/// Listens at a path as long as the tasks live; connections go to the agent of that name of the session's client.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen_for_agent(
    path: &Path,
    session: Arc<Session>,
    id: String,
    tasks: &mut JoinSet<()>,
) -> io::Result<()> {
    // By way of its directory's descriptor: an address holds 108 bytes, and the path may be longer.
    let directory = std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?;
    let short = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let name = path.file_name().unwrap_or_default();
    let listener = UnixListener::bind(Path::new(&short).join(name))?;
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((connection, _)) = listener.accept().await {
            let (session, id) = (session.clone(), id.clone());
            connections.spawn(async move {
                if let Err(error) = session.forward_agent(&id, connection).await {
                    tracing::debug!(%error, "a connection to an SSH agent ended early");
                }
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Ok(())
}
