//! `up --menu`: what keys do while containers are followed. Compose's keys: `w` watches the sources or stops to, `d` leaves the containers
//! running; those that open Docker Desktop mean nothing here. Ctrl-C stays what it is.

use std::io::{IsTerminal as _, Read as _};

use tokio::sync::{mpsc, watch};

use super::up::UpArgs;
use crate::context::Context;
use crate::ui::Ui;
use crate::ui::terminal::KeyMode;

/// Keys that are read, and whether sources are watched.
#[derive(Debug)]
pub(crate) struct Menu {
    keys: Option<Keys>,
    watching: watch::Sender<bool>,
    can_watch: bool,
    ui: Ui,
}

#[derive(Debug)]
struct Keys {
    pressed: mpsc::UnboundedReceiver<u8>,
    /// Puts the terminal back.
    _mode: KeyMode,
}

impl Menu {
    /// The menu of an `up` that stays; without keys when none are asked for, or there is no terminal.
    pub(crate) fn open(context: &Context, args: &UpArgs, can_watch: bool) -> Menu {
        let asked = args.menu.unwrap_or_else(|| context.is_on("COMPOSE_MENU"));
        Menu {
            keys: asked.then(Keys::read).flatten(),
            watching: watch::Sender::new(args.watch),
            can_watch,
            ui: context.ui.clone(),
        }
    }

    /// Says which keys there are.
    pub(crate) fn tell(&self) {
        if self.keys.is_some() {
            let watch = if self.can_watch { "w watch, " } else { "" };
            self.ui.note(&format!("Keys: {watch}d detach, Ctrl+C stop"));
        }
    }

    /// Tells whether to watch, and each change of that.
    pub(crate) fn switch(&self) -> watch::Receiver<bool> {
        self.watching.subscribe()
    }

    /// Whether sources are watched now.
    pub(crate) fn is_watching(&self) -> bool {
        *self.watching.borrow()
    }

    /// Returns when the containers are to be left alone. Nothing is lost when it is dropped before.
    pub(crate) async fn detached(&mut self) {
        let Some(keys) = &mut self.keys else {
            return std::future::pending().await;
        };
        while let Some(key) = keys.pressed.recv().await {
            match key {
                b'd' => return,
                b'w' if self.can_watch => {
                    self.watching.send_modify(|on| *on = !*on);
                    if !*self.watching.borrow() {
                        self.ui.note("Watch disabled");
                    }
                }
                b'w' => self.ui.note(
                    "none of the selected services is configured for watch: say what to watch in its `develop` section",
                ),
                b'\r' | b'\n' => self.ui.note(""),
                _ => {}
            }
        }
        std::future::pending().await
    }
}

impl Keys {
    /// Begins to read keys; not when standard input is no terminal of ours.
    fn read() -> Option<Keys> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let mode = KeyMode::enter()?;
        let (sender, pressed) = mpsc::unbounded_channel();
        // A read from a terminal cannot be taken back: the thread ends with the process.
        std::thread::spawn(move || {
            let mut key = [0];
            while matches!(std::io::stdin().lock().read(&mut key), Ok(1)) {
                if sender.send(key[0]).is_err() {
                    break;
                }
            }
        });
        Some(Keys {
            pressed,
            _mode: mode,
        })
    }
}
