//! What the user writes, without transport, executor or dialect.

use crate::wire::{EncodeError, Writer};
use crate::{
    Attachment, Blob, Call, CloseReason, Hello, Identity, LimitExceeded, PeerId, PublishError,
    RpcError, Upload, UploadSource, Verdict,
};
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::time::Duration;
use serde::Serialize;

/// RPC methods and publications, written once and run by any adapter.
///
/// An adapter gives each call to [`decode`](Self::decode), which turns it into an owned
/// [`Request`](Self::Request); from then on the call holds neither the connection nor the frame.
/// [`call`](Self::call) runs beside the connection's other calls, and its
/// [`Reply`](Self::Reply) is serialized in the dialect of the peer.
///
/// ```
/// use wslink_core::{Call, Cx, MethodInfo, NoBlob, ParamInfo, RpcError, Service, TopicInfo};
///
/// struct Adder;
///
/// impl Service for Adder {
///     type Request = (i64, i64);
///     type Reply = i64;
///     type Blob = NoBlob;
///     const METHODS: &'static [MethodInfo] = &[MethodInfo::new("math.add")
///         .with_params(&[ParamInfo::required("a"), ParamInfo::optional("b")])];
///     const TOPICS: &'static [TopicInfo] = &[];
///
///     fn decode(&self, call: &Call<'_>) -> Result<(i64, i64), RpcError> {
///         let params = call.params()?;
///         Ok((params.required(0)?, params.optional(1)?.unwrap_or(1)))
///     }
///
///     async fn call(&self, _: Cx<'_, NoBlob>, (a, b): (i64, i64)) -> Result<i64, RpcError> {
///         a.checked_add(b).ok_or_else(|| RpcError::failed("overflow"))
///     }
/// }
/// ```
pub trait Service {
    /// A decoded call: owned, usually an enum with one variant for each method.
    type Request;
    /// What any of the methods gives back.
    type Reply: Serialize;
    /// What an attachment of this service is: shared bytes, flash, or a generator.
    type Blob: Blob;
    /// The methods. A call of any other name is answered without asking the service.
    const METHODS: &'static [MethodInfo];
    /// The topics.
    const TOPICS: &'static [TopicInfo];

    /// Turns the arguments into a request. Borrowed arguments live until this returns.
    ///
    /// # Errors
    /// What the client is answered, usually from [`Call::params`].
    fn decode(&self, call: &Call<'_>) -> Result<Self::Request, RpcError>;

    /// Runs a request. The future is dropped when the connection ends or the call's deadline
    /// passes.
    fn call(
        &self,
        cx: Cx<'_, Self::Blob>,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Reply, RpcError>>;

    /// Decides about a hello; by default [`Hello::verify`].
    fn authorize(&self, hello: &Hello<'_>) -> impl Future<Output = Verdict> {
        core::future::ready(hello.verify())
    }

    /// A peer said hello and was accepted.
    fn opened(&self, peer: PeerId) {
        let _ = peer;
    }

    /// An accepted peer is gone; called once for each [`opened`](Self::opened).
    fn closed(&self, peer: PeerId, reason: CloseReason) {
        let _ = (peer, reason);
    }

    /// A peer fell behind, and `missed` publications of a topic were passed over for it.
    fn lagged(&self, peer: PeerId, topic: &'static str, missed: u64) {
        let _ = (peer, topic, missed);
    }

    /// A topic has got its first listener, or lost its last one: a service can sample only while
    /// somebody looks. A peer that never subscribes listens to everything.
    fn listened(&self, topic: &'static str, listened: bool) {
        let _ = (topic, listened);
    }
}

/// What a service offers: its [`METHODS`](Service::METHODS) and [`TOPICS`](Service::TOPICS).
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Api {
    /// The methods.
    pub methods: &'static [MethodInfo],
    /// The topics.
    pub topics: &'static [TopicInfo],
}

impl Api {
    /// What `S` offers.
    pub const fn of<S: Service>() -> &'static Self {
        const { &Self { methods: S::METHODS, topics: S::TOPICS } }
    }
}

/// What a running call can reach: its peer, its attachments, the hub.
///
/// It holds no executor and no transport; it is `Send` wherever the adapter's hub can be shared
/// between threads.
pub struct Cx<'a, B> {
    peer: PeerId,
    identity: Identity,
    token: Option<u32>,
    host: &'a (dyn Host<B> + 'a),
}

impl<'a, B> Cx<'a, B> {
    /// The context that an adapter gives to a call of `peer` with its [`Call::token`].
    pub const fn new(peer: PeerId, token: Option<u32>, host: &'a (dyn Host<B> + 'a)) -> Self {
        Self { peer, identity: Identity::NOBODY, token, host }
    }

    /// The same context for a peer that is known, by its
    /// [`Connection::identity`](crate::Connection::identity).
    #[must_use]
    pub const fn with_identity(self, identity: Identity) -> Self {
        Self { identity, ..self }
    }

    /// Tells the caller how far the call is, if the caller named the call by a token: topic
    /// `wslink.progress`, to this peer only, `{"token", "done", "total"}` in units of the method's
    /// own. Told too often, some are left out, never the last one (`done` equal to `total`).
    pub fn progress(&self, done: u64, total: Option<u64>) {
        let Some(token) = self.token else { return };
        if self.host.is_progress_due(total == Some(done)) {
            let audience = Audience::Only(self.peer);
            let progress = Progress { token, done, total };
            // Three numbers serialize, and fit any hub.
            let encode = |writer: &mut Writer<'_>| writer.value(&progress);
            _ = self.host.publish("wslink.progress", audience, &[], &encode);
        }
    }

    /// Who calls.
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// As whom it calls: what [`Service::authorize`] made of its hello.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// What the adapter gave to this call.
    pub const fn host(&self) -> &'a (dyn Host<B> + 'a) {
        self.host
    }

    /// The context of the same call through another host, for a service that is a part of another
    /// and attaches other blobs.
    pub const fn with_host<'b, P>(&self, host: &'b (dyn Host<P> + 'b)) -> Cx<'b, P> {
        Cx { peer: self.peer, identity: self.identity, token: self.token, host }
    }

    /// The upload, of a method that takes one ([`MethodInfo::with_upload`]).
    ///
    /// # Errors
    /// -32001 in any other method.
    pub fn upload(&self) -> Result<Upload<'a>, RpcError> {
        let source = self.host.upload().map(Upload::new);
        source.ok_or_else(|| RpcError::failed("this method takes no upload"))
    }

    /// Attaches a blob to the answer and gives its key, which stands for the bytes wherever it is
    /// serialized, as upstream's `addAttachment`.
    ///
    /// # Errors
    /// When the answer has as many attachments as the adapter's memory allows.
    pub fn attach(&self, blob: impl Into<B>) -> Result<Attachment, LimitExceeded> {
        self.host.attach(blob.into())
    }

    /// Publishes `value` to all authenticated peers; [`Publications::publish`] says more.
    ///
    /// # Errors
    /// As [`Publications::publish`].
    pub fn publish<T: Serialize + ?Sized>(
        &self,
        topic: &Topic<T>,
        value: &T,
    ) -> Result<(), PublishError> {
        self.host.publish(topic.info.name, Audience::All, &[], &|writer| writer.value(value))
    }

    /// Publishes to a chosen audience, with attachments that [`Attachment::nth`] names by their
    /// place in `blobs`.
    ///
    /// # Errors
    /// As [`Publications::publish`].
    pub fn publish_to<T: Serialize + ?Sized>(
        &self,
        audience: Audience,
        topic: &Topic<T>,
        value: &T,
        blobs: &[B],
    ) -> Result<(), PublishError> {
        self.host.publish(topic.info.name, audience, blobs, &|writer| writer.value(value))
    }
}

impl<B> Clone for Cx<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Cx<'_, B> {}

impl<B> fmt::Debug for Cx<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("peer", &self.peer).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Progress {
    token: u32,
    done: u64,
    total: Option<u64>,
}

/// Writes a value in either dialect; called once for each dialect in use.
pub type Encode<'a> = dyn Fn(&mut Writer<'_>) -> Result<(), EncodeError> + 'a;

/// A way into the hub, given by an adapter: to the futures of an application that publish on
/// their own, and through [`Cx`] to calls.
pub trait Publish<B>: Sync {
    /// Publishes what `encode` writes, with the attachments `blobs`. Applications call
    /// [`Publications::publish`].
    ///
    /// # Errors
    /// [`PublishError`]; nothing was published then.
    fn publish(
        &self,
        topic: &'static str,
        audience: Audience,
        blobs: &[B],
        encode: &Encode<'_>,
    ) -> Result<(), PublishError>;
}

/// What an adapter gives to one running call.
pub trait Host<B>: Publish<B> {
    /// Keeps `blob` for the answer.
    ///
    /// # Errors
    /// When there is no room for one more.
    fn attach(&self, blob: B) -> Result<Attachment, LimitExceeded>;

    /// Where the call's upload is read, if its method takes one.
    fn upload(&self) -> Option<&dyn UploadSource> {
        None
    }

    /// Whether [`Cx::progress`] shall be told now. Adapters let some pass, for example one each
    /// 50 ms, and always the `last` one.
    fn is_progress_due(&self, last: bool) -> bool {
        let _ = last;
        true
    }
}

/// Publishing from outside a call, for example from a loop that samples.
pub struct Publications<'a, B>(&'a (dyn Publish<B> + 'a));

impl<'a, B> Publications<'a, B> {
    /// Publications into the hub behind `hub`.
    pub const fn new(hub: &'a (dyn Publish<B> + 'a)) -> Self {
        Self(hub)
    }

    /// The way into the hub.
    pub const fn hub(&self) -> &'a (dyn Publish<B> + 'a) {
        self.0
    }

    /// Publishes `value` under `topic`, with attachments that [`Attachment::nth`] names by their
    /// place in `blobs`. It is encoded at once, once for each dialect in use; what a peer that
    /// reads slowly misses is reported to the service ([`Service::lagged`]).
    ///
    /// # Errors
    /// If the value cannot be serialized, or is larger than the hub.
    pub fn publish<T: Serialize + ?Sized>(
        &self,
        audience: Audience,
        topic: &Topic<T>,
        value: &T,
        blobs: &[B],
    ) -> Result<(), PublishError> {
        self.0.publish(topic.info.name, audience, blobs, &|writer| writer.value(value))
    }
}

impl<B> Clone for Publications<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Publications<'_, B> {}

impl<B> fmt::Debug for Publications<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publications")
    }
}

/// Who is sent a publication. Only authenticated peers ever are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Audience {
    /// Everybody, the caller too, as upstream.
    All,
    /// One peer.
    Only(PeerId),
    /// All but one, usually the one whose call changed something.
    Except(PeerId),
}

impl Audience {
    pub(crate) fn includes(self, peer: PeerId) -> bool {
        match self {
            Self::All => true,
            Self::Only(one) => one == peer,
            Self::Except(one) => one != peer,
        }
    }
}

/// A topic and the type that is published under it.
///
/// ```
/// use wslink_core::Topic;
/// const LEVEL: Topic<f32> = Topic::new("tank.level");
/// ```
/// The stock clients find the topic in an id by `\w+(\.\w+)*` and drop all others silently, so a
/// name that does not match is refused, in a constant when it is compiled:
/// ```compile_fail
/// const LEVEL: wslink_core::Topic<f32> = wslink_core::Topic::new("tank-level");
/// ```
pub struct Topic<T: ?Sized> {
    info: TopicInfo,
    value: PhantomData<fn(&T)>,
}

impl<T: ?Sized> Topic<T> {
    /// A topic of that name, with the default policy and not retained.
    ///
    /// # Panics
    /// If the name is not dot-separated words of `[A-Za-z0-9_]`; in a constant that is an error of
    /// compilation.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(is_name(name), "a topic's name is words of [A-Za-z0-9_], separated by dots");
        let policy = Policy::DropOldest(u16::MAX);
        let info = TopicInfo { name, doc: "", ty: "", policy, retained: false };
        Self { info, value: PhantomData }
    }

    /// The same topic with a description.
    #[must_use]
    pub const fn with_doc(mut self, doc: &'static str) -> Self {
        self.info.doc = doc;
        self
    }

    /// The same topic with the name of its type, for [`describe`](crate#built-in-methods).
    #[must_use]
    pub const fn with_type(mut self, ty: &'static str) -> Self {
        self.info.ty = ty;
        self
    }

    /// The same topic with another policy.
    ///
    /// # Panics
    /// If that is to keep none at all; in a constant that is an error of compilation.
    #[must_use]
    pub const fn with_policy(mut self, policy: Policy) -> Self {
        assert!(
            !matches!(policy, Policy::DropOldest(0)),
            "a topic of which no publication is kept reaches nobody"
        );
        self.info.policy = policy;
        self
    }

    /// The same topic, whose last value is sent to whoever joins. What is published to
    /// [one peer only](Audience::Only) does not replace it.
    #[must_use]
    pub const fn retained(mut self) -> Self {
        self.info.retained = true;
        self
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.info.name
    }

    /// The row that declares it in [`Service::TOPICS`].
    #[must_use]
    pub const fn info(&self) -> TopicInfo {
        self.info
    }
}

impl<T: ?Sized> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.info.name).finish()
    }
}

/// What becomes of publications that a peer is too slow for. Whatever is passed over is counted
/// and told ([`Service::lagged`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Policy {
    /// The peer gets the newest one only: for measurements and pictures.
    KeepLatest,
    /// The peer gets so many of the newest ones, as far as the hub still has them.
    DropOldest(u16),
    /// The connection is closed with 1008: for what must be complete.
    Disconnect,
}

impl Default for Policy {
    /// All that the hub still has.
    fn default() -> Self {
        Self::DropOldest(u16::MAX)
    }
}

/// A topic as it is declared in [`Service::TOPICS`] and described to others; made by
/// [`Topic::info`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name.
    pub name: &'static str,
    /// What is published under it.
    pub doc: &'static str,
    /// The type of its values, in words of the service.
    pub ty: &'static str,
    /// What becomes of publications that a peer is too slow for.
    pub policy: Policy,
    /// Whether the last value is sent to whoever joins.
    pub retained: bool,
}

/// A method as it is called and described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct MethodInfo {
    /// Its name.
    pub name: &'static str,
    /// Its parameters, in the order of positional arguments.
    pub params: &'static [ParamInfo],
    /// What it does.
    pub doc: &'static str,
    /// What it gives back, in words of the service.
    pub returns: &'static str,
    /// How long a call may take, instead of [`Deadlines::call`](crate::Deadlines::call).
    pub deadline: Option<Duration>,
    /// Whether its only parameter is an [`Upload`], which it reads as it comes.
    pub upload: bool,
}

impl MethodInfo {
    /// A method without parameters.
    ///
    /// # Panics
    /// If the name is not dot-separated words of `[A-Za-z0-9_]`; in a constant that is an error of
    /// compilation.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(is_name(name), "a method's name is words of [A-Za-z0-9_], separated by dots");
        Self { name, params: &[], doc: "", returns: "", deadline: None, upload: false }
    }

    /// The same method with parameters.
    #[must_use]
    pub const fn with_params(self, params: &'static [ParamInfo]) -> Self {
        Self { params, ..self }
    }

    /// The same method with a single parameter, whose bytes it reads as they come
    /// ([`Cx::upload`]). Whatever else a client gives is refused, and [`Service::decode`] is given
    /// no arguments.
    #[must_use]
    pub const fn with_upload(self, param: &'static [ParamInfo; 1]) -> Self {
        Self { params: param, upload: true, ..self }
    }

    /// The same method with a description.
    #[must_use]
    pub const fn with_doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// The same method with the name of what it gives back.
    #[must_use]
    pub const fn with_returns(self, returns: &'static str) -> Self {
        Self { returns, ..self }
    }

    /// The same method with a deadline of its own.
    #[must_use]
    pub const fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self }
    }
}

/// A parameter of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct ParamInfo {
    /// Its name, for keyword arguments.
    pub name: &'static str,
    /// Whether it may be left out.
    pub optional: bool,
    /// Its type, in words of the service.
    pub ty: &'static str,
}

impl ParamInfo {
    /// A parameter that must be given.
    pub const fn required(name: &'static str) -> Self {
        Self { name, optional: false, ty: "" }
    }

    /// A parameter that may be left out.
    pub const fn optional(name: &'static str) -> Self {
        Self { name, optional: true, ty: "" }
    }

    /// The same parameter with the name of its type.
    #[must_use]
    pub const fn with_type(self, ty: &'static str) -> Self {
        Self { ty, ..self }
    }
}

/// Whether the stock clients can receive under this name: `\w+(\.\w+)*`.
const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut in_word = false;
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'.' if in_word => in_word = false,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' => in_word = true,
            _ => return false,
        }
        i += 1;
    }
    in_word
}
