//! The user namespace of a container's run: whether it has one, which ids, and whose it is.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use hoist_api::error::{ApiError, Result};
use hoist_api::host_config::HostConfig;
use hoist_kernel::init::program::IdRange;
use hoist_shim::client::ClientError;
use hoist_shim::protocol::RequestBody;

use super::{Service, internal};
use crate::runtime::spec::UserNamespace;
use crate::store;
use crate::store::container::ContainerRecord;
use crate::users;

/// Where a container's users live.
#[derive(Debug)]
pub(super) struct Users {
    pub(super) ids: UserNamespace,
    pub(super) namespace: OwnedFd,
    /// An empty network namespace that it owns.
    pub(super) network: OwnedFd,
}

/// What `userns_mode` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As the engine is set.
    Default,
    /// The machine's users.
    Host,
    /// Users of its own, mapped as the engine is set, else to a range that such containers share.
    Private,
    /// Users of its own in a range of its own.
    Auto,
}

fn mode(text: &str) -> Result<Mode> {
    Ok(match text {
        "" => Mode::Default,
        "host" => Mode::Host,
        "private" => Mode::Private,
        "auto" => Mode::Auto,
        other => {
            return Err(ApiError::bad_request(format!(
                "invalid user namespace mode: \"{other}\""
            ))
            .with_hint(
                "userns_mode is host, private (users mapped as the engine's --userns-remap says) or auto (to a range of the \
                 container's own)",
            ));
        }
    })
}

impl Service {
    /// Refuses what cannot go together, in Docker's words (moby, `daemon/daemon_unix.go`).
    ///
    /// # Errors
    /// 400.
    pub(super) fn check_user_namespace(&self, host: &HostConfig) -> Result<()> {
        let has_own = match mode(&host.userns_mode)? {
            Mode::Default => self.config.userns_remap.is_some(),
            Mode::Host => false,
            Mode::Private | Mode::Auto => true,
        };
        let conflict = if !has_own {
            return Ok(());
        } else if host.privileged {
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running \
             privileged mode"
        } else if host.network_mode == "host" {
            "cannot share the host's network namespace when user namespaces are enabled"
        } else if host.pid_mode == "host" {
            "cannot share the host PID namespace when user namespaces are enabled"
        } else {
            return Ok(());
        };
        Err(ApiError::bad_request(conflict).with_hint("set userns_mode: host for this container"))
    }

    /// Makes the user namespace of a start; `None`: the machine's.
    pub(super) async fn user_namespace(
        self: &Arc<Self>,
        record: &ContainerRecord,
    ) -> Result<Option<Users>> {
        let Some(wanted) = self.wanted_ids(record)? else {
            return Ok(None);
        };
        let shared = self.shared_users(record)?;
        let id = record.id.clone();
        self.blocking(move |service| {
            let (ids, given) = match shared {
                Some((ids, pid)) => (ids, vec![open_user_namespace(pid)?.into()]),
                None => (wanted, Vec::new()),
            };
            service.make_namespaces(id.as_str(), ids, given).map(Some)
        })
        .await
    }

    fn wanted_ids(&self, record: &ContainerRecord) -> Result<Option<UserNamespace>> {
        Ok(match mode(&record.host_config.userns_mode)? {
            Mode::Host => None,
            Mode::Default => self.config.userns_remap,
            Mode::Private => Some(self.config.userns_remap.unwrap_or_else(users::shared)),
            Mode::Auto => {
                let mut taken: Vec<UserNamespace> = self.config.userns_remap.into_iter().collect();
                for other in self.containers.all() {
                    let other = other.record();
                    if other.run.status.is_alive() && other.id != record.id {
                        taken.extend(other.run.user_namespace);
                    }
                }
                let own = users::own(record.id.as_str(), &taken);
                Some(own.ok_or_else(|| {
                    ApiError::conflict("all ranges of users for containers are taken")
                })?)
            }
        })
    }

    /// Who shares another container's network, processes or ipc shares its users as well: namespaces belong to a user
    /// namespace, and only its root can set up what goes with them. Ids of that container and its process.
    fn shared_users(&self, record: &ContainerRecord) -> Result<Option<(UserNamespace, i32)>> {
        let host = &record.host_config;
        let mut found: Option<(UserNamespace, i32, u64)> = None;
        for mode in [&host.network_mode, &host.pid_mode, &host.ipc_mode] {
            let Some(id) = mode.strip_prefix("container:") else {
                continue;
            };
            let other = self.containers.find(id)?.snapshot();
            if !other.run.status.is_alive() {
                // Whoever joins the namespace itself says so.
                continue;
            }
            let ids = other.run.user_namespace.ok_or_else(|| {
                ApiError::conflict(format!(
                    "cannot share namespaces of container {}, which has no user namespace",
                    other.name
                ))
                .with_hint("give both containers the same userns_mode")
            })?;
            let file = open_user_namespace(other.run.pid)?;
            let inode = file.metadata().map_err(|error| internal(&error))?.ino();
            if found.is_some_and(|(_, _, known)| known != inode) {
                return Err(ApiError::conflict(
                    "cannot share namespaces of containers that are in different user namespaces",
                ));
            }
            found = Some((ids, other.run.pid, inode));
        }
        Ok(found.map(|(ids, pid, _)| (ids, pid)))
    }

    /// The engine has threads and cannot enter a user namespace: a shim without a container makes it.
    fn make_namespaces(&self, id: &str, ids: UserNamespace, given: Vec<OwnedFd>) -> Result<Users> {
        let state = self.config.container_state(id);
        store::make_directory(&state).map_err(|error| internal(&error))?;
        let path = state.join("shim.log");
        let messages = OpenOptions::new().create(true).append(true).open(&path);
        let messages = messages.map_err(|error| internal(&error))?;
        let (mut connection, mut child) = self
            .shim_program
            .spawn("namespaces", messages)
            .map_err(|error| internal(&error))?;
        let range = |outside| IdRange {
            inside: 0,
            outside,
            count: ids.size,
        };
        let request = RequestBody::MakeNamespaces {
            users: vec![range(ids.user)],
            groups: vec![range(ids.group)],
        };
        let made = connection.call(request, given);
        drop(connection);
        let ended = child.wait();
        let (_, made) = made.map_err(|error| match error {
            ClientError::Refused(failure) => {
                ApiError::new(hoist_api::ErrorKind::Internal, failure.message)
            }
            error => internal(&error),
        })?;
        ended.map_err(|error| internal(&error))?;
        let mut made = made.into_iter();
        match (made.next(), made.next()) {
            (Some(namespace), Some(network)) => Ok(Users {
                ids,
                namespace,
                network,
            }),
            _ => Err(ApiError::new(
                hoist_api::ErrorKind::Internal,
                "the shim has made no namespaces",
            )),
        }
    }
}

fn open_user_namespace(pid: i32) -> Result<File> {
    let path = PathBuf::from(format!("/proc/{pid}/ns/user"));
    File::open(&path).map_err(|error| {
        let message = format!("cannot use the user namespace {}: {error}", path.display());
        ApiError::new(hoist_api::ErrorKind::Internal, message)
    })
}
