//! What the macros' code calls; not for use by hand.

mod lists;

pub use lists::{Joined, Lists, declares, no_clash};

use core::fmt::Display;
use serde::Deserialize;
pub use serde::ser::SerializeMap;
pub use serde::{Serialize, Serializer};
use wslink_core::client::{self, Caller, Reply, Subscriber, TypedCall};
use wslink_core::{Params, Policy, RpcError, code};

/// A type to which what clients give can be turned.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a method",
    label = "what clients give cannot be turned into this",
    note = "the types of arguments implement `serde::Deserialize`, often by \
        `#[derive(Deserialize)]`"
)]
pub trait Argument<'de>: Deserialize<'de> {}

#[diagnostic::do_not_recommend]
impl<'de, T: Deserialize<'de>> Argument<'de> for T {}

/// A type that can be sent to clients.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a method",
    label = "this cannot be sent to clients",
    note = "the types of results implement `serde::Serialize`, often by `#[derive(Serialize)]`"
)]
pub trait Answer: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Answer for T {}

/// [`Params::required`] with a message in words of services.
///
/// # Errors
/// As that.
#[inline(always)]
pub fn required<'a, T: Argument<'a>>(params: &Params<'a>, index: usize) -> Result<T, RpcError> {
    params.required(index)
}

/// [`Params::optional`] with a message in words of services.
///
/// # Errors
/// As that.
#[inline(always)]
pub fn optional<'a, T: Argument<'a>>(
    params: &Params<'a>,
    index: usize,
) -> Result<Option<T>, RpcError> {
    params.optional(index)
}

/// [`Serialize::serialize`] with a message in words of services.
///
/// # Errors
/// As that.
#[inline(always)]
pub fn serialize<T: Answer, S: Serializer>(reply: &T, serializer: S) -> Result<S::Ok, S::Error> {
    reply.serialize(serializer)
}

/// An argument of a client.
#[inline(always)]
pub const fn given<T: client::Argument>(value: T) -> T {
    value
}

/// A call of a client.
#[inline(always)]
pub const fn ask<'a, C: Caller, A, K, T: Reply>(
    caller: &'a C,
    method: &'static str,
    args: A,
    kwargs: K,
) -> TypedCall<'a, C, A, K, T> {
    TypedCall::new(caller, method, args, kwargs)
}

/// A subscription of a client.
#[inline(always)]
pub fn subscribe<C: Subscriber, T: Reply>(
    caller: &C,
    topic: &'static str,
    policy: Policy,
) -> C::Subscription<T> {
    caller.subscribe(topic, policy)
}

/// What a call of a method is answered that is not in the list; the engine does so itself.
#[cold]
#[must_use]
pub fn unknown_method() -> RpcError {
    RpcError::new(code::METHOD_NOT_FOUND, "Unregistered method called")
}

/// Any `Result`, by whatever name.
pub trait Outcome {
    /// What is in `Ok`.
    type Value;
}

impl<T, E> Outcome for Result<T, E> {
    type Value = T;
}

/// The error of a method, of a type that the macro does not know: turned `into_rpc_error` by
/// `Into<RpcError>` if it can be, else by `Display`. The compiler looks for a method that takes
/// the value itself before it looks for one that takes a reference.
#[derive(Debug)]
pub struct Failure<E>(pub E);

/// The first choice.
pub trait ByInto {
    /// As the type itself says.
    fn into_rpc_error(self) -> RpcError;
}

impl<E: Into<RpcError>> ByInto for Failure<E> {
    #[inline(always)]
    fn into_rpc_error(self) -> RpcError {
        self.0.into()
    }
}

/// The second choice.
pub trait ByDisplay {
    /// As a failure with its text.
    fn into_rpc_error(self) -> RpcError;
}

impl<E: Display> ByDisplay for &Failure<E> {
    #[inline(always)]
    fn into_rpc_error(self) -> RpcError {
        RpcError::failed(&self.0)
    }
}

/// No choice at all, which is an error that says so.
pub trait Silent {
    /// The type of the error.
    type Error;

    /// Never called.
    fn into_rpc_error(self) -> RpcError
    where
        Self::Error: Told;
}

impl<E> Silent for &mut Failure<E> {
    type Error = E;

    fn into_rpc_error(self) -> RpcError
    where
        E: Told,
    {
        self.0.told()
    }
}

/// What an error of a method has to be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a method",
    label = "clients cannot be told of this",
    note = "the types of errors implement `Display`, or say by `From<{Self}> for RpcError` which \
        code and message clients are sent"
)]
pub trait Told {
    /// Never called.
    fn told(&self) -> RpcError;
}
