//! Calls as they are built.

use super::error::Error;
use super::progress::Progress;
use super::shared::{Asked, Handle, Taken};
use super::upload::{Blob, Source};
use super::value::Binary;
use bytes::Bytes;
use core::fmt;
use core::pin::pin;
use core::time::Duration;
use erased_serde::Serialize as Erased;
use serde::de::DeserializeOwned;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use smol::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use std::io;
use std::sync::Arc;
use wslink_core::{Attachment, CallId};

/// A call that is being built: its arguments are written when it is [sent](Self::send).
#[must_use = "a call is not made until it is sent"]
pub struct Call<'a> {
    handle: Arc<Handle>,
    method: &'a str,
    args: Vec<Box<dyn Erased + Send + 'a>>,
    kwargs: Kwargs<'a>,
    blobs: Vec<Blob>,
    readers: Vec<Source>,
    within: Option<Duration>,
    progress: Option<Progress>,
}

impl<'a> Call<'a> {
    pub(super) fn new(handle: Arc<Handle>, method: &'a str) -> Self {
        let kwargs = Kwargs::Named(Vec::new());
        let (args, blobs, readers) = (Vec::new(), Vec::new(), Vec::new());
        Self { handle, method, args, kwargs, blobs, readers, within: None, progress: None }
    }

    /// One more positional argument.
    pub fn arg(mut self, value: impl Serialize + Send + 'a) -> Self {
        self.args.push(Box::new(value));
        self
    }

    /// A keyword argument.
    pub fn kwarg(mut self, name: &'a str, value: impl Serialize + Send + 'a) -> Self {
        if let Kwargs::Named(named) = &mut self.kwargs {
            named.push((name, Box::new(value)));
        }
        self
    }

    /// All keyword arguments: a struct, or a map. Takes the place of those that were given one by
    /// one.
    pub fn kwargs(mut self, all: impl Serialize + Send + 'a) -> Self {
        self.kwargs = Kwargs::All(Box::new(all));
        self
    }

    /// One more positional argument, of binary data, which is sent from where it lies.
    pub fn binary(mut self, bytes: impl Into<Bytes>) -> Self {
        let attachment = self.attach(bytes);
        self.arg(attachment)
    }

    /// A keyword argument of binary data, which is sent from where it lies.
    pub fn kwarg_binary(mut self, name: &'a str, bytes: impl Into<Bytes>) -> Self {
        let attachment = self.attach(bytes);
        self.kwarg(name, attachment)
    }

    /// Attaches binary data to the message; what it gives stands for it anywhere in an argument.
    pub fn attach(&mut self, bytes: impl Into<Bytes>) -> Attachment {
        self.push(Blob::Bytes(bytes.into()))
    }

    /// One more positional argument, of binary data: the next `len` bytes of a reader. They are read
    /// as they are sent, so that no more than a piece of them is in memory. A message begins with its
    /// length, so that has to be known; who does not know it reads to the end, and gives the bytes to
    /// [`binary`](Self::binary).
    ///
    /// Whoever has fewer bytes, or fails, ends the call with [`Error::Read`], and with it the
    /// connection, since the rest of the message cannot be sent any more. While a reader has nothing
    /// nothing else is sent either.
    pub fn reader(mut self, reader: impl AsyncRead + Send + 'static, len: u64) -> Self {
        let attachment = self.attach_reader(reader, len);
        self.arg(attachment)
    }

    /// As [`reader`](Self::reader), as a keyword argument.
    pub fn kwarg_reader(
        mut self,
        name: &'a str,
        reader: impl AsyncRead + Send + 'static,
        len: u64,
    ) -> Self {
        let attachment = self.attach_reader(reader, len);
        self.kwarg(name, attachment)
    }

    /// Tells there how far it has come.
    pub fn progress(mut self, progress: &Progress) -> Self {
        self.progress = Some(progress.clone());
        self
    }

    /// How long it may take, instead of [`Deadlines::call`](wslink_core::Deadlines::call).
    pub const fn within(mut self, deadline: Duration) -> Self {
        self.within = Some(deadline);
        self
    }

    /// Sends the call and waits for its answer. If this future is dropped, nobody waits any more:
    /// what was not sent yet is not sent, and a server of this project is told to drop what runs.
    ///
    /// # Errors
    /// See [`Error`]. While too many calls are under way this waits until one more may be.
    pub async fn send<T: DeserializeOwned + Send + 'static>(mut self) -> Result<T, Error> {
        let handle = Arc::clone(&self.handle);
        let result = answer(&handle, || {
            let taken = self.ask()?;
            // They are in the message now.
            self.args.clear();
            Some(taken)
        })
        .await;
        let failed = || self.readers.iter().find_map(Source::failure);
        result.map_err(|error| failed().map_or(error, Error::Read))
    }

    /// As [`send`](Self::send), for an answer that is binary data: writes it, and gives the number
    /// of bytes.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Write`] is what the writer says.
    pub async fn send_into(self, writer: impl AsyncWrite) -> Result<u64, Error> {
        let bytes: Binary = self.send().await?;
        let failed = |error: io::Error| Error::Write(error.to_string());
        let mut writer = pin!(writer);
        writer.write_all(&bytes).await.map_err(failed)?;
        writer.flush().await.map_err(failed)?;
        Ok(bytes.len() as u64)
    }

    /// Each is in the message once: what was read is gone.
    fn attach_reader(&mut self, reader: impl AsyncRead + Send + 'static, len: u64) -> Attachment {
        let source = Source::new(reader, len);
        self.readers.push(source.clone());
        self.push(Blob::Reader(source))
    }

    fn push(&mut self, blob: Blob) -> Attachment {
        let index = u32::try_from(self.blobs.len()).unwrap_or(u32::MAX);
        self.blobs.push(blob);
        Attachment::nth(index)
    }

    /// `None` if there is no room now.
    fn ask<T: DeserializeOwned + Send + 'static>(&mut self) -> Option<Result<Taken<T>, Error>> {
        let asked = Asked {
            method: self.method,
            args: self.args.as_slice(),
            kwargs: &self.kwargs,
            within: self.within,
            progress: self.progress.as_ref(),
        };
        self.handle.shared.ask(&asked, &mut self.blobs)
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Makes a call as soon as there is room for it, and waits for its end.
pub(super) async fn answer<T>(
    handle: &Handle,
    mut ask: impl FnMut() -> Option<Result<Taken<T>, Error>>,
) -> Result<T, Error> {
    let taken = loop {
        let bell = handle.shared.listener();
        match ask() {
            Some(taken) => break taken?,
            None => bell.await,
        }
    };
    let Taken { answer, call, connection } = taken;
    let mut guard = Waiting { handle, connection, call, waits: true };
    let result = answer.recv().await;
    guard.waits = false;
    // The sender is dropped without an answer only if the driver is.
    result.unwrap_or(Err(Error::Lost { may_have_run: true }))
}

/// Cancels a call that nobody waits for.
struct Waiting<'h> {
    handle: &'h Handle,
    connection: u64,
    call: CallId,
    waits: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.waits {
            self.handle.shared.cancel(self.connection, self.call);
        }
    }
}

enum Kwargs<'a> {
    Named(Vec<(&'a str, Box<dyn Erased + Send + 'a>)>),
    All(Box<dyn Erased + Send + 'a>),
}

impl Serialize for Kwargs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All(all) => all.serialize(serializer),
            Self::Named(named) => {
                let mut map = serializer.serialize_map(Some(named.len()))?;
                named.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}
