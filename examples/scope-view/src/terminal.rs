//! The terminal, which is given back as it was, however the view ends.

use core::mem::ManuallyDrop;
use crossterm::cursor::Show;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use ratatui::DefaultTerminal;
use std::io::{self, IsTerminal as _, stdout};
use std::panic;

/// The terminal as a screen; dropped, it is what it was before.
#[derive(Debug)]
pub struct Screen {
    /// Dropped it would show the cursor, and panic if the terminal and with it the standard error is
    /// gone. It owns nothing but memory.
    pub(crate) terminal: ManuallyDrop<DefaultTerminal>,
}

impl Screen {
    /// Takes the terminal. A panic gives it back before it says anything.
    ///
    /// # Errors
    /// If there is none.
    pub fn open() -> io::Result<Self> {
        let none = |error: io::Error| {
            io::Error::new(error.kind(), format!("it needs a terminal to show anything: {error}"))
        };
        if !stdout().is_terminal() {
            return Err(none(io::Error::other("the output goes elsewhere")));
        }
        let terminal = ManuallyDrop::new(ratatui::try_init().map_err(none)?);
        let screen = Self { terminal };
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            leave();
            hook(info);
        }));
        execute!(stdout(), EnableBracketedPaste)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
        // A terminal that is gone needs nothing.
        _ = ratatui::try_restore();
    }
}

/// What ratatui leaves as it is.
fn leave() {
    _ = execute!(stdout(), DisableBracketedPaste, Show);
}
