//! A scope on a desktop's server, which can be killed.

use core::time::Duration;
use smol::channel::{Sender, bounded};
use smol::future::or;
use std::net::TcpListener;
use std::thread::{self, JoinHandle};
use wslink_scope::{Scope, Timer};
use wslink_smol::Options;

/// Dropped, it is gone without a word.
pub(crate) struct Server {
    pub(crate) port: u16,
    kill: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Port 0 is any.
    pub(crate) fn start(port: u16, secret: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = smol::net::TcpListener::try_from(listener).unwrap();
        let server = wslink_smol::Server::new(Scope::new(SmolTimer), Options::new(secret));
        let (kill, killed) = bounded(1);
        let thread = thread::spawn(move || {
            let serving = async {
                server.run(listener).await;
            };
            let sampling = async {
                let period = Duration::from_millis(100);
                let Err(error) = server.service().run(server.publications(), period).await;
                panic!("{error}");
            };
            let killed = async {
                _ = killed.recv().await;
            };
            smol::block_on(or(killed, or(serving, sampling)));
        });
        Self { port, kill, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill.close();
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

struct SmolTimer;

impl Timer for SmolTimer {
    async fn after(&self, duration: Duration) {
        smol::Timer::after(duration).await;
    }
}

/// A port that nobody has just now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
