//! The server: what all connections borrow.

use crate::calls::Borrowed;
use crate::drive::drive;
use crate::http::Upgraded;
use crate::shared::{Control, Publisher, Shared, Stop};
use crate::site::{Front, Site};
use crate::{BadSetting, Options};
use core::fmt;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::{TcpListener, TcpStream};
use std::sync::Arc;
use wslink_core::{Entropy, Publications, Service};

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
        Self::beside(&Arc::new(Control::new()), service, options)
    }

    /// A server that starts and stops with others.
    pub(crate) fn beside(control: &Arc<Control>, service: S, options: Options) -> Self {
        let shared = Shared::new(&options, S::TOPICS, Arc::clone(control));
        let publisher = Publisher(Arc::new(shared));
        Self { inner: Arc::new(Inner { service, options, publisher }) }
    }

    /// This server and a further one, with a service and a WebSocket of its own, on one port.
    ///
    /// # Errors
    /// If the options do not give it a path of its own ([`Options::with_ws_path`]).
    pub fn and<S2: Service<Blob: Send + 'static>>(
        self,
        service: S2,
        options: Options,
    ) -> Result<Site<(Self, Server<S2>)>, BadSetting> {
        Site::new(self).and(service, options)
    }

    /// Accepts connections and drives them until the server is stopped or idle; what it is made of
    /// is dropped with it.
    ///
    /// On a stop the listener is closed at once. Each client gets Close 1001; running calls have
    /// [`Options::with_grace`] to end before that. The future is ready when the last connection is
    /// over, which takes no longer than that and [`Deadlines::close`](wslink_core::Deadlines).
    pub async fn run(&self, listener: impl Into<TcpListener>) -> Ended {
        Site::new(self.clone()).run(listener).await
    }

    /// Waits for one connection, to be given to [`serve`](Self::serve).
    ///
    /// Failures of the listener are logged and waited for, since it can do no better when files
    /// are short.
    ///
    /// # Errors
    /// The reason why there are no further connections.
    pub async fn accept(&self, listener: &TcpListener) -> Result<TcpStream, Ended> {
        Site::new(self.clone()).accept(listener).await
    }

    /// Drives one connection from its first HTTP request to its end. What goes wrong on it is
    /// logged, and concerns nobody else.
    ///
    /// The address of the peer is known if this is a [`TcpStream`].
    pub fn serve<T>(&self, stream: T) -> impl Future<Output = ()> + use<S, T>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Site::new(self.clone()).serve(stream)
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

impl<S: Service<Blob: Send + 'static>> Front for Server<S> {
    fn options(&self) -> &Options {
        &self.inner.options
    }

    fn control(&self) -> &Arc<Control> {
        &self.shared().control
    }

    fn count(&self) -> usize {
        1
    }

    fn options_of(&self, endpoint: usize) -> Option<&Options> {
        (endpoint == 0).then_some(&self.inner.options)
    }

    fn peers(&self) -> usize {
        self.shared().hub().peers()
    }

    fn published(&self) -> u64 {
        self.shared().published()
    }

    async fn drive<T>(&self, upgraded: Upgraded<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Inner { service, options, publisher } = &*self.inner;
        let Upgraded { stream, read_ahead, accepted } = upgraded;
        let mut random = [0; 16];
        if let Err(error) = getrandom::fill(&mut random) {
            return log::error!("no entropy for a connection: {error}");
        }
        let borrowed = Borrowed { service, shared: &publisher.0, options };
        let driver = drive(borrowed, stream, &read_ahead, Entropy(random), accepted.visitor);
        if let Some(driver) = driver {
            drop(read_ahead);
            driver.await;
        }
        drop(accepted.place);
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
