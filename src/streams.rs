//! Our own terminal joined with a process in a container: input, output, keys to detach, size, signals.
//!
//! Shared by `exec`, `run`, `attach` and their `container` twins. Knows streams, not what they belong to.

use std::convert::Infallible;
use std::io::{self, Read};
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hoist_api::Engine;
use hoist_api::engine::{Attached, FrameStream, TerminalSize};
use hoist_api::frame::Stream;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};

use crate::context::Context;
use crate::failure::Failure;
use crate::ui::terminal::{self, RawMode};

/// How our streams are joined with those of a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wiring {
    /// The process has a terminal.
    pub(crate) terminal: bool,
    /// Our standard input goes to it.
    pub(crate) input: bool,
    /// Keys that leave it running and come back; only on a terminal.
    pub(crate) keys: DetachKeys,
    /// Print nothing of what it writes.
    pub(crate) silent: bool,
}

/// Why the streams were parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parted {
    /// The process has ended, or closed its output.
    Ended,
    /// The keys were typed.
    Detached,
}

impl Wiring {
    /// Joins the streams until the output ends or the keys are typed. `resize` is told our terminal's size, now and
    /// when it changes.
    ///
    /// # Errors
    /// The connection broke, or our output cannot be written.
    pub(crate) async fn join<R>(
        &self,
        context: &Context,
        attached: Attached,
        resize: R,
    ) -> Result<Parted, Failure>
    where
        R: AsyncFn(TerminalSize),
    {
        let raw = match self.terminal && self.input {
            true => RawMode::enter().ok(),
            false => None,
        };
        let source = self.input.then(read_stdin);
        let keys = self.keys.clone().only_if(self.terminal && raw.is_some());
        let outcome = tokio::select! {
            outcome = self.print(context, attached.output) => outcome.map(|()| Parted::Ended),
            () = send_input(attached.input, source, keys) => Ok(Parted::Detached),
            never = follow_size(self.terminal, resize) => match never {},
        };
        drop(raw);
        outcome
    }

    async fn print(&self, context: &Context, mut output: FrameStream) -> Result<(), Failure> {
        while let Some(frame) = output.next().await {
            let frame = frame?;
            match frame.stream {
                _ if self.silent => {}
                Stream::Stderr => context.ui.error_bytes(&frame.data)?,
                Stream::Stdin | Stream::Stdout => context.ui.bytes(&frame.data)?,
            }
        }
        Ok(())
    }
}

/// The size of our terminal, height first, when the process is to have one.
pub(crate) fn console_size(terminal: bool) -> Option<[u32; 2]> {
    let size = terminal::size().filter(|_| terminal)?;
    Some([size.rows.into(), size.columns.into()])
}

/// Sends what is read and closes the process's input at the end; ends by itself only when the keys are typed.
async fn send_input(
    mut input: Pin<Box<dyn AsyncWrite + Send>>,
    source: Option<Receiver<Vec<u8>>>,
    mut keys: DetachKeys,
) {
    if let Some(mut source) = source {
        while let Some(bytes) = source.recv().await {
            let (pass, detach) = keys.filter(&bytes);
            // A process that has closed its input goes on.
            if input.write_all(&pass).await.is_err() || input.flush().await.is_err() {
                break;
            }
            if detach {
                return;
            }
        }
        let _ = input.shutdown().await;
    }
    std::future::pending().await
}

/// Reads standard input on a thread of its own, which nobody waits for: a read of a terminal cannot be given up.
fn read_stdin() -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        break;
                    }
                }
            }
        }
    });
    receiver
}

/// Tells the size of our terminal, now and whenever it changes; never ends by itself.
async fn follow_size<R: AsyncFn(TerminalSize)>(terminal: bool, resize: R) -> Infallible {
    let changes = signal(SignalKind::window_change());
    let (true, Ok(mut changes)) = (terminal, changes) else {
        return std::future::pending().await;
    };
    loop {
        if let Some(size) = terminal::size() {
            resize(TerminalSize {
                height: size.rows,
                width: size.columns,
            })
            .await;
        }
        changes.recv().await;
    }
}

/// Signals that are handed on to a container, with their numbers.
const FORWARDED: [(&str, SignalKind); 7] = [
    ("INT", SignalKind::interrupt()),
    ("TERM", SignalKind::terminate()),
    ("HUP", SignalKind::hangup()),
    ("QUIT", SignalKind::quit()),
    ("USR1", SignalKind::user_defined1()),
    ("USR2", SignalKind::user_defined2()),
    ("ALRM", SignalKind::alarm()),
];

/// Signals that no longer end this process, because the container gets them.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(&'static str, Signal)>);

impl Signals {
    /// Begins to catch them.
    pub(crate) fn catch() -> Signals {
        let caught = FORWARDED.into_iter();
        let caught = caught.filter_map(|(name, kind)| Some((name, signal(kind).ok()?)));
        Signals(caught.collect())
    }

    /// Sends them on to a container; never ends by itself.
    pub(crate) async fn forward<E: Engine>(&mut self, engine: &E, container: &str) -> Infallible {
        loop {
            let mut waits: FuturesUnordered<_> = self
                .0
                .iter_mut()
                .map(|(name, signal)| async move {
                    signal.recv().await;
                    *name
                })
                .collect();
            let Some(name) = waits.next().await else {
                return std::future::pending().await;
            };
            drop(waits);
            // A container that has just ended needs no signal.
            let _ = engine.container_kill(container, name).await;
        }
    }
}

/// Keys that part from a container and leave it running, as `ctrl-p,ctrl-q`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

impl Default for DetachKeys {
    /// ctrl-p ctrl-q, as Docker.
    fn default() -> Self {
        DetachKeys {
            keys: vec![16, 17],
            typed: 0,
        }
    }
}

impl std::str::FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<DetachKeys, String> {
        let key = |name: &str| match (name.as_bytes(), name.strip_prefix("ctrl-")) {
            ([byte], _) => Some(*byte),
            (_, Some(letter)) => match letter.as_bytes() {
                [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
                [b'@'] => Some(0),
                [b'['] => Some(27),
                [b'\\'] => Some(28),
                [b']'] => Some(29),
                [b'^'] => Some(30),
                [b'_'] => Some(31),
                _ => None,
            },
            _ => None,
        };
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        let keys = keys.filter(|_| !text.is_empty());
        keys.map(|keys| DetachKeys { keys, typed: 0 })
            .ok_or_else(|| {
                "write keys as ctrl-p,ctrl-q: letters, or ctrl- and a letter or one of @[\\]^_"
                    .to_owned()
            })
    }
}

impl DetachKeys {
    /// None at all, when they are of no use.
    fn only_if(self, useful: bool) -> DetachKeys {
        match useful {
            true => self,
            false => DetachKeys {
                keys: Vec::new(),
                typed: 0,
            },
        }
    }

    /// What of the input goes on, and whether the keys were typed. The first of them wait until it is known that the
    /// others do not follow.
    fn filter(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (bytes.to_vec(), false);
        }
        let mut pass = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if byte == self.keys[self.typed] {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return (pass, true);
                }
                continue;
            }
            pass.extend(&self.keys[..self.typed]);
            self.typed = usize::from(byte == self.keys[0]);
            if self.typed == 0 {
                pass.push(byte);
            }
        }
        (pass, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_part_even_when_they_come_apart() {
        let mut keys = DetachKeys::default();
        assert_eq!(keys.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(keys.filter(b"\x10\x10\x11rest"), (b"\x10".to_vec(), true));
    }

    #[test]
    fn keys_are_read() {
        let keys = |text: &str| text.parse::<DetachKeys>().ok().map(|keys| keys.keys);
        assert_eq!(keys("ctrl-a,x,ctrl-["), Some(vec![1, b'x', 27]));
        assert_eq!(keys("ctrl-1"), None);
        assert_eq!(keys(""), None);
    }
}
