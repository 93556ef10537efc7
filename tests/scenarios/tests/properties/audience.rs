//! What each peer is sent of publications that are for all, for one, or for all but one: in order,
//! and each that is due to it once, either sent or counted as missed.

use core::time::Duration;
use proptest::prelude::*;
use std::sync::{Mutex, PoisonError};
use wslink_core::wire::Dialect;
use wslink_core::{
    Audience, Call, Cx, MethodInfo, NoBlob, PeerId, Policy, RpcError, Service, Topic, TopicInfo,
};
use wslink_testkit::{Client, Clock, Options, Pair, Received, Val};

/// Number and padding.
type Value = (u32, String);

const fn topic(name: &'static str, policy: Policy) -> Topic<Value> {
    Topic::new(name).with_policy(policy)
}

/// The last one is not declared.
const TOPICS: [Topic<Value>; 8] = [
    topic("all", Policy::DropOldest(u16::MAX)),
    topic("latest", Policy::KeepLatest),
    topic("few", Policy::DropOldest(2)),
    topic("strict", Policy::Disconnect),
    topic("kept.latest", Policy::KeepLatest).retained(),
    topic("kept.few", Policy::DropOldest(3)).retained(),
    topic("kept.strict", Policy::Disconnect).retained(),
    Topic::new("loose"),
];
const LOOSE: usize = TOPICS.len() - 1;

const fn is_retained(topic: usize) -> bool {
    topic >= 4 && topic < LOOSE
}

/// How many of the newest a slow peer gets.
const fn kept(topic: usize) -> usize {
    match topic {
        1 | 4 => 1,
        2 => 2,
        5 => 3,
        _ => usize::MAX,
    }
}

/// Notes the losses that it is told of.
#[derive(Default)]
struct Crowd(Mutex<Vec<(PeerId, &'static str, u64)>>);

impl Service for Crowd {
    type Request = ();
    type Reply = ();
    type Blob = NoBlob;
    const METHODS: &'static [MethodInfo] = &[];
    const TOPICS: &'static [TopicInfo] = &[
        TOPICS[0].info(),
        TOPICS[1].info(),
        TOPICS[2].info(),
        TOPICS[3].info(),
        TOPICS[4].info(),
        TOPICS[5].info(),
        TOPICS[6].info(),
    ];

    fn decode(&self, _: &Call<'_>) -> Result<(), RpcError> {
        Ok(())
    }

    async fn call(&self, _: Cx<'_, NoBlob>, (): ()) -> Result<(), RpcError> {
        Ok(())
    }

    fn lagged(&self, peer: PeerId, topic: &'static str, missed: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((peer, topic, missed));
    }
}

/// Clients are named by their place among those that were ever there, modulo their number.
#[derive(Clone, Debug)]
enum To {
    All,
    Only(usize),
    Except(usize),
}

#[derive(Clone, Debug)]
enum Action {
    /// In 1.x or not; asks to be told of losses or not.
    Connect(bool, bool),
    Leave(usize),
    /// One of the topics in use, audience, padding, how often.
    Publish(usize, To, usize, usize),
    /// The server's transport takes so many bytes, or all.
    Take(usize, Option<usize>),
    /// Declared topics, and at most so many tenths a second.
    Subscribe(usize, u8, Option<u32>),
    Unsubscribe(usize, u8),
    Advance(u64),
    Run,
}

fn action() -> impl Strategy<Value = Action> {
    let to = prop_oneof![
        3 => Just(To::All),
        3 => (0_usize..8).prop_map(To::Only),
        2 => (0_usize..8).prop_map(To::Except),
    ];
    let rate = prop::option::weighted(0.4, 1_u32..200);
    prop_oneof![
        2 => any::<(bool, bool)>().prop_map(|(v1, tells)| Action::Connect(v1, tells)),
        1 => (0_usize..8).prop_map(Action::Leave),
        12 => (0_usize..8, to, 0_usize..60, 1_usize..4)
            .prop_map(|(topic, to, pad, times)| Action::Publish(topic, to, pad, times)),
        6 => (0_usize..8, prop::option::weighted(0.8, 0_usize..300))
            .prop_map(|(client, bytes)| Action::Take(client, bytes)),
        2 => (0_usize..8, any::<u8>(), rate)
            .prop_map(|(client, mask, rate)| Action::Subscribe(client, mask, rate)),
        1 => (0_usize..8, any::<u8>())
            .prop_map(|(client, mask)| Action::Unsubscribe(client, mask)),
        2 => (0_u64..1500).prop_map(Action::Advance),
        4 => Just(Action::Run),
    ]
}

/// What is known of a publication.
struct Published {
    topic: usize,
    audience: Audience,
}

/// A topic as one client should see it.
#[derive(Clone, Debug, Default)]
struct Heard {
    wanted: bool,
    /// What was published before the interest began does not count.
    since: usize,
    due: Vec<usize>,
    sent: usize,
    missed: u64,
    last: Option<usize>,
    /// Told to the client.
    told: u64,
    lost: u64,
    /// The client asked for few: not all that is due is sent or told.
    rated: bool,
    /// Publications that may be missed though they are older than the interest: one that was under
    /// way when it began.
    slack: u64,
}

struct Peer {
    client: Client,
    peer: PeerId,
    tells: bool,
    narrowed: bool,
    read: usize,
    heard: [Heard; TOPICS.len()],
}

struct World {
    pair: Pair<Crowd>,
    /// The topics in use: with few of them there is more to happen to each.
    topics: Vec<usize>,
    ring: usize,
    published: Vec<Published>,
    peers: Vec<Peer>,
}

impl World {
    fn new(topics: Vec<usize>, ring: u16, chunk: u32) -> Self {
        let mut options = Options::desktop();
        options.hub.publications = ring;
        options.config.limits.max_msg_size = chunk;
        // Only what the ring passes over shall end connections.
        options.config.deadlines.write = Duration::from_secs(1 << 20);
        options.config.deadlines.ping = None;
        let pair = Pair::with(Crowd::default(), Clock::new(), options);
        Self { pair, topics, ring: ring.into(), published: Vec::new(), peers: Vec::new() }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect(v1, tells) if self.peers.len() < 6 => self.connect(v1, tells),
            Action::Connect(..) => {}
            Action::Publish(topic, to, pad, times) => {
                let topic = self.topics[topic % self.topics.len()];
                for _ in 0..times {
                    self.publish(topic, &to, pad);
                }
            }
            Action::Run => self.run(),
            Action::Advance(millis) => {
                self.pair.advance(Duration::from_millis(millis));
                self.look();
            }
            Action::Leave(which) => {
                if let Some(which) = self.which(which) {
                    self.pair.eof(self.peers[which].client);
                    self.run();
                }
            }
            Action::Take(which, bytes) => {
                if let Some(which) = self.which(which) {
                    let link = self.pair.link(self.peers[which].client);
                    _ = match bytes {
                        None => link.flow(),
                        Some(bytes) => link.take(bytes),
                    };
                }
            }
            Action::Subscribe(which, mask, rate) => {
                if let Some(which) = self.which(which) {
                    self.subscribe(which, mask, rate);
                }
            }
            Action::Unsubscribe(which, mask) => {
                if let Some(which) = self.which(which) {
                    self.unsubscribe(which, mask);
                }
            }
        }
    }

    fn which(&self, which: usize) -> Option<usize> {
        (!self.peers.is_empty()).then(|| which % self.peers.len())
    }

    fn is_there(&self, peer: &Peer) -> bool {
        self.pair.connection(peer.client).closed().is_none()
    }

    fn run(&mut self) {
        self.pair.run();
        self.look();
    }

    fn connect(&mut self, v1: bool, tells: bool) {
        let client = self.pair.connected(if v1 { Dialect::V1 } else { Dialect::V2 });
        let heard = Heard { wanted: true, since: self.published.len(), ..Heard::default() };
        self.peers.push(Peer {
            client,
            peer: self.pair.peer(client),
            tells,
            narrowed: false,
            read: 0,
            heard: core::array::from_fn(|_| heard.clone()),
        });
        if tells {
            let args = Val::Seq(vec![Val::from("wslink.lagged")]);
            self.pair.ask(client, "wslink.subscribe", args).expect("subscribed");
        }
        self.look();
    }

    fn publish(&mut self, topic: usize, to: &To, pad: usize) {
        let peer = |which: usize| self.which(which).map(|which| self.peers[which].peer);
        let audience = match *to {
            To::All => Some(Audience::All),
            To::Only(which) => peer(which).map(Audience::Only),
            To::Except(which) => peer(which).map(Audience::Except),
        };
        let Some(audience) = audience else { return };
        let number = self.published.len();
        self.published.push(Published { topic, audience });
        for peer in &mut self.peers {
            let heard = &mut peer.heard[topic];
            let personal = topic == LOOSE && matches!(audience, Audience::Only(_));
            if includes(audience, peer.peer) && (heard.wanted || personal) {
                heard.due.push(number);
            }
        }
        let value = (number as u32, "x".repeat(pad));
        let publications = self.pair.publications();
        publications.publish(audience, &TOPICS[topic], &value, &[]).expect("published");
    }

    fn names(mask: u8) -> Vec<usize> {
        (0..LOOSE).filter(|topic| mask >> topic & 1 == 1).collect()
    }

    fn ask(&mut self, which: usize, method: &str, topics: &[usize], rate: Option<u32>) -> bool {
        self.run();
        if !self.is_there(&self.peers[which]) {
            return false;
        }
        let names = topics.iter().map(|topic| Val::from(TOPICS[*topic].name())).collect();
        let mut args = vec![Val::Seq(names)];
        args.extend(rate.map(|rate| Val::Float(f64::from(rate) / 10.0)));
        self.pair.call(self.peers[which].client, method, Val::Seq(args));
        self.run();
        !core::mem::replace(&mut self.peers[which].narrowed, true)
    }

    fn subscribe(&mut self, which: usize, mask: u8, rate: Option<u32>) {
        let topics = Self::names(mask);
        let narrowed = self.ask(which, "wslink.subscribe", &topics, rate);
        let now = self.published.len();
        for (topic, heard) in self.peers[which].heard[..LOOSE].iter_mut().enumerate() {
            if topics.contains(&topic) {
                if !heard.wanted {
                    let Heard { told, lost, .. } = *heard;
                    *heard = Heard { wanted: true, since: now, told, lost, ..Heard::default() };
                    heard.slack = 1;
                }
                heard.rated |= rate.is_some();
            } else if narrowed {
                heard.wanted = false;
            }
        }
        if narrowed {
            let heard = &mut self.peers[which].heard[LOOSE];
            heard.wanted = false;
            // What was not sent by now may never be told.
            heard.rated |= heard.due.len() as u64 > heard.sent as u64 + heard.missed;
        }
    }

    fn unsubscribe(&mut self, which: usize, mask: u8) {
        let topics = Self::names(mask);
        self.ask(which, "wslink.unsubscribe", &topics, None);
        // As the first call it takes the rest away from everything; the undeclared stay.
        for topic in topics {
            self.peers[which].heard[topic].wanted = false;
        }
    }

    /// Looks at what has come since the last time.
    fn look(&mut self) {
        let lagged = core::mem::take(&mut *self.pair.service().0.lock().expect("not poisoned"));
        for (peer, name, missed) in lagged {
            assert!(missed > 0);
            let peer = self.peers.iter_mut().find(|it| it.peer == peer).expect("a peer");
            let heard = &mut peer.heard[index(name)];
            heard.missed += missed;
            heard.lost += missed;
        }
        for peer in &mut self.peers {
            let received = &self.pair.received(peer.client)[peer.read..];
            peer.read += received.len();
            for received in received {
                let Received::Publication(name, value) = received else { continue };
                if name == "wslink.lagged" {
                    let topic = value.field("topic").and_then(Val::as_str).expect("a topic");
                    let Some(Val::Int(missed)) = value.field("missed") else { panic!("{value}") };
                    peer.heard[index(topic)].told += *missed as u64;
                    continue;
                }
                peer.deliver(name, value, &self.published);
            }
            let had = |heard: &Heard| heard.sent as u64 + heard.missed;
            for (topic, heard) in peer.heard.iter().enumerate() {
                let name = TOPICS[topic].name();
                assert!(
                    !heard.wanted || had(heard) <= heard.due.len() as u64 + heard.slack,
                    "{} {name}: more was sent or missed than published: {heard:?}",
                    peer.peer
                );
                assert!(heard.told <= heard.lost, "{name}: told of losses that were none");
            }
        }
    }

    /// All is sent now.
    fn settle(&mut self) {
        self.run();
        for peer in 0..self.peers.len() {
            self.pair.link(self.peers[peer].client).flow();
        }
        self.run();
        self.pair.advance(Duration::from_secs(60));
        self.look();
        for peer in &self.peers {
            if !self.is_there(peer) {
                continue;
            }
            for (topic, heard) in peer.heard.iter().enumerate() {
                let what = format!("{} {}: {heard:?}", peer.peer, TOPICS[topic].name());
                if peer.tells {
                    assert_eq!(heard.told, heard.lost, "the client was not told: {what}");
                }
                if !heard.wanted && topic != LOOSE {
                    continue;
                }
                if !heard.rated {
                    let had = heard.sent as u64 + heard.missed;
                    let due = heard.due.len() as u64;
                    assert!((due..=due + heard.slack).contains(&had), "{had} of {due}: {what}");
                }
                self.check_newest(topic, heard, &what);
            }
        }
    }

    /// What the ring never passed over has come, as far as the policy keeps it.
    fn check_newest(&self, topic: usize, heard: &Heard, what: &str) {
        let Some(newest) = heard.due.last().copied() else { return };
        let oldest = self.published.len().saturating_sub(self.ring);
        let of_all = |number: &usize| {
            let publication = &self.published[*number];
            publication.topic == topic && !matches!(publication.audience, Audience::Only(_))
        };
        let last = (0..self.published.len()).rev().find(of_all);
        let retained = is_retained(topic) && last == Some(newest);
        if heard.wanted && (newest >= oldest || retained) {
            assert_eq!(heard.last, Some(newest), "the newest did not come: {what}");
        }
        let most = heard.due.iter().rev().take(kept(topic));
        let there = most.filter(|number| **number >= oldest).count();
        if !heard.rated {
            assert!(heard.sent >= there, "{there} were there to be sent: {what}");
        }
    }
}

fn includes(audience: Audience, peer: PeerId) -> bool {
    match audience {
        Audience::Only(one) => one == peer,
        Audience::Except(one) => one != peer,
        _ => true,
    }
}

/// `*` stands for the undeclared one.
fn index(name: &str) -> usize {
    TOPICS.iter().position(|topic| topic.name() == name).unwrap_or(LOOSE)
}

impl Peer {
    fn deliver(&mut self, name: &str, value: &Val, published: &[Published]) {
        let topic = index(name);
        let Val::Seq(items) = value else { panic!("{value}") };
        let Some(Val::Int(number)) = items.first() else { panic!("{value}") };
        let number = *number as usize;
        let publication = &published[number];
        assert_eq!(publication.topic, topic);
        let mine = includes(publication.audience, self.peer);
        assert!(mine, "{} was sent {name} {number}, which was for others", self.peer);
        let heard = &mut self.heard[topic];
        if heard.due.contains(&number) && heard.last.is_none_or(|last| last < number) {
            heard.sent += 1;
            heard.last = Some(number);
            return;
        }
        // A retained value, or one that was under way when the interest in it ended.
        let again = is_retained(topic) && !matches!(publication.audience, Audience::Only(_));
        let older = number < heard.since || !heard.wanted;
        assert!(again || older, "{} was sent {name} {number} out of turn: {heard:?}", self.peer);
    }
}

proptest! {
    #![proptest_config(super::cases(150))]

    #[test]
    fn what_is_due_to_a_peer_is_sent_or_counted_once(
        topics in prop::sample::subsequence((0..TOPICS.len()).collect::<Vec<_>>(), 1..=8),
        ring in prop_oneof![1_u16..12, Just(200)],
        chunk in prop_oneof![Just(30_u32), Just(1000)],
        actions in prop::collection::vec(action(), 1..60),
    ) {
        let mut world = World::new(topics, ring, chunk);
        world.act(Action::Connect(true, true));
        world.act(Action::Connect(false, false));
        for action in actions {
            world.act(action);
        }
        world.settle();
    }
}
