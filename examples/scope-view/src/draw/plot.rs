//! The signal on its graticule: ten divisions wide, eight high.

use crate::model::Model;
use crate::trace::Window;
use crate::units::si;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Color;
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::Block;
use ratatui::widgets::canvas::{Canvas, Line as Stroke, Points};

const ACROSS: f64 = 10.0;
/// Divisions from the middle to the edge.
const UP: f64 = 4.0;
/// Columns of the labels at the left.
const LABELS: u16 = 8;

/// Gives where the signal is, without the labels.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, area: Rect) -> Rect {
    let window = model.traces.window(model.trigger);
    let scale = model.scale();
    let bottom_title = match &window {
        Some(window) => {
            let found = match (model.trigger, window.triggered) {
                (true, true) => "triggered",
                (true, false) => "auto",
                (false, _) => "no trigger",
            };
            let time = si(window.duration / ACROSS, "s");
            format!(" {time}/div · {}/div · {found} ", si(scale, "V"))
        }
        None if model.running => " no trace yet ".to_owned(),
        None => " stopped ".to_owned(),
    };
    let columns = [Constraint::Length(LABELS), Constraint::Fill(1)];
    let [labels, screen] = Layout::horizontal(columns).areas(area);
    let block = Block::bordered().border_style(super::SOFT).title_bottom(bottom_title);
    let inner = block.inner(screen);
    let trace = if model.is_open() { Color::LightGreen } else { Color::DarkGray };
    let canvas = Canvas::default()
        .block(block)
        .marker(Marker::Braille)
        .x_bounds([0.0, ACROSS])
        .y_bounds([-UP, UP])
        .paint(|context| {
            context.draw(&Points { coords: &graticule(inner), color: Color::DarkGray });
            let Some(window) = &window else { return };
            context.layer();
            for stroke in strokes(window, scale, inner.width, trace) {
                context.draw(&stroke);
            }
        });
    frame.render_widget(canvas, screen);

    // Volts beside every other line.
    for line in (-4..=4_i32).step_by(2) {
        let part = (UP - f64::from(line)) / (2.0 * UP);
        let row = (part * f64::from(inner.height.saturating_sub(1))).round() as u16;
        let text = Line::styled(si(f64::from(line) * scale, "V"), super::SOFT).right_aligned();
        let at = Rect { y: inner.y + row, height: 1, width: LABELS - 1, ..labels };
        frame.render_widget(text, at.intersection(labels));
    }
    screen
}

/// Dots along the lines between divisions, one for each cell so that they stay apart.
fn graticule(area: Rect) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    for line in 1..10 {
        let x = f64::from(line);
        points.extend((0..area.height).map(|row| (x, across(row, area.height) * 2.0 * UP - UP)));
    }
    for line in -3..4 {
        let y = f64::from(line);
        points.extend((0..area.width).map(|column| (across(column, area.width) * ACROSS, y)));
    }
    points
}

/// The middle of a cell, from 0 to 1.
fn across(cell: u16, cells: u16) -> f64 {
    (f64::from(cell) + 0.5) / f64::from(cells.max(1))
}

/// The signal as lines; of many samples in a column of dots the lowest and the highest show.
fn strokes(window: &Window, scale: f64, width: u16, color: Color) -> Vec<Stroke> {
    let dots = f64::from(width.max(1)) * 2.0;
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut column = (f64::NAN, 0.0, 0.0);
    let volts = |it: f32| f64::from(it) / scale;
    for &(at, value) in &window.points {
        let (x, y) = (at * ACROSS, volts(value));
        if !y.is_finite() {
            continue;
        }
        let dot = (at * dots).floor();
        if dot != column.0 {
            column = (dot, y, y);
            points.push((x, y));
        } else if y < column.1 || y > column.2 {
            column = (dot, y.min(column.1), y.max(column.2));
            points.push((x, y));
        }
    }
    if let [(x, y)] = points[..] {
        points.push((x, y));
    }
    let pairs = points.windows(2);
    pairs.map(|it| Stroke { x1: it[0].0, y1: it[0].1, x2: it[1].0, y2: it[1].1, color }).collect()
}
