//! The screen.

mod plot;

use crate::input::KEYS;
use crate::model::{Entry, Link, Model, Row, Said, Trouble};
use crate::units::{si, si3};
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

const SIDE: u16 = 31;
/// Below, there is no room for the rows beside the signal.
const WIDE: u16 = 72;
const SMALLEST: (u16, u16) = (36, 10);

/// The colours of a terminal, so that they go with what its owner has chosen.
const SOFT: Style = Style::new().fg(Color::DarkGray);
const GOOD: Style = Style::new().fg(Color::Green);
const BUSY: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red);

/// Draws all of it.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let (width, height) = SMALLEST;
        let text = format!("The terminal is too small: {width} by {height} is the least. q quits.");
        return frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
    }
    let rows = [Constraint::Length(1), Constraint::Fill(1), Constraint::Length(2)];
    let [top, middle, bottom] = Layout::vertical(rows).areas(area);
    let screen = if area.width >= WIDE {
        let columns = [Constraint::Fill(1), Constraint::Length(SIDE)];
        let [screen, side] = Layout::horizontal(columns).areas(middle);
        draw_side(frame, model, side);
        screen
    } else {
        // The selected row, and what is wrong with it.
        let rows = [Constraint::Fill(1), Constraint::Length(2)];
        let [screen, row] = Layout::vertical(rows).areas(middle);
        frame.render_widget(Paragraph::new(row_lines(model, model.selected, row.width)), row);
        screen
    };
    draw_top(frame, model, top);
    let screen = plot::draw(frame, model, screen);
    draw_trouble(frame, model, screen);
    draw_bottom(frame, model, bottom);
    if model.help {
        draw_help(frame, screen);
    }
}

fn draw_top(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let (style, state) = match &model.link {
        Link::Connecting => (BUSY, "◌ Connecting…".to_owned()),
        Link::Open { dialect } => (GOOD, format!("● Open, wslink {dialect}")),
        Link::Waiting(_) => (BUSY, "◌ Waiting to reconnect".to_owned()),
        Link::Refused(_) => (BAD, "✕ Refused".to_owned()),
    };
    let run = match model.running {
        true => Span::styled(" RUN ", GOOD.add_modifier(Modifier::REVERSED)),
        false => Span::styled(" STOP ", BAD.add_modifier(Modifier::REVERSED)),
    };
    let state = Line::from(vec![Span::styled(state, style), "  ".into(), run]);
    let columns = [Constraint::Fill(1), Constraint::Length(state.width() as u16)];
    let [left, right] = Layout::horizontal(columns).spacing(1).areas(area);
    let name = vec!["Scope".bold(), "  ".into(), Span::styled(model.url.as_str(), SOFT)];
    frame.render_widget(Line::from(name), left);
    frame.render_widget(state, right);
}

fn draw_side(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let width = area.width.saturating_sub(2);
    let lines: Vec<Line<'_>> =
        Row::ALL.into_iter().flat_map(|row| row_lines(model, row, width)).collect();
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let rows = [Constraint::Max(height), Constraint::Fill(1)];
    let [settings, measured] = Layout::vertical(rows).areas(area);
    let block = Block::bordered().title(" Settings ").border_style(SOFT);
    frame.render_widget(Paragraph::new(lines).block(block), settings);

    let block = Block::bordered().title(" Measured ").border_style(SOFT);
    let inner = block.inner(measured);
    frame.render_widget(block, measured);
    let mut lines = Vec::new();
    if let Some(now) = model.traces.measure() {
        let frequency = now.frequency.map_or_else(|| "–".to_owned(), |it| si3(it, "Hz"));
        lines.push(pair("  Frequency", frequency, inner.width));
        lines.push(pair("  Peak to peak", si3(now.peak_to_peak.into(), "V"), inner.width));
        // What noise leaves of zero is no news.
        let small = now.mean.abs() < now.peak_to_peak / 1000.0;
        let mean = if small { 0.0 } else { now.mean.into() };
        lines.push(pair("  Mean", si3(mean, "V"), inner.width));
    }
    lines.push(pair("  Missed", model.traces.missed.to_string(), inner.width));
    frame.render_widget(Paragraph::new(lines), inner);
}

/// A row, and below what is wrong with it.
fn row_lines(model: &Model, row: Row, width: u16) -> Vec<Line<'static>> {
    let selected = row == model.selected;
    let mark = if selected { "▸ " } else { "  " };
    let value = match &model.entry {
        Some(Entry::Value(text)) if selected => {
            // The end of it, where it is typed.
            let from = text.chars().count().saturating_sub(14);
            format!("{}▏", text.chars().skip(from).collect::<String>())
        }
        _ if model.is_pending(row) => format!("{} …", model.value(row)),
        _ => model.value(row),
    };
    let mut line = pair(&format!("{mark}{}", row.name()), value, width);
    if selected {
        line = line.style(Modifier::REVERSED);
    } else if model.is_pending(row) {
        line = line.style(BUSY);
    }
    let mut lines = vec![line];
    if let Some(why) = model.error(row) {
        lines.extend(
            wrap(why, width.saturating_sub(4))
                .into_iter()
                .map(|part| Line::styled(format!("    {part}"), BAD)),
        );
    }
    lines
}

fn pair(name: &str, value: String, width: u16) -> Line<'static> {
    let rest = usize::from(width).saturating_sub(name.chars().count() + 1);
    Line::from(format!("{name}{value:>rest$} "))
}

/// Breaks between words, up to what there is room for.
fn wrap(text: &str, width: u16) -> Vec<String> {
    const MOST: usize = 4;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if lines.len() > MOST {
            break;
        }
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= usize::from(width) {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// What keeps the connection from being open, over the signal that is from before.
fn draw_trouble(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let (title, style, trouble) = match &model.link {
        Link::Open { .. } => return,
        Link::Connecting => {
            let why = format!("Asking {} …", model.url);
            (" Connecting ", BUSY, Trouble { why, ..Trouble::default() })
        }
        Link::Waiting(trouble) => (" Waiting to reconnect ", BUSY, trouble.clone()),
        Link::Refused(trouble) => (" Refused ", BAD, trouble.clone()),
    };
    let mut text = Text::from(trouble.why);
    if let Some(Entry::Secret(secret)) = &model.entry {
        let dots = "•".repeat(secret.0.chars().count().min(24));
        text.push_line("");
        text.push_line(Line::from(format!("Secret: {dots}▏")).bold());
        text.push_line(Line::styled("Enter says it, Esc takes it back.", SOFT));
    } else if !trouble.hint.is_empty() {
        text.push_line("");
        text.push_line(trouble.hint);
    }
    draw_box(frame, title, style, text, area);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let lines = KEYS.iter().map(|(key, what)| {
        Line::from(vec![Span::styled(format!("{key:>6}"), BUSY), format!("  {what}").into()])
    });
    let mut text: Text<'_> = lines.collect();
    text.push_line("   Esc  take messages away");
    draw_box(frame, " Keys ", Style::new(), text, area);
}

/// A box in the middle, as large as its text.
fn draw_box(frame: &mut Frame<'_>, title: &str, style: Style, text: Text<'_>, area: Rect) {
    let width = (text.width() + 4).clamp(24, 56) as u16;
    let width = width.min(area.width);
    let inner = usize::from(width.saturating_sub(4).max(1));
    let lines: usize = text.lines.iter().map(|it| it.width().div_ceil(inner).max(1)).sum();
    // Breaking between words may take one more.
    let broken = text.lines.iter().filter(|it| it.width() > inner).count();
    let height = u16::try_from(lines + broken + 2).unwrap_or(u16::MAX);
    let [area] = Layout::horizontal([Constraint::Length(width)]).flex(Flex::Center).areas(area);
    let [area] = Layout::vertical([Constraint::Max(height)]).flex(Flex::Center).areas(area);
    let block = Block::bordered().title(title).style(style);
    let padded = block.inner(area).inner(ratatui::layout::Margin::new(1, 0));
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }), padded);
}

fn draw_bottom(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let [said, keys] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let line = if model.capturing {
        Line::styled("Capturing…", BUSY)
    } else {
        match &model.said {
            Some(Said::NotCaptured(why)) => Line::styled(format!("Not captured: {why}"), BAD),
            Some(Said::Saved(saved)) => {
                let path = saved.path.display();
                let seconds = si(saved.seconds, "s");
                Line::styled(format!("{} samples, {seconds}, are in {path}", saved.samples), GOOD)
            }
            Some(Said::Note(note)) => Line::styled(note.as_str(), BUSY),
            None => Line::default(),
        }
    };
    frame.render_widget(line, said);
    let list: &[(&str, &str)] = match (&model.entry, &model.link) {
        (Some(_), _) => &[("Enter", "done"), ("Esc", "leave as it is")],
        (None, Link::Refused(_)) => &[("s", "type a secret"), ("q", "quit")],
        (None, _) => KEYS,
    };
    // The last two always have their place: who knows how to get help finds the others.
    let (head, tail) = list.split_at(list.len().saturating_sub(2));
    let mut room = usize::from(keys.width).saturating_sub(keys_width(tail));
    let mut spans = Vec::new();
    for pair in head {
        let width = keys_width(core::slice::from_ref(pair));
        if width > room {
            break;
        }
        room -= width;
        spans.extend(key_spans(pair));
    }
    spans.extend(tail.iter().flat_map(key_spans));
    frame.render_widget(Line::from(spans), keys);
}

fn keys_width(keys: &[(&str, &str)]) -> usize {
    keys.iter().map(|(key, what)| key.chars().count() + what.chars().count() + 3).sum()
}

fn key_spans(&(key, what): &(&'static str, &'static str)) -> [Span<'static>; 3] {
    [Span::styled(key, BUSY), Span::from(format!(" {what}")), "  ".into()]
}

#[cfg(test)]
mod tests;
