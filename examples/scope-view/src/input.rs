//! What the keys do.

use crate::model::{Entry, Link, Model, Secret};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// The longest that can be typed; a secret may be long.
const LONGEST: usize = 512;

/// What the keys do while nothing is typed: shown at the bottom, and by `?`.
pub(crate) const KEYS: &[(&str, &str)] = &[
    ("↑↓", "select"),
    ("←→", "change"),
    ("Enter", "type a value"),
    ("Space", "run/stop"),
    ("c", "capture to CSV"),
    ("t", "trigger"),
    ("f", "fit volts"),
    ("?", "help"),
    ("q", "quit"),
];

impl Model {
    /// Takes in what happened at the terminal.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.handle_key(key),
            Event::Paste(text) => text.chars().for_each(|c| self.put(c)),
            // Whatever it was, the screen is drawn anew.
            _ => {}
        }
    }

    fn handle_key(&mut self, key: &KeyEvent) {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c' | 'd') => self.quit = true,
                KeyCode::Char('u') => {
                    if let Some(entry) = &mut self.entry {
                        entry.text().clear();
                    }
                }
                _ => {}
            }
            return;
        }
        if self.entry.is_some() {
            return self.handle_typing(key.code);
        }
        if self.help {
            // Any key takes the help away.
            self.help = false;
            return;
        }
        match key.code {
            KeyCode::Up | KeyCode::Char('k') | KeyCode::BackTab => self.select(false),
            KeyCode::Down | KeyCode::Char('j') | KeyCode::Tab => self.select(true),
            KeyCode::Left | KeyCode::Char('h' | '-') => self.step(false),
            KeyCode::Right | KeyCode::Char('l' | '+') => self.step(true),
            KeyCode::Enter => self.entry = Some(Entry::Value(String::new())),
            KeyCode::Char(' ') => self.toggle_run(),
            KeyCode::Char('c') => self.capture(),
            KeyCode::Char('t') => self.trigger = !self.trigger,
            KeyCode::Char('f') => self.fit(),
            KeyCode::Char('s') if matches!(self.link, Link::Refused(_)) => {
                self.entry = Some(Entry::Secret(Secret::default()));
            }
            KeyCode::Char('s') => self.note("A secret can be typed when one was refused."),
            KeyCode::Char('?') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('q') => self.quit = true,
            KeyCode::Esc => self.said = None,
            // A digit begins a value.
            KeyCode::Char(c) if c.is_ascii_digit() || c == '.' => {
                self.entry = Some(Entry::Value(c.to_string()));
            }
            _ => {}
        }
    }

    fn handle_typing(&mut self, key: KeyCode) {
        match key {
            KeyCode::Esc => self.entry = None,
            KeyCode::Enter => match self.entry.take() {
                Some(Entry::Value(text)) if text.trim().is_empty() => {}
                Some(Entry::Value(text)) => self.type_in(&text),
                Some(Entry::Secret(secret)) => self.say_secret(secret),
                None => {}
            },
            KeyCode::Backspace => {
                if let Some(entry) = &mut self.entry {
                    entry.text().pop();
                }
            }
            KeyCode::Char(c) => self.put(c),
            _ => {}
        }
    }

    fn put(&mut self, c: char) {
        if let Some(entry) = &mut self.entry
            && entry.text().len() < LONGEST
            && !c.is_control()
        {
            entry.text().push(c);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::{Command, Row, Trouble, Update};
    use wslink_scope::{Change, Settings};

    pub(crate) fn press(model: &mut Model, keys: &[KeyCode]) {
        for key in keys {
            model.handle_event(&Event::Key(KeyEvent::new(*key, KeyModifiers::NONE)));
        }
    }

    fn typed(text: &str) -> Vec<KeyCode> {
        text.chars().map(KeyCode::Char).collect()
    }

    #[test]
    fn a_value_is_typed() {
        let mut model = Model::new("ws://scope/ws");
        model.update(Update::Link(Link::Open { dialect: "2.x" }));
        model.update(Update::Settings(Settings::default()));
        press(&mut model, &[KeyCode::Down, KeyCode::Enter]);
        press(&mut model, &typed("2.qc5"));
        press(&mut model, &[KeyCode::Backspace; 3]);
        press(&mut model, &[KeyCode::Char('5'), KeyCode::Enter]);
        assert_eq!(model.selected, Row::Amplitude);
        let change = Change { amplitude: Some(2.5), ..Change::default() };
        assert_eq!(model.next_command(), Some(Command::Set(change)));
        // A digit begins one, and Esc ends it.
        press(&mut model, &typed("12"));
        assert_eq!(model.entry, Some(Entry::Value("12".to_owned())));
        press(&mut model, &[KeyCode::Esc]);
        assert_eq!(model.entry, None);
        assert_eq!(model.next_command(), None);
        // Nothing typed is nothing wanted.
        press(&mut model, &[KeyCode::Enter, KeyCode::Enter]);
        assert_eq!(model.next_command(), None);
        assert_eq!(model.error(Row::Amplitude), None);
    }

    #[test]
    fn a_secret_is_asked_for_only_when_one_was_refused() {
        let mut model = Model::new("ws://scope/ws");
        press(&mut model, &typed("s"));
        assert_eq!(model.entry, None);
        model.update(Update::Link(Link::Refused(Trouble::default())));
        press(&mut model, &typed("sqx"));
        press(&mut model, &[KeyCode::Enter]);
        assert_eq!(model.next_command(), Some(Command::Secret(Secret("qx".to_owned()))));
        assert!(!model.quit);
    }

    #[test]
    fn typing_has_an_end() {
        let mut model = Model::new("ws://scope/ws");
        press(&mut model, &[KeyCode::Enter]);
        model.handle_event(&Event::Paste("x\n".repeat(10_000)));
        assert_eq!(model.entry, Some(Entry::Value("x".repeat(LONGEST))));
    }

    #[test]
    fn ctrl_c_ends_it_whatever_is_typed() {
        let mut model = Model::new("ws://scope/ws");
        press(&mut model, &[KeyCode::Enter]);
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        model.handle_event(&Event::Key(key));
        assert!(model.quit);
    }
}
