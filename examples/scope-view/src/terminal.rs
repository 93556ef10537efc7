//! The terminal, which is given back as it was, however the view ends.

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use ratatui::DefaultTerminal;
use std::io::{self, IsTerminal as _, stdout};
use std::panic;

/// The terminal as a screen; dropped, it is what it was before.
#[derive(Debug)]
pub struct Screen {
    pub(crate) terminal: DefaultTerminal,
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
        let terminal = ratatui::try_init().map_err(none)?;
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            leave_paste();
            hook(info);
        }));
        execute!(stdout(), EnableBracketedPaste)?;
        Ok(Self { terminal })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave_paste();
        ratatui::restore();
    }
}

/// A terminal that is gone needs nothing.
fn leave_paste() {
    _ = execute!(stdout(), DisableBracketedPaste);
}
