//! The other end of a connection: a client of any wslink server.
//!
//! ```no_run
//! use futures_util::StreamExt as _;
//! use wslink_smol::client::{Client, Options};
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! smol::block_on(async {
//!     let options = Options::new("wslink-secret");
//!     let (client, driver) = Client::connect("ws://localhost:8080/ws", options).await?;
//!     // Somebody has to run the driver; nothing is spawned here.
//!     let driver = smol::spawn(driver);
//!
//!     let mut levels = client.subscribe::<f64>("bench.level");
//!     let sum: i64 = client.call("bench.sum").arg(1).kwarg("b", 2).send().await?;
//!     println!("{sum}");
//!     while let Some(Ok(level)) = levels.next().await {
//!         println!("{}: {}", level.topic, level.value);
//!     }
//!     // With the last handle the connection is closed, and the driver ends.
//!     drop((client, levels));
//!     driver.await?;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! It runs under any executor. Timers and sockets are those of
//! [async-io](https://docs.rs/async-io), which has one thread of its own for them.

mod call;
mod connect;
mod drive;
mod error;
mod options;
mod progress;
mod proxy;
mod shared;
#[cfg(feature = "tls")]
mod tls;
mod topic;
mod typed;
mod upload;
mod value;

pub use call::Call;
pub use error::{ConnectError, Error, ServerError};
pub use options::{Backoff, Options};
pub use progress::Progress;
pub use topic::{Publication, Subscription, TopicError};
pub use value::{Binary, Value};

use connect::Address;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use drive::Running;
use serde::de::DeserializeOwned;
use shared::{Handle, Shared};
use std::sync::Arc;
use wslink_core::Policy;
use wslink_core::wire::Dialect;

/// A client of a wslink server, cheap to clone.
///
/// With the last clone, call and [`Subscription`] of it the connection is closed in order.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// What runs a [`Client`]: it has to be polled for anything to happen, on any executor. It ends
/// when nobody needs the connection any more; with an error, if there cannot be one.
#[must_use = "a client does nothing unless its driver is run"]
pub struct Driver {
    running: Pin<Box<dyn Future<Output = Result<(), ConnectError>> + Send>>,
}

impl Client {
    /// Connects to a server and says hello. The address is `ws://host:port/path` or
    /// `wss://host:port/path`, the path `/ws` unless given.
    ///
    /// The server may speak either dialect: the second one tried takes a connection of its own.
    ///
    /// # Errors
    /// If no connection was made; later ones are tried again as [`Options::with_reconnect`] says.
    pub async fn connect(url: &str, options: Options) -> Result<(Self, Driver), ConnectError> {
        let address = Address::parse(url)?;
        let shared = Shared::new();
        let mut running = Running { shared: Arc::clone(&shared), address, options, dialect: None };
        let connection = running.establish().await?;
        let running = Box::pin(running.run(connection));
        Ok((Self { handle: Arc::new(Handle { shared }) }, Driver { running }))
    }

    /// A call of this method.
    pub fn call<'a>(&self, method: &'a str) -> Call<'a> {
        Call::new(Arc::clone(&self.handle), method)
    }

    /// The publications of a topic, or of all topics with the prefix before a `*`, each read as a
    /// `T`; up to 64 wait for whoever takes them, then the oldest are passed over.
    pub fn subscribe<T: DeserializeOwned + Send + 'static>(&self, topic: &str) -> Subscription<T> {
        self.subscribe_with(&[topic], Policy::DropOldest(64))
    }

    /// As [`subscribe`](Self::subscribe), of several topics, and with a policy for those who are
    /// slow: [`Policy::Disconnect`] ends the stream.
    pub fn subscribe_with<T: DeserializeOwned + Send + 'static>(
        &self,
        topics: &[&str],
        policy: Policy,
    ) -> Subscription<T> {
        self.subscribe_at(topics, policy, f64::INFINITY)
    }

    /// As [`subscribe_with`](Self::subscribe_with), at most `max_rate` times a second of each topic,
    /// and always the newest in the end. What is left out for that is no loss.
    ///
    /// It is the server that leaves it out, one of this project; upstream's send everything. Where
    /// several subscriptions ask for the same topic, the highest rate holds for all of them. A rate
    /// that is not above zero is none.
    pub fn subscribe_at<T: DeserializeOwned + Send + 'static>(
        &self,
        topics: &[&str],
        policy: Policy,
        max_rate: f64,
    ) -> Subscription<T> {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let max_rate = if max_rate > 0.0 { max_rate } else { f64::INFINITY };
        Subscription::new(Arc::clone(&self.handle), topics, policy, max_rate)
    }

    /// Whether there is a connection on which the hello was accepted.
    pub fn is_connected(&self) -> bool {
        self.handle.shared.is_open()
    }

    /// Waits until there is a connection; `false` if there will be none any more.
    pub async fn connected(&self) -> bool {
        let shared = &self.handle.shared;
        loop {
            let bell = shared.listener();
            if shared.is_open() {
                return true;
            }
            if shared.is_over() {
                return false;
            }
            bell.await;
        }
    }

    /// The dialect that is spoken; `None` without a connection.
    pub fn dialect(&self) -> Option<Dialect> {
        self.handle.shared.state().engine.as_ref().map(|engine| engine.dialect())
    }

    /// Closes the connection, for all clones.
    pub fn close(&self) {
        self.handle.shared.close();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connected", &self.is_connected()).finish_non_exhaustive()
    }
}

impl Future for Driver {
    type Output = Result<(), ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.running.as_mut().poll(cx)
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver")
    }
}
