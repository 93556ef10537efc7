//! A call and its arguments, as they came.

use crate::arena::Span;
use crate::connection::TOKEN;
use crate::envelope::{Args, Envelope};
use crate::wire::{Dialect, Reader, Value};
use crate::{CallId, MethodInfo, ParamInfo, RpcError};
use serde::Deserialize;

/// A call, borrowed from the frame that brought it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Call<'a> {
    /// Names the call in [`Connection::reply`](crate::Connection::reply) and
    /// [`fail`](crate::Connection::fail).
    pub id: CallId,
    /// Index into [`Service::METHODS`](crate::Service::METHODS).
    pub index: usize,
    /// The method that is called.
    pub method: &'static MethodInfo,
    /// The client's own name for the call, if it gave one as keyword argument `wslink_token`: by it
    /// the call is cancelled and its progress told.
    pub token: Option<u32>,
    /// The length of the upload, if the method takes one and that is known.
    pub upload_len: Option<u32>,
    args: Option<Value<'a>>,
    /// How many `args` are.
    positional: u32,
    kwargs: Option<Value<'a>>,
}

impl<'a> Call<'a> {
    /// A call without arguments.
    pub(crate) const fn new(
        id: CallId,
        index: usize,
        method: &'static MethodInfo,
        token: Option<u32>,
    ) -> Self {
        let (upload_len, args, positional, kwargs) = (None, None, 0, None);
        Self { id, index, method, token, upload_len, args, positional, kwargs }
    }

    /// The same call with an upload of that length.
    pub(crate) const fn with_upload(self, len: u32) -> Self {
        Self { upload_len: Some(len), ..self }
    }

    /// The same call with the arguments of this message.
    pub(crate) fn with_args(
        self,
        dialect: Dialect,
        message: &'a [u8],
        stored: &'a [u8],
        envelope: &Envelope,
    ) -> Self {
        let value = |span: Span| Value::new(dialect, span.of(message), stored);
        let (args, positional) = match envelope.args {
            Args::List(span, count) => (Some(value(span)), count),
            _ => (None, 0),
        };
        Self { args, positional, kwargs: envelope.kwargs.map(value), ..self }
    }

    /// Positional arguments.
    pub fn args(&self) -> impl Iterator<Item = Value<'a>> {
        self.args.into_iter().flat_map(|args| args.items())
    }

    /// Keyword arguments, in the order in which they came, without the token.
    pub fn kwargs(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        by_name(self.kwargs)
    }

    /// The arguments by the parameters that the method declares
    /// ([`MethodInfo::with_params`]).
    ///
    /// # Errors
    /// -32602 if there are too many arguments, an unknown keyword, or a parameter given twice.
    pub fn params(&self) -> Result<Params<'a>, RpcError> {
        let Self { args, positional, kwargs, .. } = *self;
        let params = self.method.params;
        let most = params.len();
        if positional as usize > most {
            return Err(RpcError::invalid_params(format_args!(
                "{positional} positional arguments, at most {most} expected"
            )));
        }
        let given = Params { params, args, positional: positional as usize, kwargs };
        if kwargs.is_some() {
            given.check_names()?;
        }
        Ok(given)
    }
}

fn by_name<'a>(kwargs: Option<Value<'a>>) -> impl Iterator<Item = (&'a str, Value<'a>)> {
    let entries = kwargs.into_iter().flat_map(|kwargs| kwargs.entries());
    entries.filter(|(key, _)| *key != TOKEN)
}

/// Arguments by parameter, given by place or by name.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Params<'a> {
    params: &'static [ParamInfo],
    args: Option<Value<'a>>,
    positional: usize,
    kwargs: Option<Value<'a>>,
}

impl<'a> Params<'a> {
    /// What was given for parameter `index`.
    pub fn value(&self, index: usize) -> Option<Value<'a>> {
        self.reader(index)?.value().ok()
    }

    /// The argument for parameter `index`.
    ///
    /// # Errors
    /// -32602 with the parameter's name if it is missing or of another type.
    pub fn required<T: Deserialize<'a>>(&self, index: usize) -> Result<T, RpcError> {
        let Some(reader) = self.reader(index) else {
            return Err(RpcError::invalid_param(self.name(index), "missing"));
        };
        reader.deserialize().map_err(|error| RpcError::invalid_param(self.name(index), error))
    }

    /// The argument for parameter `index`; `None` if it is missing or null.
    ///
    /// # Errors
    /// -32602 with the parameter's name if it is of another type.
    pub fn optional<T: Deserialize<'a>>(&self, index: usize) -> Result<Option<T>, RpcError> {
        let Some(reader) = self.reader(index) else { return Ok(None) };
        reader.deserialize().map_err(|error| RpcError::invalid_param(self.name(index), error))
    }

    /// At what was given for parameter `index`.
    fn reader(&self, index: usize) -> Option<Reader<'a>> {
        if index >= self.positional {
            let name = self.name(index);
            let (_, value) = by_name(self.kwargs).find(|(key, _)| *key == name)?;
            return Some(value.reader());
        }
        let mut reader = self.args?.reader();
        // The beginning of the list, and the arguments before.
        reader.next().ok()?;
        for _ in 0..index {
            reader.skip().ok()?;
        }
        Some(reader)
    }

    fn check_names(&self) -> Result<(), RpcError> {
        let params = self.params;
        for (nth, (name, _)) in by_name(self.kwargs).enumerate() {
            let Some(place) = params.iter().position(|param| param.name == name) else {
                return Err(RpcError::invalid_params(format_args!("unknown parameter `{name}`")));
            };
            let earlier = &mut by_name(self.kwargs).take(nth);
            if place < self.positional || earlier.any(|(earlier, _)| earlier == name) {
                return Err(RpcError::invalid_param(params[place].name, "given twice"));
            }
        }
        Ok(())
    }

    fn name(&self, index: usize) -> &'static str {
        self.params.get(index).map_or("", |param| param.name)
    }
}
