//! A program in a pseudo-terminal, and what a person would see of it.

use core::num::NonZeroU16;
use core::time::Duration;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read as _, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// How long anything may take to be seen.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct View {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// How the terminal was before.
    before: String,
}

impl View {
    /// On 100 columns and 28 rows.
    pub(crate) fn start(mut command: CommandBuilder) -> Self {
        command.env("TERM", "xterm-256color");
        let size = PtySize { rows: 28, cols: 100, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let before = settings(&*pair.master);
        let child = pair.slave.spawn_command(command).unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        let parser = vt100::Parser::new(at_least_one(28), at_least_one(100), 0);
        let screen = Arc::new(Mutex::new(parser));
        let shared = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shared.lock().unwrap().process(&bytes[..count]);
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Self { master: pair.master, keys, child, screen, before }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    pub(crate) fn screen(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    pub(crate) fn until(&self, what: &str, seen: impl Fn(&str) -> bool) {
        let start = Instant::now();
        while !seen(&self.screen()) {
            let screen = self.screen();
            assert!(start.elapsed() < PATIENCE, "{what} is not to be seen:\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
        if std::env::var_os("SCOPE_VIEW_SHOW").is_some() {
            println!("=== {what}\n{}", self.screen());
        }
    }

    /// Until the program has the terminal for itself.
    pub(crate) fn until_taken(&self) {
        let start = Instant::now();
        while !self.screen.lock().unwrap().screen().alternate_screen() {
            assert!(start.elapsed() < PATIENCE, "{}", self.screen());
            thread::sleep(Duration::from_millis(5));
        }
        assert_ne!(settings(&*self.master), self.before);
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.screen.lock().unwrap().set_size(at_least_one(rows), at_least_one(columns));
        self.master.resize(size).unwrap();
    }

    /// `-TERM`, and what else `kill` knows.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.process_id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits for the end, after which the terminal has to be as it was. Gives the exit code.
    pub(crate) fn end(&mut self) -> u32 {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end:\n{}", self.screen());
            thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(settings(&*self.master), self.before);
        // What it wrote last may still be on its way.
        let is_back = || {
            let parser = self.screen.lock().unwrap();
            let screen = parser.screen();
            !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste()
        };
        while !is_back() {
            assert!(start.elapsed() < PATIENCE, "the screen was not given back");
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(50));
        status.exit_code()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Echo, lines, signals: what raw mode changes.
fn settings(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().unwrap())
}

fn at_least_one(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}
