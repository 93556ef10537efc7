//! The connection: makes it, keeps it, and does what is wanted over it.

use crate::capture::save;
use crate::model::{Command, Link, Refusal, Secret, Trouble, Update};
use crate::trace::Trace;
use core::future::pending;
use core::pin::pin;
use core::time::Duration;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::or;
use std::io::ErrorKind;
use std::path::PathBuf;
use wslink_core::wire::Dialect;
use wslink_scope::{Change, ScopeClient, Settings};
use wslink_smol::client::{
    Client, ConnectError, Driver, Error, Options, Publication, ServerError, TopicError, Value,
};

/// How long anything but a capture may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a capture may take: a device computes each sample.
const CAPTURE: Duration = Duration::from_secs(60);
/// How often it is looked whether the connection is still there.
const LOOK: Duration = Duration::from_millis(100);
/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Everything between the view and a server.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) url: String,
    pub(crate) secret: Secret,
    /// Samples of a capture.
    pub(crate) samples: u32,
    /// Where captures go.
    pub(crate) directory: PathBuf,
    /// Whether traces are wanted.
    pub(crate) running: bool,
    pub(crate) commands: Receiver<Command>,
    pub(crate) updates: Sender<Update>,
}

/// The view is gone.
#[derive(Debug)]
struct Gone;

impl Connection {
    /// Until the view is gone; if the secret is `asked` for, not before that was told.
    ///
    /// # Errors
    /// If there will never be a connection: the address makes no sense.
    pub(crate) async fn run(mut self, asked: bool) -> Result<(), ConnectError> {
        if asked && self.wait().await.is_err() {
            return Ok(());
        }
        let mut failures = 0;
        loop {
            self.tell(Update::Link(Link::Connecting)).await;
            let (url, options) = (self.url.clone(), Options::new(self.secret.0.clone()));
            let connecting = async { Some(Client::connect(&url, options).await) };
            let gone = async {
                while self.wait().await.is_ok() {}
                None
            };
            let error = match or(connecting, gone).await {
                None => return Ok(()),
                Some(Err(error)) => error,
                Some(Ok((client, driver))) => {
                    failures = 0;
                    match self.session(client, driver).await {
                        Ok(Gone) => return Ok(()),
                        Err(error) => error,
                    }
                }
            };
            let trouble = trouble(&error);
            let waited = match error {
                ConnectError::Url(_) | ConnectError::Settings(_) => return Err(error),
                ConnectError::Refused(_) => {
                    self.tell(Update::Link(Link::Refused(trouble))).await;
                    self.wait().await
                }
                _ => {
                    self.tell(Update::Link(Link::Waiting(trouble))).await;
                    failures += 1;
                    let pause = Duration::from_millis(500) * (1 << failures.min(4));
                    let over = async {
                        Timer::after(pause).await;
                        Ok(())
                    };
                    or(over, self.wait()).await
                }
            };
            if waited.is_err() {
                return Ok(());
            }
        }
    }

    /// One client, which connects again by itself. The error is why it does not any more.
    async fn session(&mut self, client: Client, driver: Driver) -> Result<Gone, ConnectError> {
        let mut driver = pin!(driver);
        // The same definition for a desktop and a device.
        let scope = ScopeClient::new(client.clone());
        let mut settings = scope.subscribe_settings();
        let mut traces = self.running.then(|| scope.subscribe_trace());
        let mut calls: FuturesUnordered<BoxFuture<'static, Option<Update>>> =
            FuturesUnordered::new();
        let mut looks = Timer::interval(LOOK);
        let mut open = false;
        loop {
            if open != client.is_connected() {
                open = !open;
                self.tell(Update::Link(link(&client))).await;
                if open {
                    calls.push(settings_now(scope.clone()).boxed());
                }
            }
            let ended = async { Event::Ended(driver.as_mut().await) };
            let wanted = async { Event::Wanted(self.commands.recv().await.ok()) };
            let done = async {
                match calls.next().await {
                    Some(update) => Event::Done(update),
                    None => pending().await,
                }
            };
            let set = async { Event::Set(settings.next().await) };
            let traced = async {
                match &mut traces {
                    Some(traces) => Event::Traced(traces.next().await),
                    None => pending().await,
                }
            };
            let look = async {
                looks.next().await;
                Event::Look
            };
            let event = or(ended, or(wanted, or(done, or(set, or(traced, look))))).await;
            match event {
                Event::Ended(Err(error)) => return Err(error),
                Event::Ended(Ok(())) => return Ok(Gone),
                Event::Wanted(None) => {
                    client.close();
                    // Whatever comes of it: nobody wants to know any more.
                    _ = or(driver, async {
                        Timer::after(FAREWELL).await;
                        Ok(())
                    })
                    .await;
                    return Ok(Gone);
                }
                Event::Wanted(Some(Command::Run(running))) => {
                    self.running = running;
                    // A server of this project is not asked for what nobody looks at.
                    traces = running.then(|| scope.subscribe_trace());
                }
                Event::Wanted(Some(Command::Set(change))) => {
                    calls.push(set_to(scope.clone(), change).boxed());
                }
                Event::Wanted(Some(Command::Capture)) => {
                    let directory = self.directory.clone();
                    calls.push(capture(scope.clone(), self.samples, directory).boxed());
                }
                // It is asked for only when one was refused.
                Event::Wanted(Some(Command::Secret(_))) | Event::Look | Event::Done(None) => {}
                Event::Done(Some(update)) => self.tell(update).await,
                Event::Set(Some(Err(TopicError::Reconnected { same_session }))) => {
                    if same_session == Some(false) {
                        self.tell(Update::Restarted).await;
                    }
                    // The connection may have come and gone between two looks.
                    calls.push(settings_now(scope.clone()).boxed());
                }
                Event::Set(Some(Ok(it))) => self.tell(Update::Settings(it.value)).await,
                Event::Traced(Some(Ok(it))) => self.tell(Update::Trace(it.value)).await,
                Event::Set(Some(Err(TopicError::Unreadable(why)))) => {
                    let why = format!("The settings cannot be read: {why}");
                    self.tell(Update::Unreadable(why)).await;
                }
                Event::Traced(Some(Err(TopicError::Unreadable(why)))) => {
                    let why = format!("A trace cannot be read: {why}");
                    self.tell(Update::Unreadable(why)).await;
                }
                // What is passed over is seen by the number of the next trace.
                Event::Set(_) | Event::Traced(_) => {}
            }
        }
    }

    /// Does without a connection what can be done, until there is another secret.
    async fn wait(&mut self) -> Result<(), Gone> {
        loop {
            match self.commands.recv().await.map_err(|_| Gone)? {
                Command::Run(running) => self.running = running,
                Command::Secret(secret) => {
                    self.secret = secret;
                    return Ok(());
                }
                // They were asked for just before the view was told that there is none.
                Command::Set(_) => {
                    let refusal = refusal(&Error::NotConnected);
                    self.tell(Update::Set(Err(refusal))).await;
                }
                Command::Capture => {
                    let why = Error::NotConnected.to_string();
                    self.tell(Update::Captured(Err(why))).await;
                }
            }
        }
    }

    async fn tell(&self, update: Update) {
        // A view that is gone is noticed by its commands.
        _ = self.updates.send(update).await;
    }
}

enum Event {
    Ended(Result<(), ConnectError>),
    Wanted(Option<Command>),
    Done(Option<Update>),
    Set(Option<Result<Publication<Settings>, TopicError>>),
    Traced(Option<Result<Publication<Trace>, TopicError>>),
    Look,
}

fn link(client: &Client) -> Link {
    match client.dialect().filter(|_| client.is_connected()) {
        Some(Dialect::V1) => Link::Open { dialect: "1.x" },
        Some(_) => Link::Open { dialect: "2.x" },
        None => Link::Waiting(Trouble {
            why: "The connection was lost.".to_owned(),
            hint: "It is made again as soon as the server is there.".to_owned(),
        }),
    }
}

async fn settings_now(scope: ScopeClient<Client>) -> Option<Update> {
    match scope.settings().within(PATIENCE).await {
        Ok(settings) => Some(Update::Settings(settings)),
        // It is asked again when there is a connection.
        Err(Error::Lost { .. } | Error::NotConnected) => None,
        Err(error) => Some(Update::Unreadable(format!("There are no settings: {error}"))),
    }
}

async fn set_to(scope: ScopeClient<Client>, change: Change) -> Option<Update> {
    let settings = scope.set(change).within(PATIENCE).await;
    Some(Update::Set(settings.map_err(|error| refusal(&error))))
}

async fn capture(scope: ScopeClient<Client>, samples: u32, directory: PathBuf) -> Option<Update> {
    let saved = match scope.capture(samples).within(CAPTURE).await {
        Ok(capture) => smol::unblock(move || save(&capture, &directory)).await,
        Err(Error::Server(error)) => Err(words(&error)),
        Err(error) => Err(error.to_string()),
    };
    Some(Update::Captured(saved))
}

fn refusal(error: &Error) -> Refusal {
    let Error::Server(error) = error else {
        return Refusal { parameter: None, why: error.to_string() };
    };
    let parameter = error.data.as_ref().and_then(Value::as_str).map(ToOwned::to_owned);
    Refusal { parameter, why: words(error) }
}

/// What a server said, for somebody who sees where it belongs.
fn words(error: &ServerError) -> String {
    let text = error.exception().unwrap_or(&error.message);
    let text = text.strip_prefix("Invalid params: ").unwrap_or(text);
    let name = error.data.as_ref().and_then(Value::as_str).unwrap_or_default();
    let rest = text.strip_prefix(name).and_then(|it| it.strip_prefix(": "));
    rest.unwrap_or(text).to_owned()
}

/// Why there is no connection, and what may help.
fn trouble(error: &ConnectError) -> Trouble {
    let hint = match error {
        ConnectError::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => "Is the server running? Are host and port right?",
            ErrorKind::TimedOut => "Is there a firewall between?",
            ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => {
                "The server hung up: does it want wss://?"
            }
            _ => "Is the name of the host right?",
        },
        ConnectError::Deadline => "Is there a firewall between?",
        ConnectError::Tls(_) => "A server without TLS is ws://, not wss://.",
        ConnectError::Proxy(_) => "NO_PROXY goes around a proxy.",
        ConnectError::NotAWebSocket(_) => "Is the path right? It is /ws as a rule.",
        ConnectError::Refused(_) => {
            "Press s to type another secret, or start with WSLINK_SECRET or --secret-file."
        }
        ConnectError::Closed(_) => "Is it a wslink server at all?",
        _ => "",
    };
    let why = match error {
        ConnectError::Refused(error) => format!("The secret was refused: {}", error.message),
        other => other.to_string(),
    };
    Trouble { why, hint: hint.to_owned() }
}
