//! The methods that every server has, and that every stock client can call.

use super::Connection;
use super::event::CallId;
use super::feed::Subscription;
use crate::envelope::{begin_result, end_answer, write_result};
use crate::wire::{EncodeError, Value, Writer};
use crate::{Api, Call, Hub, Limits, Memory, MethodInfo, ParamInfo, Policy, RpcError, TopicInfo};
use core::time::Duration;
use serde::Serialize;

/// The keyword argument by which a client names a call, to follow and to cancel it.
pub(crate) const TOKEN: &str = "wslink_token";

pub(crate) const LAGGED: &str = "wslink.lagged";

pub(super) static METHODS: [MethodInfo; 6] = [
    MethodInfo::new("wslink.subscribe")
        .with_params(&[ParamInfo::required("topics"), ParamInfo::optional("max_rate")]),
    MethodInfo::new("wslink.unsubscribe").with_params(&[ParamInfo::required("topics")]),
    MethodInfo::new("wslink.describe").with_params(&[ParamInfo::optional("page")]),
    MethodInfo::new("wslink.cancel").with_params(&[ParamInfo::required("token")]),
    MethodInfo::new("application.exit"),
    MethodInfo::new("application.exit.later").with_params(&[ParamInfo::optional("seconds")]),
];

/// A call of a built-in method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Builtin {
    /// One that needs the hub.
    Later(Waiting),
    Cancel(u32),
    Exit(Duration),
}

/// What waits for the application: for its verdict, or to be lent the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Hello,
    /// The topics are picked in the feed.
    Subscribe(Subscription),
    Describe {
        page: u32,
    },
}

/// The methods that there are: the last two only where they are enabled.
pub(super) fn find(name: &str, exit: bool) -> Option<&'static MethodInfo> {
    let most = if exit { METHODS.len() } else { METHODS.len() - 2 };
    METHODS[..most].iter().find(|info| info.name == name)
}

pub(super) fn decode(call: &Call<'_>, mut pick: impl FnMut(&str)) -> Result<Builtin, RpcError> {
    let params = call.params()?;
    Ok(match call.method.name {
        "wslink.describe" => {
            Builtin::Later(Waiting::Describe { page: params.optional(0)?.unwrap_or(0) })
        }
        "wslink.cancel" => Builtin::Cancel(params.required(0)?),
        "application.exit" => Builtin::Exit(Duration::ZERO),
        "application.exit.later" => {
            let seconds: f64 = params.optional(0)?.unwrap_or(60.0);
            let after = Duration::try_from_secs_f64(seconds)
                .map_err(|_| RpcError::invalid_param("seconds", "no such time"))?;
            Builtin::Exit(after)
        }
        name => {
            let subscribe = name == "wslink.subscribe";
            let rate: Option<f64> = if subscribe { params.optional(1)? } else { None };
            let interval = match rate {
                None => 0,
                // Rounded down and saturated, as casts are.
                Some(rate) if rate > 0.0 => (1000.0 / rate) as u32,
                Some(_) => return Err(RpcError::invalid_param("max_rate", "it is not above zero")),
            };
            let topics: Value<'_> =
                params.value(0).ok_or_else(|| RpcError::invalid_param("topics", "missing"))?;
            let wrong = || RpcError::invalid_param("topics", "neither a string nor a list of them");
            // All or nothing: first a look at each.
            if topics.as_str().is_none()
                && (!topics.is_seq() || topics.items().any(|item| item.as_str().is_none()))
            {
                return Err(wrong());
            }
            let (mut named, mut lagged) = (0, 0);
            let names = topics.as_str().into_iter();
            for name in names.chain(topics.items().filter_map(|item| item.as_str())) {
                named += 1;
                lagged += u32::from(name == LAGGED);
                pick(name);
            }
            let narrows = named == 0 || lagged < named;
            let lagged = lagged > 0;
            let asked = Subscription { subscribe, lagged, narrows, interval };
            Builtin::Later(Waiting::Subscribe(asked))
        }
    })
}

impl<M: Memory> Connection<M> {
    /// Serves the built-in method that [`Event::Builtin`](crate::Event::Builtin) announced; nothing
    /// once this peer has [left](Self::leave).
    pub fn handle_builtin(&mut self, hub: &mut Hub<M>) {
        let (Some((call, waiting)), Some(dialect)) = (self.waiting, self.joined) else { return };
        self.inbound.reclaim();
        let api = self.api;
        match waiting {
            Waiting::Hello => return,
            Waiting::Subscribe(asked) => {
                let feed = &mut self.outbound.feed;
                let write = |writer: &mut Writer<'_>, id: &[u8]| {
                    begin_result(writer, id);
                    let result = writer.begin_map(Some(1))?;
                    writer.key("topics");
                    let list = writer.begin_seq(None)?;
                    for (topic, info) in api.topics.iter().enumerate() {
                        if feed.will_want(topic, asked) {
                            writer.str(info.name);
                        }
                    }
                    if feed.will_tell_lag(asked) {
                        writer.str(LAGGED);
                    }
                    writer.end(list)?;
                    writer.end(result)?;
                    end_answer(writer);
                    Ok(())
                };
                // An error means that nothing has changed.
                match self.calls.answer_at_once(call, dialect, &write) {
                    Ok(()) => feed.apply(asked, hub),
                    Err(_) => feed.drop_picked(),
                }
            }
            Waiting::Describe { page } => {
                let limits = &self.limits;
                let hash = hash(api);
                let (from, all) = (page as usize, api.methods.len() + api.topics.len());
                let mut count = all.saturating_sub(from);
                let room = self.calls.room_beside(call, limits);
                let mut brief = false;
                loop {
                    let session = hub.session().0;
                    let page = Page { api, limits, session, hash, from, count, brief };
                    let mut measure = Writer::new(dialect, &mut [], 0, &|_| None);
                    let id = self.calls.id(call);
                    let fits = page.write(&mut measure, id).is_ok()
                        && measure.finish().err().is_none_or(|it| it.needed <= room);
                    if fits || brief {
                        let write = |writer: &mut Writer<'_>, id: &[u8]| page.write(writer, id);
                        // What does not fit is answered with an error.
                        _ = self.calls.answer_at_once(call, dialect, &write);
                        break;
                    }
                    brief = count <= 1;
                    count = count.div_ceil(2);
                }
            }
        }
        self.waiting = None;
    }

    /// Cancels a running call by its token, and answers whether there was one. An error means that
    /// nothing was cancelled.
    pub(super) fn cancel(&mut self, call: CallId, token: u32) {
        let Some(dialect) = self.dialect else { return };
        let named = self.calls.named(token);
        let found = named.is_some();
        let write = |writer: &mut Writer<'_>, id: &[u8]| write_result(writer, id, &found);
        if let (Ok(()), Some(named)) = (self.calls.answer_at_once(call, dialect, &write), named) {
            self.calls.cancel(named, call, dialect);
        }
    }
}

/// A loss, as a client that asked for it is told.
#[derive(Serialize)]
pub(super) struct Lagged {
    pub(super) topic: &'static str,
    pub(super) missed: u32,
}

/// Part of the description: `count` of the methods and topics from number `from` on.
struct Page<'a> {
    api: &'a Api,
    limits: &'a Limits,
    session: [u8; 16],
    hash: u64,
    from: usize,
    count: usize,
    /// Without texts and types: names are what a client cannot do without.
    brief: bool,
}

impl Page<'_> {
    fn write(&self, writer: &mut Writer<'_>, id: &[u8]) -> Result<(), EncodeError> {
        let Self { api, limits, from, count, brief, .. } = *self;
        let to = from.saturating_add(count);
        let methods = api.methods;
        let next = (to < methods.len() + api.topics.len()).then_some(to as u64);
        begin_result(writer, id);
        let result = writer.begin_map(Some(6))?;
        writer.key("session");
        let session = u128::from_be_bytes(self.session);
        writer.display(&format_args!("{session:032x}"))?;
        writer.key("hash");
        writer.display(&format_args!("{:016x}", self.hash))?;
        writer.key("methods");
        let list = writer.begin_seq(None)?;
        for info in part(methods, from, to) {
            write_method(writer, info, brief)?;
        }
        writer.end(list)?;
        writer.key("topics");
        let list = writer.begin_seq(None)?;
        let behind = |place: usize| place.saturating_sub(methods.len());
        for info in part(api.topics, behind(from), behind(to)) {
            write_topic(writer, info, brief)?;
        }
        writer.end(list)?;
        writer.key("limits");
        // Once is enough, and leaves the other pages more room.
        if from == 0 {
            write_limits(writer, limits)?;
        } else {
            writer.null();
        }
        writer.key("next");
        writer.value(&next)?;
        writer.end(result)?;
        end_answer(writer);
        Ok(())
    }
}

fn part<T>(list: &[T], from: usize, to: usize) -> &[T] {
    list.get(from.min(list.len())..to.min(list.len())).unwrap_or_default()
}

fn write_limits(writer: &mut Writer<'_>, limits: &Limits) -> Result<(), EncodeError> {
    let map = writer.begin_map(Some(6))?;
    let limits = [
        ("frame", limits.frame),
        ("max_msg_size", limits.max_msg_size),
        ("message", limits.message),
        ("depth", limits.depth.into()),
        ("id", limits.id.into()),
        ("calls", limits.calls.into()),
    ];
    for (name, limit) in limits {
        writer.key(name);
        writer.uint(limit.into());
    }
    writer.end(map)
}

fn write_method(
    writer: &mut Writer<'_>,
    info: &MethodInfo,
    brief: bool,
) -> Result<(), EncodeError> {
    let map = writer.begin_map(Some(if brief { 3 } else { 5 }))?;
    writer.key("name");
    writer.str(info.name);
    if !brief {
        writer.key("doc");
        writer.str(info.doc);
    }
    writer.key("params");
    let list = writer.begin_seq(Some(info.params.len()))?;
    for param in info.params {
        let map = writer.begin_map(Some(if brief { 2 } else { 3 }))?;
        writer.key("name");
        writer.str(param.name);
        if !brief {
            writer.key("type");
            writer.str(param.ty);
        }
        writer.key("optional");
        writer.bool(param.optional);
        writer.end(map)?;
    }
    writer.end(list)?;
    if !brief {
        writer.key("returns");
        writer.str(info.returns);
    }
    writer.key("deadline");
    writer.value(&info.deadline.map(|it| it.as_secs_f64()))?;
    writer.end(map)
}

fn write_topic(writer: &mut Writer<'_>, info: &TopicInfo, brief: bool) -> Result<(), EncodeError> {
    let map = writer.begin_map(Some(if brief { 3 } else { 5 }))?;
    writer.key("name");
    writer.str(info.name);
    if !brief {
        writer.key("doc");
        writer.str(info.doc);
    }
    if !brief {
        writer.key("type");
        writer.str(info.ty);
    }
    writer.key("policy");
    match info.policy {
        Policy::KeepLatest => writer.str("keep_latest"),
        Policy::DropOldest(count) => writer.display(&format_args!("drop_oldest({count})"))?,
        Policy::Disconnect => writer.str("disconnect"),
    }
    writer.key("retained");
    writer.bool(info.retained);
    writer.end(map)
}

/// FNV-1a of all that is described of methods and topics, so that a client notices when it changes.
fn hash(api: &Api) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for info in api.methods {
        [info.name, info.doc, info.returns].into_iter().for_each(|it| add(it.as_bytes()));
        for param in info.params {
            [param.name, param.ty].into_iter().for_each(|it| add(it.as_bytes()));
            add(&[param.optional.into()]);
        }
        let deadline = info.deadline.map_or(0, |it| it.as_nanos());
        add(&deadline.to_le_bytes());
    }
    for info in api.topics {
        [info.name, info.doc, info.ty].into_iter().for_each(|it| add(it.as_bytes()));
        let (policy, count) = match info.policy {
            Policy::KeepLatest => (0, 0),
            Policy::DropOldest(count) => (1, count),
            Policy::Disconnect => (2, 0),
        };
        add(&[policy, info.retained.into()]);
        add(&count.to_le_bytes());
    }
    hash
}

/// The token among the keyword arguments.
///
/// # Errors
/// It is no integer of 32 bits.
pub(super) fn token(kwargs: Option<Value<'_>>) -> Result<Option<u32>, RpcError> {
    let found = kwargs.and_then(|kwargs| kwargs.entries().find(|(key, _)| *key == TOKEN));
    let Some((_, value)) = found else { return Ok(None) };
    token_of(value)
}

pub(super) fn token_of(value: Value<'_>) -> Result<Option<u32>, RpcError> {
    value.deserialize().map(Some).map_err(|why| RpcError::invalid_param(TOKEN, why))
}
