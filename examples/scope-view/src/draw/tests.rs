//! What a person sees, as text.

use super::*;
use crate::capture::Saved;
use crate::input::tests::press;
use crate::model::{Refusal, Update};
use crate::trace::Trace;
use crate::trace::tests::sine;
use crossterm::event::KeyCode;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use wslink_scope::{Settings, Waveform};

fn screen(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    terminal.backend().to_string()
}

fn running() -> Model {
    let mut model = Model::new("ws://127.0.0.1:1234/ws");
    model.update(Update::Link(Link::Open { dialect: "2.x" }));
    model.update(Update::Settings(Settings::default()));
    model.update(Update::Trace(sine(0, 1.0)));
    model.update(Update::Trace(sine(1, 1.0)));
    model
}

#[test]
fn a_running_scope() {
    insta::assert_snapshot!(screen(&running(), 100, 28));
}

#[test]
fn errors_stand_below_what_they_are_about() {
    let mut model = running();
    press(&mut model, &[KeyCode::Down, KeyCode::Down, KeyCode::Down, KeyCode::Char('9')]);
    press(&mut model, &[KeyCode::Char('9'), KeyCode::Enter]);
    assert!(model.next_command().is_some());
    let why = "not in 0 to 10 V".to_owned();
    model.update(Update::Set(Err(Refusal { parameter: Some("noise".to_owned()), why })));
    model.update(Update::Captured(Err("/root/capture-1.csv: Permission denied".to_owned())));
    // Another change is under way, and a third one is being typed.
    press(&mut model, &[KeyCode::Up, KeyCode::Right, KeyCode::Enter, KeyCode::Char('5')]);
    insta::assert_snapshot!(screen(&model, 90, 22));
}

#[test]
fn others_change_the_settings() {
    let mut model = running();
    model.update(Update::Settings(Settings {
        waveform: Waveform::Square,
        amplitude: 5.0,
        offset: -2.0,
        timebase: 0.01,
        ..Settings::default()
    }));
    let path = "./capture-1.csv".into();
    model.update(Update::Captured(Ok(Saved { path, samples: 10_000, seconds: 0.1 })));
    insta::assert_snapshot!(screen(&model, 90, 22));
}

#[test]
fn before_there_is_a_connection() {
    let model = Model::new("ws://127.0.0.1:1234/ws");
    insta::assert_snapshot!(screen(&model, 80, 16));
}

#[test]
fn a_connection_that_was_lost() {
    let mut model = running();
    model.update(Update::Link(Link::Waiting(Trouble {
        why: "no connection: Connection refused (os error 111)".to_owned(),
        hint: "Is the server running? Are host and port right?".to_owned(),
    })));
    model.toggle_run();
    insta::assert_snapshot!(screen(&model, 90, 22));
}

#[test]
fn a_secret_that_was_refused() {
    let mut model = Model::new("ws://127.0.0.1:1234/ws");
    model.update(Update::Link(Link::Refused(Trouble {
        why: "The secret was refused: Authentication failed".to_owned(),
        hint: "Press s to type another secret, or start with WSLINK_SECRET or --secret-file."
            .to_owned(),
    })));
    insta::assert_snapshot!(screen(&model, 80, 16));
    press(&mut model, &[KeyCode::Char('s'), KeyCode::Char('x'), KeyCode::Char('y')]);
    insta::assert_snapshot!("a_secret_is_typed", screen(&model, 80, 16));
}

#[test]
fn help() {
    let mut model = running();
    press(&mut model, &[KeyCode::Char('?')]);
    insta::assert_snapshot!(screen(&model, 90, 22));
}

#[test]
fn a_narrow_terminal() {
    let mut model = running();
    press(&mut model, &[KeyCode::Char('x'), KeyCode::Char('3'), KeyCode::Char('k')]);
    insta::assert_snapshot!(screen(&model, 44, 16));
    insta::assert_snapshot!("a_terminal_that_is_too_small", screen(&model, 30, 6));
}

/// Whoever answers at the address may say anything.
#[test]
fn a_server_can_say_what_it_wants() {
    let numbers = [f64::INFINITY, f64::NAN, -1.0, 0.0, f64::MAX, f64::MIN_POSITIVE, -0.0];
    for (at, number) in numbers.into_iter().enumerate() {
        let other = numbers[(at + 1) % numbers.len()];
        let mut model = running();
        model.update(Update::Settings(Settings {
            timebase: number,
            amplitude: other,
            frequency: number,
            offset: other,
            waveform: Waveform::Noise,
            noise: number,
        }));
        model.update(Update::Trace(Trace { rate: number.abs(), ..sine(2, number) }));
        for _ in 0..14 {
            press(&mut model, &[KeyCode::Right, KeyCode::Left, KeyCode::Down]);
            screen(&model, 90, 22);
        }
    }
    let mut model = running();
    press(&mut model, &[KeyCode::Right]);
    assert!(model.next_command().is_some());
    for why in ["\x1b[2Jclear", &"x ".repeat(200_000), &"x".repeat(200_000)] {
        model.update(Update::Unreadable(why.to_owned()));
        press(&mut model, &[KeyCode::Right]);
        model.next_command();
        model.update(Update::Set(Err(Refusal { parameter: None, why: why.to_owned() })));
        let trouble = Trouble { why: why.to_owned(), hint: why.to_owned() };
        model.update(Update::Link(Link::Refused(trouble)));
        assert!(!screen(&model, 90, 22).contains('\x1b'));
        model.update(Update::Link(Link::Open { dialect: "2.x" }));
    }
}

#[test]
fn it_can_be_drawn_at_any_size() {
    let mut model = running();
    let links = [
        Link::Open { dialect: "1.x" },
        Link::Refused(Trouble { why: "x".repeat(300), hint: "y ".repeat(300) }),
    ];
    for link in links {
        model.update(Update::Link(link));
        model.help = !model.help;
        for (width, height) in
            (1..120).step_by(17).flat_map(|w| (1..40).step_by(3).map(move |h| (w, h)))
        {
            screen(&model, width, height);
        }
    }
}
