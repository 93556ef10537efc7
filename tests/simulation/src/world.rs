//! Plays a plan and watches.

use crate::lab::{ENDS, End, Lab, NAMES, bytes, sum, text};
use crate::plan::{Fault, Plan, Setting, Step};
use core::time::Duration;
use std::collections::BTreeMap;
use wslink_core::wire::Dialect;
use wslink_core::{Audience, CloseCode, Deadlines, Limits, PeerId, Phase};
use wslink_testkit::{Client, Clock, Cut, Failure, Frame, Options, Pair, Received, Val, val};

const MOST_CLIENTS: usize = 6;
/// More than any deadline of a simulation, all of them one after the other included.
const LONG: Duration = Duration::from_secs(300);

/// A client, and what it may expect.
struct Guest {
    client: Client,
    dialect: Dialect,
    /// Calls by their ids.
    asked: BTreeMap<String, Asked>,
    /// How many of the received messages were looked at.
    looked: usize,
    /// Numbers of the publications that came, by topic, and how many.
    newest: BTreeMap<usize, u32>,
    delivered: BTreeMap<usize, u64>,
    /// Retained values that were older than the client, by topic.
    retained: BTreeMap<usize, u32>,
    /// It chose its topics, so that not all that is published is due to it.
    chose: bool,
    /// It sent what means nothing, which can use up what its calls need.
    noisy: bool,
    /// Its side of the transport has ended, or its link is lost.
    gone: bool,
    lost: bool,
}

struct Asked {
    tag: u32,
    expects: Expects,
    answers: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expects {
    Text(u32),
    Blob(u32),
    Taken(u32),
    Stored(u32),
    /// Only an error is right.
    Error,
    /// A built-in method's answer, whatever it is.
    Anything,
}

struct World {
    pair: Pair<Lab>,
    guests: Vec<Guest>,
    tags: u32,
    limits: Limits,
    pings: bool,
}

type Checked = Result<(), String>;

macro_rules! hold {
    ($what:expr, $($text:tt)*) => {
        if !$what {
            return Err(format!($($text)*));
        }
    };
}

pub(crate) fn play(plan: &Plan) -> Checked {
    let clock = Clock::new();
    let lab = Lab::new(clock.clone());
    let options = options(&plan.setting);
    let limits = options.config.limits;
    let pair = Pair::with(lab, clock, options);
    let pings = plan.setting.ping.is_some();
    let mut world = World { pair, guests: Vec::new(), tags: 0, limits, pings };
    let outcome = world.play(&plan.steps);
    outcome.map_err(|broken| format!("{broken}\n{}", world.pair.transcript()))
}

fn options(setting: &Setting) -> Options {
    let mut options = if setting.device { Options::device() } else { Options::desktop() };
    let limits = &mut options.config.limits;
    limits.calls = setting.calls;
    limits.transmit_bytes = setting.transmit;
    limits.max_msg_size = setting.chunk;
    limits.upload = 4000;
    if setting.device {
        limits.published = setting.chunk / 2;
    } else {
        limits.sent = setting.chunk / 2;
        // Smaller than what is sent at times.
        limits.message = 4000;
        limits.frame = 4100;
        limits.receive_bytes = 6000;
        limits.ahead = 500;
    }
    (options.hub.bytes, options.hub.publications) = setting.hub;
    options.late_events = setting.late_events;
    let mut deadlines = Deadlines::standard();
    deadlines.ping = setting.ping.map(|ms| Duration::from_millis(ms.into()));
    deadlines.call = Some(Duration::from_secs(5));
    options.config.deadlines = deadlines;
    options
}

impl World {
    fn play(&mut self, steps: &[Step]) -> Checked {
        for step in steps {
            self.step(step);
            self.look()?;
        }
        // Whoever can still be reached is, and everything that is due happens.
        for guest in &self.guests {
            self.pair.link(guest.client).flow();
        }
        self.pair.advance(LONG);
        self.look()?;
        self.settled()?;
        for topic in 0..NAMES.len() {
            self.publish(topic, Audience::All, 5, false);
            self.pair.advance(LONG);
        }
        self.look()?;
        self.reached()
    }

    fn at(&self, client: u8) -> Option<usize> {
        (!self.guests.is_empty()).then(|| usize::from(client) % self.guests.len())
    }

    fn peer(&self, client: u8) -> Option<PeerId> {
        self.at(client).map(|at| self.pair.peer(self.guests[at].client))
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Connect { v1, hello } => self.connect(*v1, *hello),
            Step::Hello { client, right } => self.with(*client, |world, client| match right {
                true => world.pair.hello(client),
                false => world.pair.hello_with(client, val!([{"secret": "wrong"}])),
            }),
            Step::Work { client, brief, size, delay, end, token } => {
                let end = ENDS[usize::from(*end)];
                let size = u32::from(*size);
                let expects = match end {
                    End::Value => Expects::Text(size),
                    End::Blob => Expects::Blob(size),
                    End::Publishes => Expects::Text(0),
                    End::Fails | End::Unserializable | End::Never => Expects::Error,
                };
                let method = if *brief { "lab.brief" } else { "lab.work" };
                let place = ENDS.iter().position(|it| *it == end).unwrap_or_default();
                let kwargs = token.map(|token| val!({"wslink_token": token}));
                let rest = val!([size, (*delay), place]);
                self.call(*client, method, rest, kwargs, expects);
            }
            Step::Take { client, size } => {
                let data = bytes(self.tags, u32::from(*size));
                let rest = Val::Seq(vec![Val::Bin(data)]);
                let size = u32::from(*size);
                let fits = size <= self.limits.message;
                let expects = if fits { Expects::Taken(size) } else { Expects::Error };
                self.call(*client, "lab.take", rest, None, expects);
            }
            Step::Put { client, size } => {
                let size = u32::from(*size);
                let args = Val::Seq(vec![Val::Bin(bytes(self.tags, size))]);
                let fits = size <= self.limits.upload;
                let expects = if fits { Expects::Stored(size) } else { Expects::Error };
                self.ask(*client, "lab.put", args, None, self.tags, expects);
                self.tags += 1;
            }
            Step::Cancel { client, token } => {
                self.builtin(*client, "wslink.cancel", val!([(*token)]));
            }
            Step::Wrong { client, known } => {
                let method = if *known { "lab.work" } else { "lab.nothing" };
                self.call(*client, method, val!([]), None, Expects::Error);
            }
            Step::Subscribe { client, topic, rate, on } => {
                let name = NAMES.get(usize::from(*topic)).copied().unwrap_or(if *topic < 100 {
                    "lab.*"
                } else {
                    "*"
                });
                let args = match (on, rate) {
                    (true, Some(rate)) => val!([[name], (*rate)]),
                    _ => val!([[name]]),
                };
                let method = if *on { "wslink.subscribe" } else { "wslink.unsubscribe" };
                self.builtin(*client, method, args);
                if let Some(at) = self.at(*client) {
                    self.guests[at].chose = true;
                }
            }
            Step::Publish { topic, size, blob, audience, client } => {
                let audience = match (audience, self.peer(*client)) {
                    (4, Some(peer)) => Audience::Only(peer),
                    (5, Some(peer)) => Audience::Except(peer),
                    _ => Audience::All,
                };
                let topic = usize::from(*topic) % NAMES.len();
                self.publish(topic, audience, u32::from(*size), *blob);
            }
            Step::Fault { client, fault } => self.fault(*client, fault),
            Step::Noise { client, binary, bytes } => {
                if let Some(at) = self.at(*client) {
                    self.guests[at].noisy = true;
                }
                self.with(*client, |world, client| {
                    let text = || String::from_utf8_lossy(bytes).into_owned();
                    let frame = match binary {
                        true => Frame::binary(bytes.clone()),
                        false => Frame::text(text()),
                    };
                    world.pair.send(client, frame);
                });
            }
            Step::Eof { client } => {
                self.with(*client, |world, client| world.pair.eof(client));
                if let Some(at) = self.at(*client) {
                    self.guests[at].gone = true;
                }
            }
            Step::Close { client } => self.with(*client, |world, client| {
                world.pair.close(client, CloseCode::Normal, "closed by the plan");
            }),
            Step::Run => self.pair.run(),
            Step::Wait(ms) => self.pair.advance(Duration::from_millis((*ms).into())),
        }
    }

    fn connect(&mut self, v1: bool, hello: bool) {
        if self.guests.len() >= MOST_CLIENTS {
            return;
        }
        let dialect = if v1 { Dialect::V1 } else { Dialect::V2 };
        let client = if hello { self.pair.connected(dialect) } else { self.pair.connect(dialect) };
        self.guests.push(Guest {
            client,
            dialect,
            asked: BTreeMap::new(),
            looked: 0,
            newest: BTreeMap::new(),
            delivered: BTreeMap::new(),
            retained: BTreeMap::new(),
            chose: false,
            noisy: false,
            gone: false,
            lost: false,
        });
    }

    /// Does something for a client that still can.
    fn with(&mut self, client: u8, act: impl FnOnce(&mut Self, Client)) {
        let Some(at) = self.at(client) else { return };
        let Guest { client, gone, .. } = self.guests[at];
        if !gone && !matches!(self.pair.phase(client), Phase::Closed | Phase::Answering) {
            act(self, client);
        }
    }

    /// A call whose first argument is a tag of its own.
    fn call(&mut self, client: u8, method: &str, rest: Val, kwargs: Option<Val>, expects: Expects) {
        let tag = self.tags;
        self.tags += 1;
        let mut args = vec![Val::from(tag)];
        if let Val::Seq(rest) = rest {
            args.extend(rest);
        }
        if method == "lab.nothing" || expects == Expects::Error && args.len() == 1 {
            args.clear();
        }
        self.ask(client, method, Val::Seq(args), kwargs, tag, expects);
    }

    fn builtin(&mut self, client: u8, method: &str, args: Val) {
        self.ask(client, method, args, None, 0, Expects::Anything);
    }

    fn ask(
        &mut self,
        client: u8,
        method: &str,
        args: Val,
        kwargs: Option<Val>,
        tag: u32,
        expects: Expects,
    ) {
        let Some(at) = self.at(client) else { return };
        self.with(client, |world, client| {
            let kwargs = kwargs.unwrap_or(Val::Map(Vec::new()));
            let id = world.pair.call_with(client, method, args, kwargs);
            world.guests[at].asked.insert(id, Asked { tag, expects, answers: 0 });
        });
    }

    fn publish(&self, topic: usize, audience: Audience, size: u32, blob: bool) {
        let publications = self.pair.publications();
        self.pair.service().publish(topic, audience, size, blob, |name, blobs, encode| {
            publications.hub().publish(name, audience, blobs, encode).is_ok()
        });
    }

    fn fault(&mut self, client: u8, fault: &Fault) {
        let Some(at) = self.at(client) else { return };
        let guest = &mut self.guests[at];
        let millis = |ms: &u16| Duration::from_millis((*ms).into());
        let link = self.pair.link(guest.client);
        match fault {
            Fault::Cut(lengths) if guest.dialect == Dialect::V1 || lengths.len() > 1 => {
                link.cut(Cut::Lengths(lengths.iter().map(|length| (*length).into()).collect()));
            }
            Fault::Cut(_) => _ = link.cut(Cut::Whole),
            Fault::Merge(merge) => _ = link.merge(*merge),
            Fault::Delay(up, down) => _ = link.delay(millis(up), millis(down)),
            Fault::Pieces(bytes) => _ = link.pieces((*bytes).into()),
            Fault::Stall => _ = link.stall(),
            Fault::Take(bytes) => _ = link.take((*bytes).into()),
            Fault::Flow => _ = link.flow(),
            Fault::Lose => {
                link.lose();
                guest.gone = true;
                guest.lost = true;
            }
        }
    }

    /// Looks at what clients have received since the last time.
    fn look(&mut self) -> Checked {
        let log = self.pair.service().log();
        for (number, guest) in self.guests.iter_mut().enumerate() {
            let (running, most) = (self.pair.running(guest.client), self.limits.calls.into());
            hold!(running <= most, "client {number}: {running} calls at once, of {most}");
            let peer = self.pair.peer(guest.client);
            let received = self.pair.received(guest.client);
            for message in &received[guest.looked..] {
                match message {
                    Received::Answer(id, result) => {
                        guest
                            .answered(id, result)
                            .map_err(|it| format!("client {number}: {it}"))?;
                    }
                    Received::Publication(name, value) => {
                        if name.starts_with("wslink.") {
                            continue;
                        }
                        let from = log.visits.get(&peer.number()).map(|visit| visit.from);
                        hold!(from.is_some(), "client {number}: {name} before its hello");
                        let topic = NAMES.iter().position(|it| it == name);
                        let Some(topic) = topic else { return Err(format!("topic {name}")) };
                        let tag = tag_of(value)?;
                        let published = log.published.get(tag as usize);
                        let Some(published) = published.filter(|it| it.topic == topic) else {
                            return Err(format!("client {number}: {name} was never {tag}"));
                        };
                        hold!(
                            published.is_for(peer),
                            "client {number}: {name} {tag} is for {:?}",
                            published.audience
                        );
                        guest
                            .heard(topic, tag, from.unwrap_or_default())
                            .map_err(|it| format!("client {number}: {it}"))?;
                    }
                }
            }
            guest.looked = received.len();
        }
        Ok(())
    }

    /// Nothing moves any more.
    fn settled(&self) -> Checked {
        let log = self.pair.service().log();
        for (number, guest) in self.guests.iter().enumerate() {
            let Guest { client, .. } = *guest;
            let connection = self.pair.connection(client);
            hold!(self.pair.running(client) == 0, "client {number}: a call runs on");
            let peer = self.pair.peer(client);
            let visit = log.visits.get(&peer.number());
            hold!(
                visit.is_some() || connection.closed().is_some(),
                "client {number}: neither greeted nor closed"
            );
            let over = connection.closed().is_some();
            if let Some(visit) = visit {
                hold!(visit.closed.is_some() == over, "client {number}: closed is not told");
            }
            // Without pings a cable that was pulled is noticed by nobody.
            let noticed = over || !guest.gone || guest.lost && !self.pings;
            hold!(noticed, "client {number}: gone, and not noticed");
            if over || guest.gone {
                continue;
            }
            for (id, asked) in &guest.asked {
                hold!(asked.answers == 1, "client {number}: {} answers to {id}", asked.answers);
            }
            let Some(visit) = visit.filter(|_| !guest.chose) else { continue };
            for (topic, name) in NAMES.iter().enumerate() {
                let due = log.published.iter().skip(visit.from);
                let due = due.filter(|it| it.topic == topic && it.is_for(peer)).count() as u64;
                let delivered = guest.delivered.get(&topic).copied().unwrap_or_default();
                // Losses of what was not declared are told together.
                let told = if name.starts_with("lab.") { name } else { "*" };
                let missed = visit.missed.get(told).copied().unwrap_or_default();
                hold!(
                    delivered + missed == due,
                    "client {number}: {name}: {delivered} came and {missed} were missed of {due}"
                );
            }
        }
        Ok(())
    }

    /// The last publication of each topic has reached everybody who takes everything.
    fn reached(&self) -> Checked {
        let log = self.pair.service().log();
        for (number, guest) in self.guests.iter().enumerate() {
            let over = self.pair.connection(guest.client).closed().is_some();
            let peer = self.pair.peer(guest.client);
            if over || guest.gone || guest.chose || !log.visits.contains_key(&peer.number()) {
                continue;
            }
            for (topic, name) in NAMES.iter().enumerate() {
                let last = log.published.iter().rposition(|it| it.topic == topic);
                let newest = guest.newest.get(&topic).map(|newest| *newest as usize);
                hold!(newest == last, "client {number}: {name} {newest:?}, not {last:?}");
            }
        }
        Ok(())
    }
}

impl Guest {
    fn answered(&mut self, id: &str, result: &Result<Val, Failure>) -> Checked {
        if id.starts_with("system:") {
            return Ok(());
        }
        let Some(asked) = self.asked.get_mut(id) else {
            // A frame of noise may have had any id, and may have hidden one.
            hold!(self.noisy, "an answer to no call: {id}");
            return Ok(());
        };
        asked.answers += 1;
        hold!(asked.answers == 1, "answered twice: {id}");
        let Ok(value) = result else { return Ok(()) };
        let tag = i128::from(asked.tag);
        let right = match asked.expects {
            Expects::Anything => true,
            Expects::Error => false,
            Expects::Text(size) => *value == val!([tag, (text(asked.tag, size))]),
            Expects::Blob(size) => {
                *value == Val::Seq(vec![Val::Int(tag), Val::Bin(bytes(asked.tag, size))])
            }
            Expects::Stored(size) => *value == val!([size, (sum(&bytes(asked.tag, size)))]),
            Expects::Taken(size) => *value == val!([tag, size, true]),
        };
        hold!(right, "a wrong answer to {id}: {value}");
        Ok(())
    }

    fn heard(&mut self, topic: usize, tag: u32, from: usize) -> Checked {
        if (tag as usize) < from {
            hold!(
                self.chose || self.retained.insert(topic, tag).is_none(),
                "{} {tag}: retained twice",
                NAMES[topic]
            );
            hold!(NAMES[topic] == "lab.state", "{} {tag}: from before it came", NAMES[topic]);
        } else {
            *self.delivered.entry(topic).or_default() += 1;
        }
        let before = self.newest.get(&topic).copied();
        // A client that asks again is sent the retained value again, which may be older than what
        // it alone was sent.
        let again = self.chose && NAMES[topic] == "lab.state";
        hold!(
            again || before.is_none_or(|before| before < tag),
            "{} {tag} after {before:?}",
            NAMES[topic]
        );
        self.newest.insert(topic, before.map_or(tag, |before| before.max(tag)));
        Ok(())
    }
}

/// The number of a publication whose content is that of its number.
fn tag_of(value: &Val) -> Result<u32, String> {
    let Val::Seq(items) = value else { return Err(format!("published {value}")) };
    let (tag, content) = match items.as_slice() {
        [Val::Int(tag), Val::Str(content)] => (*tag as u32, content.as_bytes()),
        [Val::Int(tag), Val::Bin(content)] => (*tag as u32, content.as_slice()),
        _ => return Err(format!("published {value}")),
    };
    let right = content == bytes(tag, content.len() as u32);
    if right { Ok(tag) } else { Err(format!("published {value}, with bytes of another")) }
}
