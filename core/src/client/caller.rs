//! What typed clients are made of: whoever can call, and a call with its types.

use crate::Policy;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Who calls methods of a server: a client with its transport. Typed clients, as
/// `#[wslink::service(client = ScopeClient)]` makes them, are generic over it.
///
/// Nothing here asks for an allocator: an answer may as well be a future that holds its arguments
/// and is polled by the one task of a device.
pub trait Caller {
    /// Why a call gave no result.
    type Error;

    /// Binary data of an answer: what a client has where the service has an
    /// [`Attachment`](crate::Attachment).
    type Bytes: Reply;

    /// What is told how far a call has come; `()` where nobody is.
    type Progress;

    /// A call under way. Dropped, nobody waits for it any more.
    type Answer<'a, A, K, T>: Future<Output = Result<T, Self::Error>>
    where
        Self: 'a,
        A: Argument + 'a,
        K: Argument + 'a,
        T: Reply;

    /// Calls a method, of which it is known what it gives.
    fn ask<'a, A, K, T>(&'a self, asked: Asked<A, K, Self::Progress>) -> Self::Answer<'a, A, K, T>
    where
        A: Argument + 'a,
        K: Argument + 'a,
        T: Reply;
}

/// Who is sent what a server publishes.
pub trait Subscriber: Caller {
    /// The publications of a topic, each read as a `T`.
    type Subscription<T: Reply>;

    /// Subscribes to a topic; `policy` is what becomes of publications that this end is too slow
    /// for.
    fn subscribe<T: Reply>(&self, topic: &'static str, policy: Policy) -> Self::Subscription<T>;
}

impl<C: Caller + ?Sized> Caller for &C {
    type Error = C::Error;
    type Bytes = C::Bytes;
    type Progress = C::Progress;
    type Answer<'a, A, K, T>
        = C::Answer<'a, A, K, T>
    where
        Self: 'a,
        A: Argument + 'a,
        K: Argument + 'a,
        T: Reply;

    fn ask<'a, A, K, T>(&'a self, asked: Asked<A, K, Self::Progress>) -> Self::Answer<'a, A, K, T>
    where
        A: Argument + 'a,
        K: Argument + 'a,
        T: Reply,
    {
        C::ask(self, asked)
    }
}

impl<C: Subscriber + ?Sized> Subscriber for &C {
    type Subscription<T: Reply> = C::Subscription<T>;

    fn subscribe<T: Reply>(&self, topic: &'static str, policy: Policy) -> Self::Subscription<T> {
        C::subscribe(self, topic, policy)
    }
}

/// A type that can be given to a method.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given by a client",
    label = "a client cannot send this",
    note = "what clients give implements `serde::Serialize`, often by `#[derive(Serialize)]`, and \
        `Send`"
)]
pub trait Argument: Serialize + Send {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + Send> Argument for T {}

/// A type as which an answer or a publication can be read.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read by a client",
    label = "what the service sends cannot be turned into this",
    note = "what clients read implements `serde::Deserialize` and borrows nothing: \
        `#[derive(Deserialize)]`",
    note = "in the place of an `Attachment` a client has the bytes, so a struct with one has a \
        parameter for it: `struct Trace<S> {{ samples: S }}`, given back as `Trace<Attachment>`",
    note = "a service without `client = ..` needs none of this"
)]
pub trait Reply: DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + Send + 'static> Reply for T {}

/// A call as it is made.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Asked<A, K, P> {
    /// The method.
    pub method: &'static str,
    /// Positional arguments: a list.
    pub args: A,
    /// Keyword arguments: a map.
    pub kwargs: K,
    /// How long it may take, instead of [`Deadlines::call`](crate::Deadlines::call).
    pub within: Option<Duration>,
    /// Who is told how far it has come.
    pub progress: Option<P>,
}

/// A call of a typed client: it is made when it is awaited, and gives a `T` or why not.
#[must_use = "a call is not made until it is awaited"]
pub struct TypedCall<'a, C: Caller + ?Sized, A, K, T> {
    caller: &'a C,
    asked: Asked<A, K, C::Progress>,
    answer: PhantomData<fn() -> T>,
}

impl<'a, C: Caller + ?Sized, A, K, T> TypedCall<'a, C, A, K, T> {
    /// A call of this method with these arguments.
    pub const fn new(caller: &'a C, method: &'static str, args: A, kwargs: K) -> Self {
        let asked = Asked { method, args, kwargs, within: None, progress: None };
        Self { caller, asked, answer: PhantomData }
    }

    /// How long it may take, instead of [`Deadlines::call`](crate::Deadlines::call).
    pub const fn within(mut self, deadline: Duration) -> Self {
        self.asked.within = Some(deadline);
        self
    }

    /// Tells there how far it has come.
    pub fn progress(mut self, progress: C::Progress) -> Self {
        self.asked.progress = Some(progress);
        self
    }

    /// The keyword arguments.
    pub const fn kwargs_mut(&mut self) -> &mut K {
        &mut self.asked.kwargs
    }
}

impl<'a, C, A, K, T> IntoFuture for TypedCall<'a, C, A, K, T>
where
    C: Caller + ?Sized,
    A: Argument + 'a,
    K: Argument + 'a,
    T: Reply,
{
    type Output = Result<T, C::Error>;
    type IntoFuture = C::Answer<'a, A, K, T>;

    fn into_future(self) -> Self::IntoFuture {
        self.caller.ask(self.asked)
    }
}

impl<C: Caller + ?Sized, A, K, T> fmt::Debug for TypedCall<'_, C, A, K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedCall").field("method", &self.asked.method).finish_non_exhaustive()
    }
}
