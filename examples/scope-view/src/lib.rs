//! An oscilloscope in the terminal: a client of the scope, whether that runs in a desktop process or
//! on a microcontroller.
//!
//! `model` and `input` are state and keys, `draw` makes a screen of them; neither knows of a
//! connection, which `link` has. They talk through two bounded channels.

mod args;
mod capture;
mod draw;
mod input;
mod link;
mod model;
mod terminal;
mod trace;
mod units;

pub use args::Arguments;
pub use terminal::Screen;

use async_signal::{Signal, Signals};
use core::error::Error;
use core::pin::pin;
use core::time::Duration;
use crossterm::event::EventStream;
use futures_util::StreamExt as _;
use link::Connection;
use model::{Command, Model, Secret, Update};
use smol::channel::{Receiver, Sender, bounded};
use smol::future::{or, yield_now};
use std::io;

/// Updates and commands that may be on their way.
const QUEUE: usize = 64;

/// Shows the scope until somebody quits.
///
/// # Errors
/// If there is no terminal, the secret cannot be read, or the address makes no sense.
pub async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let secret = arguments.secret()?;
    let mut model = Model::new(arguments.url.clone());
    let (command, commands) = bounded(QUEUE);
    let (tell, updates) = bounded(QUEUE);
    let connection = Connection {
        url: arguments.url,
        secret: Secret(secret),
        samples: arguments.samples,
        directory: arguments.directory,
        running: true,
        commands,
        updates: tell,
    };
    let asked = arguments.ask_secret;
    if asked {
        model.ask_secret();
    }
    // Before there is anything that has to be given back. SIGHUP ends it as ever: with the terminal
    // gone there is nothing to give back, and crossterm would read its end again and again.
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    let mut screen = Screen::open()?;
    let mut connecting = pin!(connection.run(asked));
    let viewing = async {
        // Dropped at its end, the sender tells the connection.
        let command = command;
        view(&mut screen, &mut signals, &mut model, &updates, &command)
            .await
            .map(Some)
            .map_err(Into::into)
    };
    let connected = async {
        connecting.as_mut().await?;
        Ok::<_, Box<dyn Error>>(None)
    };
    let viewed = or(viewing, connected).await;
    drop(screen);
    if let Some(()) = viewed? {
        connecting.await?;
    }
    Ok(())
}

/// Draws, takes in what happened, and draws again.
async fn view(
    screen: &mut Screen,
    signals: &mut Signals,
    model: &mut Model,
    updates: &Receiver<Update>,
    commands: &Sender<Command>,
) -> io::Result<()> {
    // Where there is nothing to read keys from, the stream would panic; this says so.
    crossterm::event::poll(Duration::ZERO)?;
    let mut events = EventStream::new();
    while !model.quit {
        screen.terminal.draw(|frame| draw::draw(frame, model))?;
        let key = async { Happened::Event(events.next().await) };
        let update = async { Happened::Update(updates.recv().await.ok()) };
        let signal = async {
            signals.next().await;
            Happened::Signal
        };
        match or(signal, or(key, update)).await {
            Happened::Event(Some(event)) => model.handle_event(&event?),
            Happened::Update(Some(update)) => model.update(update),
            // Without keys nobody could end it.
            Happened::Event(None) | Happened::Update(None) | Happened::Signal => model.quit = true,
        }
        while !commands.is_full()
            && let Some(command) = model.next_command()
        {
            if commands.send(command).await.is_err() {
                model.quit = true;
            }
        }
        // The connection has its turn, too, while keys come fast.
        yield_now().await;
    }
    Ok(())
}

enum Happened {
    Event(Option<io::Result<crossterm::event::Event>>),
    Update(Option<Update>),
    Signal,
}
