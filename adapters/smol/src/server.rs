//! The server: what all connections borrow, and the loop that accepts them.

use crate::Options;
use crate::calls::Borrowed;
use crate::drive::drive;
use crate::http::{self, Upgraded};
use crate::shared::{Publisher, Shared, Stop};
use core::fmt;
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
use wslink_core::{Entropy, Publications, Service};

/// TCP connections beyond the allowed WebSockets: pages, health checks, clients to be turned away.
const SPARE_STREAMS: usize = 64;

/// The pause after an `accept` that failed for want of something, files for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A wslink server for one [`Service`], in both dialects at once.
///
/// It is a handle: clones are the same server. It starts nothing by itself. [`run`](Self::run) is
/// a future that accepts and drives all connections, on whichever executor polls it:
///
/// ```
/// use wslink_core::{Call, Cx, MethodInfo, NoBlob, RpcError, Service, TopicInfo};
/// use wslink_smol::{Ended, Options, Server};
///
/// struct Clock;
///
/// impl Service for Clock {
///     type Request = ();
///     type Reply = u64;
///     type Blob = NoBlob;
///     const METHODS: &'static [MethodInfo] = &[MethodInfo::new("clock.now")];
///     const TOPICS: &'static [TopicInfo] = &[];
///
///     fn decode(&self, call: &Call<'_>) -> Result<(), RpcError> {
///         call.params().map(|_| ())
///     }
///
///     async fn call(&self, _: Cx<'_, NoBlob>, (): ()) -> Result<u64, RpcError> {
///         Ok(1_234)
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// smol::block_on(async {
///     let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
///     let server = Server::new(Clock, Options::new("wslink-secret"));
///     let stop = server.stop_handle();
///     # stop.stop();
///     // Elsewhere, for example in a signal handler: `stop.stop()`.
///     assert_eq!(server.run(listener).await, Ended::Stopped);
///     Ok(())
/// })
/// # }
/// ```
///
/// That is one task, and so one thread at a time. To use more of them, spawn the connections, each
/// of which is a future of its own. They are `Send` if the service is `Send + Sync` and its calls
/// are `Send`; a service that is neither works on one thread all the same.
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
/// use smol::{Executor, net::TcpListener};
/// use wslink_smol::{Ended, Server};
///
/// /// To be run on an executor of several threads.
/// async fn run(
///     server: Server<Clock>,
///     executor: &Executor<'_>,
///     listener: TcpListener,
/// ) -> Ended {
///     loop {
///         match server.accept(&listener).await {
///             Ok(stream) => executor.spawn(server.serve(stream)).detach(),
///             Err(ended) => return ended,
///         }
///     }
/// }
/// ```
pub struct Server<S: Service<Blob: Send + 'static>> {
    inner: Arc<Inner<S>>,
}

struct Inner<S: Service<Blob: Send + 'static>> {
    service: S,
    options: Options,
    publisher: Publisher<S::Blob>,
}

/// Why a server accepts no more connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// There was no client for as long as [`Options::with_timeout`] says.
    Idle,
}

impl<S: Service<Blob: Send + 'static>> Server<S> {
    /// A server that has not begun to accept.
    pub fn new(service: S, options: Options) -> Self {
        let publisher = Publisher(Arc::new(Shared::new(&options, S::TOPICS)));
        Self { inner: Arc::new(Inner { service, options, publisher }) }
    }

    /// Accepts connections and drives them until the server is stopped or idle; what it is made of
    /// is dropped with it.
    ///
    /// On a stop the listener is closed at once. Each client gets Close 1001; running calls have
    /// [`Options::with_grace`] to end before that. The future is ready when the last connection is
    /// over, which takes no longer than that and [`Deadlines::close`](wslink_core::Deadlines).
    pub async fn run(&self, listener: impl Into<TcpListener>) -> Ended {
        let listener = listener.into();
        self.shared().control.restart_idle();
        let mut connections = FuturesUnordered::new();
        let ended = {
            let mut accept = pin!(self.accept(&listener));
            loop {
                // Without connections there is none to wait for.
                let next = async {
                    match connections.next().await {
                        Some(()) => {}
                        None => core::future::pending().await,
                    }
                };
                match select(accept.as_mut(), pin!(next)).await {
                    Either::Right(((), _)) => {}
                    Either::Left((Err(ended), _)) => break ended,
                    Either::Left((Ok(stream), _)) => {
                        connections.push(self.serve(stream));
                        accept.set(self.accept(&listener));
                    }
                }
            }
        };
        drop(listener);
        self.stop_handle().stop();

        let options = &self.inner.options;
        let bound = options.grace + options.config.deadlines.close + Duration::from_secs(1);
        let all = async { while connections.next().await.is_some() {} };
        if let Either::Right(_) = select(pin!(all), Timer::after(bound)).await {
            log::warn!("connections were dropped that did not end in time");
        }
        ended
    }

    /// Waits for one connection, to be given to [`serve`](Self::serve).
    ///
    /// Failures of the listener are logged and waited for, since it can do no better when files
    /// are short.
    ///
    /// # Errors
    /// The reason why there are no further connections.
    pub async fn accept(&self, listener: &TcpListener) -> Result<TcpStream, Ended> {
        let options = &self.inner.options;
        let control = &self.shared().control;
        let most = options.max_connections.saturating_add(SPARE_STREAMS);
        let mut failing = false;
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
                    if !core::mem::replace(&mut failing, true) {
                        log::error!("accept: {error}");
                    }
                    select(control.listen_freed(), Timer::after(ACCEPT_PAUSE)).await;
                }
            }
        }
    }

    /// Drives one connection from its first HTTP request to its end. What goes wrong on it is
    /// logged, and concerns nobody else.
    pub fn serve<T>(&self, stream: T) -> impl Future<Output = ()> + use<S, T>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let server = self.clone();
        let place = server.shared().control.enter_stream();
        async move {
            let _place = place;
            let serve = AssertUnwindSafe(server.serve_to_end(stream));
            if serve.catch_unwind().await.is_err() {
                log::error!("a connection ended by a panic");
            }
        }
    }

    async fn serve_to_end<T>(&self, stream: T)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Inner { service, options, publisher } = &*self.inner;
        let shared = &*publisher.0;
        // Boxed, so that a WebSocket does not keep the room that HTTP needed.
        let upgraded = Box::pin(http::serve(stream, options, &shared.control)).await;
        let Some(Upgraded { stream, read_ahead, place }) = upgraded else { return };
        let mut random = [0; 16];
        if let Err(error) = getrandom::fill(&mut random) {
            return log::error!("no entropy for a connection: {error}");
        }
        let borrowed = Borrowed { service, shared, options };
        if let Some(driver) = drive(borrowed, stream, &read_ahead, Entropy(random)) {
            drop(read_ahead);
            driver.await;
        }
        drop(place);
    }

    /// What stops this server, also while it runs.
    pub fn stop_handle(&self) -> Stop {
        Stop(Arc::clone(&self.shared().control))
    }

    /// Stops it.
    pub fn stop(&self) {
        self.shared().control.stop();
    }

    /// Publishing from outside of calls.
    pub fn publications(&self) -> Publications<'_, S::Blob> {
        self.inner.publisher.publications()
    }

    /// The same, to be kept by another task.
    pub fn publisher(&self) -> Publisher<S::Blob> {
        self.inner.publisher.clone()
    }

    /// The service.
    pub fn service(&self) -> &S {
        &self.inner.service
    }

    /// How many clients have said hello and are connected now.
    pub fn peers(&self) -> usize {
        self.shared().hub().peers()
    }

    fn shared(&self) -> &Shared<S::Blob> {
        &self.inner.publisher.0
    }
}

impl<S: Service<Blob: Send + 'static>> Clone for Server<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S: Service<Blob: Send + 'static>> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

/// Whether only the connection that was to be accepted is concerned.
fn concerns_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
}
