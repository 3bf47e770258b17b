//! Asynchronous conversations with shims: one task for each connection, replies matched by number, events passed on.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::process::Child;

use hoist_shim::client::Connection;
use hoist_shim::frame::{FrameError, Incoming, Outgoing};
use hoist_shim::protocol::{Event, Failure, FromShim, Reply, Request, RequestBody};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

/// Talking to a shim failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShimError {
    /// The shim says no.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The connection is gone, usually because the shim is.
    #[error("lost the connection to the container's shim")]
    Gone,
    /// The request cannot be sent.
    #[error("cannot send a request to the container's shim")]
    Frame(#[from] FrameError),
    /// The connection cannot be watched.
    #[error("cannot watch the connection to the container's shim")]
    Watch(#[source] std::io::Error),
}

type Answer = Result<(Reply, Vec<OwnedFd>), ShimError>;

struct Job {
    body: RequestBody,
    descriptors: Vec<OwnedFd>,
    answer: oneshot::Sender<Answer>,
}

/// A connection to a container's shim. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Shim {
    jobs: mpsc::UnboundedSender<Job>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Job").finish_non_exhaustive()
    }
}

impl Shim {
    /// Drives a connection. The receiver ends when the connection does.
    pub(crate) fn drive(
        connection: Connection,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), ShimError> {
        let (socket, incoming) = connection.into_parts();
        rustix::io::ioctl_fionbio(&socket, true).map_err(|errno| ShimError::Watch(errno.into()))?;
        let socket = crate::pipes::watch(socket).map_err(ShimError::Watch)?;
        let (jobs, queue) = mpsc::unbounded_channel();
        let (events, receiver) = mpsc::unbounded_channel();
        let driver = Driver {
            socket,
            incoming,
            events,
            pending: HashMap::new(),
            next_number: 1,
        };
        tokio::spawn(driver.run(queue));
        Ok((Self { jobs }, receiver))
    }

    /// Sends a request and waits for its reply.
    pub(crate) async fn call(&self, body: RequestBody, descriptors: Vec<OwnedFd>) -> Answer {
        let (answer, receiver) = oneshot::channel();
        self.jobs
            .send(Job {
                body,
                descriptors,
                answer,
            })
            .map_err(|_| ShimError::Gone)?;
        receiver.await.map_err(|_| ShimError::Gone)?
    }

    /// Sends a request that is answered with nothing but success.
    pub(crate) async fn request(&self, body: RequestBody) -> Result<(), ShimError> {
        self.call(body, Vec::new()).await.map(drop)
    }
}

/// A shim that this engine started. When the value goes away the shim is leaving: a short-lived thread waits for it, so
/// that it stays no zombie.
#[derive(Debug)]
pub(crate) struct ShimProcess(Option<Child>);

impl ShimProcess {
    /// Around a started shim.
    pub(crate) fn new(child: Child) -> Self {
        Self(Some(child))
    }
}

impl Drop for ShimProcess {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else {
            return;
        };
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        let reaper = std::thread::Builder::new()
            .name("reap".to_owned())
            .stack_size(64 << 10);
        if let Err(error) = reaper.spawn(move || child.wait()) {
            tracing::warn!(%error, "cannot wait for a shim");
        }
    }
}

struct Driver {
    socket: AsyncFd<OwnedFd>,
    incoming: Incoming,
    events: mpsc::UnboundedSender<Event>,
    pending: HashMap<u32, oneshot::Sender<Answer>>,
    next_number: u32,
}

impl Driver {
    /// Ends when the shim closes or nobody can send requests any more and none waits.
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        loop {
            let outcome = tokio::select! {
                job = queue.recv() => match job {
                    Some(job) => self.send(job).await,
                    None => return,
                },
                readable = self.socket.readable() => match readable {
                    Ok(mut guard) => {
                        let received = self.incoming.receive(self.socket.get_ref());
                        match received {
                            Err(error) if error.is_would_block() => {
                                guard.clear_ready();
                                Ok(())
                            }
                            Err(error) => Err(ShimError::Frame(error)),
                            Ok(()) => self.dispatch(),
                        }
                    }
                    Err(error) => Err(ShimError::Watch(error)),
                },
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    /// Only failures of the connection are returned; those of the request go to its sender.
    async fn send(&mut self, job: Job) -> Result<(), ShimError> {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        let mut outgoing = match Outgoing::encode(
            &Request {
                number,
                body: job.body,
            },
            job.descriptors,
        ) {
            Ok(outgoing) => outgoing,
            Err(error) => {
                let _ = job.answer.send(Err(error.into()));
                return Ok(());
            }
        };
        self.pending.insert(number, job.answer);
        while !outgoing.send(self.socket.get_ref())? {
            let mut guard = self.socket.writable().await.map_err(ShimError::Watch)?;
            guard.clear_ready();
        }
        Ok(())
    }

    fn dispatch(&mut self) -> Result<(), ShimError> {
        while let Some((message, descriptors)) = self.incoming.take::<FromShim>()? {
            match message {
                FromShim::Event(event) => {
                    // Nobody listens when the engine only asks a question.
                    let _ = self.events.send(event);
                }
                FromShim::Reply { number, result } => {
                    if let Some(answer) = self.pending.remove(&number) {
                        let _ = answer.send(
                            result
                                .map(|reply| (reply, descriptors))
                                .map_err(ShimError::from),
                        );
                    }
                }
            }
        }
        Ok(())
    }
}
