//! Ctrl-C and SIGTERM, while something is being followed or waited for.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals; from its making on they no longer end the process by themselves.
#[derive(Debug)]
pub(crate) struct Interrupts {
    /// `None` when the signal cannot be caught: then it ends the process as ever.
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Interrupts {
    /// Begins to catch both.
    pub(crate) fn catch() -> Interrupts {
        Interrupts {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            () = received(self.interrupt.as_mut()) => {}
            () = received(self.terminate.as_mut()) => {}
        }
    }
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
    Interrupts::catch().next().await;
}
