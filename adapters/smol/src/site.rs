//! Several servers behind one door.

use crate::http::{self, Upgraded};
use crate::shared::{Control, Stop};
use crate::{BadSetting, Ended, Options, Server};
use core::any::Any;
use core::panic::AssertUnwindSafe;
use core::pin::pin;
use core::time::Duration;
use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use smol::Timer;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::{TcpListener, TcpStream};
use std::io;
use std::sync::Arc;
use wslink_core::Service;

/// TCP connections beyond the allowed WebSockets: pages, health checks, clients to be turned away.
const SPARE_STREAMS: usize = 64;

/// The pause after an `accept` that failed for want of something, files for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Several [`Server`]s, each with a service and a WebSocket of its own, on one port.
///
/// The first one's options say what else is served, how many clients there may be, and when the
/// site ends; the others' are about their own WebSocket. They start, stop and are idle together.
///
/// ```
/// # use wslink_core::{Call, Cx, MethodInfo, NoBlob, RpcError, Service, TopicInfo};
/// # struct Clock;
/// # impl Service for Clock {
/// #     type Request = ();
/// #     type Reply = u64;
/// #     type Blob = NoBlob;
/// #     const METHODS: &'static [MethodInfo] = &[];
/// #     const TOPICS: &'static [TopicInfo] = &[];
/// #     fn decode(&self, call: &Call<'_>) -> Result<(), RpcError> { Ok(()) }
/// #     async fn call(&self, _: Cx<'_, NoBlob>, (): ()) -> Result<u64, RpcError> { Ok(1) }
/// # }
/// use wslink_smol::{Options, Server};
///
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// let site = Server::new(Clock, Options::new("for everybody"))
///     .and(Clock, Options::new("for a few").with_ws_path("/admin/ws"))?;
/// let (clock, admin) = site.servers();
/// assert_eq!(clock.peers() + admin.peers(), 0);
/// // site.run(listener).await
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Site<E>(E);

/// What HTTP and the listener need of the servers behind them.
pub(crate) trait Front: Clone {
    /// Of the first one.
    fn options(&self) -> &Options;

    /// Of all.
    fn control(&self) -> &Arc<Control>;

    /// How many servers there are.
    fn count(&self) -> usize;

    fn options_of(&self, endpoint: usize) -> Option<&Options>;

    /// How many clients have said hello.
    fn peers(&self) -> usize;

    /// How much was published.
    fn published(&self) -> u64;

    /// Drives a WebSocket of one server.
    fn drive<T>(&self, upgraded: Upgraded<T>) -> impl Future<Output = ()>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Which server has its WebSocket at this path.
    fn endpoint_at(&self, path: &str) -> Option<usize> {
        let is_at = |options: &Options| options.ws_path.as_deref() == Some(path);
        (0..self.count()).find(|endpoint| self.options_of(*endpoint).is_some_and(is_at))
    }
}

impl<A: Front, S: Service<Blob: Send + 'static>> Front for (A, Server<S>) {
    fn options(&self) -> &Options {
        self.0.options()
    }

    fn control(&self) -> &Arc<Control> {
        self.0.control()
    }

    fn count(&self) -> usize {
        self.0.count() + 1
    }

    fn options_of(&self, endpoint: usize) -> Option<&Options> {
        if endpoint == self.0.count() {
            Some(self.1.options())
        } else {
            self.0.options_of(endpoint)
        }
    }

    fn peers(&self) -> usize {
        self.0.peers() + self.1.peers()
    }

    fn published(&self) -> u64 {
        self.0.published() + Front::published(&self.1)
    }

    async fn drive<T>(&self, upgraded: Upgraded<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if upgraded.accepted.endpoint == self.0.count() {
            self.1.drive(upgraded).await;
        } else {
            self.0.drive(upgraded).await;
        }
    }
}

/// Sealed: a [`Server`], or several of them joined by [`Server::and`].
#[expect(private_bounds, reason = "only what is here can be a front")]
pub trait Endpoints: Front {}

impl<E: Front> Endpoints for E {}

impl<E: Endpoints> Site<E> {
    pub(crate) const fn new(servers: E) -> Self {
        Self(servers)
    }

    /// One more server, as [`Server::and`].
    ///
    /// # Errors
    /// If there is a WebSocket at the same path, or at none.
    pub fn and<S: Service<Blob: Send + 'static>>(
        self,
        service: S,
        options: Options,
    ) -> Result<Site<(E, Server<S>)>, BadSetting> {
        let Some(path) = &options.ws_path else {
            return Err(BadSetting::new("ws_path", "a further server needs a path"));
        };
        if self.0.endpoint_at(path).is_some() {
            return Err(BadSetting::new("ws_path", format_args!("there are two at {path:?}")));
        }
        let server = Server::beside(self.0.control(), service, options);
        Ok(Site((self.0, server)))
    }

    /// The servers: two in a pair; of more, all but the last are in the first place.
    pub const fn servers(&self) -> &E {
        &self.0
    }

    /// As [`Server::run`].
    pub async fn run(&self, listener: impl Into<TcpListener>) -> Ended {
        let listener = listener.into();
        let control = self.0.control();
        control.restart_idle();
        let mut connections = FuturesUnordered::new();
        // In a set of its own, so that the listener is asked only when it has something to tell, and
        // not each time that a connection has.
        let mut accepting = FuturesUnordered::new();
        let ended = loop {
            // Without connections there is none to wait for.
            let next = async {
                match connections.next().await {
                    Some(()) => {}
                    None => core::future::pending().await,
                }
            };
            match select(accepting.next(), pin!(next)).await {
                Either::Right(((), _)) => {}
                Either::Left((None, _)) => accepting.push(self.accept(&listener)),
                Either::Left((Some(Ok(stream)), _)) => connections.push(self.serve(stream)),
                Either::Left((Some(Err(ended)), _)) => break ended,
            }
        };
        drop(accepting);
        drop(listener);
        control.stop();

        let options = self.0.options();
        let bound = options.grace + options.config.deadlines.close + Duration::from_secs(1);
        let all = async { while connections.next().await.is_some() {} };
        if let Either::Right(_) = select(pin!(all), Timer::after(bound)).await {
            log::warn!("connections were dropped that did not end in time");
        }
        ended
    }

    /// As [`Server::accept`].
    ///
    /// # Errors
    /// The reason why there are no further connections.
    pub async fn accept(&self, listener: &TcpListener) -> Result<TcpStream, Ended> {
        let options = self.0.options();
        let control = self.0.control();
        let most = options.max_connections.saturating_add(SPARE_STREAMS);
        loop {
            let freed = control.listen_freed();
            if control.is_stopping() {
                return Err(Ended::Stopped);
            }
            let idle_at = match (options.timeout, control.alone_since()) {
                (Some(timeout), Some(since)) => Some(since + timeout),
                _ => None,
            };
            if idle_at.is_some_and(|at| at <= control.now()) {
                log::info!("no client for {:?}", options.timeout.unwrap_or_default());
                return Err(Ended::Idle);
            }
            let stops_at = control.stops_at();
            if stops_at.is_some_and(|at| at <= control.now()) {
                control.stop();
                return Err(Ended::Stopped);
            }
            let wake_at = idle_at.into_iter().chain(stops_at).min();
            let timer = wake_at.map_or_else(Timer::never, |at| Timer::at(control.std_instant(at)));
            let accepted = async {
                if control.streams() < most {
                    listener.accept().await
                } else {
                    core::future::pending().await
                }
            };
            let accepted = match select(pin!(accepted), pin!(select(freed, timer))).await {
                Either::Left((accepted, _)) => accepted,
                Either::Right(_) => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Small frames shall not wait for each other.
                    if let Err(error) = stream.set_nodelay(true) {
                        log::debug!("no TCP_NODELAY: {error}");
                    }
                    return Ok(stream);
                }
                Err(error) if concerns_one(&error) => log::debug!("accept: {error}"),
                Err(error) => {
                    if control.note_failure(control.now()) {
                        log::error!("accept: {error}");
                    }
                    select(control.listen_freed(), Timer::after(ACCEPT_PAUSE)).await;
                }
            }
        }
    }

    /// As [`Server::serve`].
    pub fn serve<T>(&self, stream: T) -> impl Future<Output = ()> + use<E, T>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let front = self.0.clone();
        let place = front.control().enter_stream();
        async move {
            let _place = place;
            let serve = AssertUnwindSafe(serve_to_end(&front, stream));
            if serve.catch_unwind().await.is_err() {
                log::error!("a connection ended by a panic");
            }
        }
    }

    /// As [`Server::stop_handle`].
    pub fn stop_handle(&self) -> Stop {
        Stop(Arc::clone(self.0.control()))
    }

    /// Stops all of it.
    pub fn stop(&self) {
        self.0.control().stop();
    }

    #[cfg(feature = "cli")]
    pub(crate) fn options(&self) -> &Options {
        self.0.options()
    }
}

async fn serve_to_end<T>(front: &impl Front, stream: T)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let tcp = (&stream as &dyn Any).downcast_ref::<TcpStream>();
    let remote = tcp.and_then(|tcp| tcp.peer_addr().ok());
    // Boxed, so that a WebSocket does not keep the room that HTTP needed.
    let upgraded = Box::pin(http::serve(stream, remote, front)).await;
    if let Some(upgraded) = upgraded {
        front.drive(upgraded).await;
    }
}

/// Whether only the connection that was to be accepted is concerned.
fn concerns_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
}
