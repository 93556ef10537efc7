//! Colours. `anstream` takes them out again where nobody wants them.

use anstyle::{AnsiColor, Style};
use core::fmt::Write as _;

pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const HINT: Style = AnsiColor::Cyan.on_default();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const UP: Style = AnsiColor::Green.on_default().bold();
pub(crate) const DOWN: Style = AnsiColor::Blue.on_default().bold();
pub(crate) const EVENT: Style = AnsiColor::Yellow.on_default();
pub(crate) const HEADING: Style = Style::new().bold().underline();
pub(crate) const NAME: Style = Style::new().bold();
const KEY: Style = AnsiColor::Cyan.on_default();
const TEXT: Style = AnsiColor::Green.on_default();
const NUMBER: Style = AnsiColor::Yellow.on_default();
const BINARY: Style = AnsiColor::Magenta.on_default();

/// What somebody else said, without what would steer a terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

/// The text of a line of a transcript, coloured: keys, strings, numbers, and what stands for
/// binary data.
pub(crate) fn message(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (len, style) = match first {
            '"' => {
                let len = string_len(rest);
                let is_key = rest.get(len..).is_some_and(|after| after.starts_with(':'));
                (len, if is_key { KEY } else { TEXT })
            }
            '#' | '(' => (rest.find(' ').unwrap_or(rest.len()), DIM),
            '-' | '0'..='9' => (word_len(rest), NUMBER),
            'a'..='z' | 'N' => {
                let len = word_len(rest);
                match rest.get(..len) {
                    Some("bin" | "ext" | "str") => {
                        (rest.find(')').map_or(rest.len(), |at| at + 1), BINARY)
                    }
                    Some("null" | "true" | "false" | "NaN" | "inf") => (len, NUMBER),
                    _ => (len, Style::new()),
                }
            }
            _ => (first.len_utf8(), Style::new()),
        };
        let (part, after) = rest.split_at_checked(len.max(1)).unwrap_or((rest, ""));
        // A string takes all that is written.
        _ = write!(out, "{style}{part}{style:#}");
        rest = after;
    }
    out
}

fn word_len(text: &str) -> usize {
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_');
    text.find(|c| !in_word(c)).unwrap_or(text.len())
}

/// The length of the string in quotes that the text begins with.
fn string_len(text: &str) -> usize {
    let mut escaped = true;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_nothing_else() {
        let text = r#"text {"a\"b": ["é\\", -1.5, bin(3, 00ff), null], "": str("x".., 1, 2)} ("#;
        let coloured = message(text);
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), text);
        let key = format!("{KEY}\"a\\\"b\"{KEY:#}");
        let number = format!("{NUMBER}-1.5{NUMBER:#}");
        let binary = format!("{BINARY}bin(3, 00ff){BINARY:#}");
        for part in [key, number, binary] {
            assert!(coloured.contains(&part), "{coloured:?} has no {part:?}");
        }
    }
}
