//! What happens in a simulation, and how it is drawn.

use proptest::prelude::*;

/// A simulation as it was drawn: limits, and what happens one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Limits and memory, see [`Setting`].
    pub(crate) setting: Setting,
    /// What happens.
    pub(crate) steps: Vec<Step>,
}

/// Limits and memory of the server.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The limits of a device with fixed buffers, or those of a desktop.
    pub(crate) device: bool,
    /// The server's adapter asks for events behind what it writes only.
    pub(crate) late_events: bool,
    /// Calls side by side.
    pub(crate) calls: u16,
    /// Bytes of each connection's transmit buffer.
    pub(crate) transmit: u32,
    /// The largest 2.x chunk.
    pub(crate) chunk: u32,
    /// Bytes and publications that the hub keeps.
    pub(crate) hub: (u32, u16),
    /// Silence in ms after which a ping is sent.
    pub(crate) ping: Option<u16>,
}

/// One thing that happens. Clients are numbered by connecting, modulo how many there are.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A client comes; `hello` if it says the right hello at once.
    Connect { v1: bool, hello: bool },
    /// A client says hello, rightly or wrongly.
    Hello { client: u8, right: bool },
    /// A call of `lab.work` or `lab.brief`; `token` makes it one that can be cancelled.
    Work { client: u8, brief: bool, size: u16, delay: u16, end: u8, token: Option<u8> },
    /// A call of `lab.take`.
    Take { client: u8, size: u16 },
    /// A call of `lab.put`.
    Put { client: u8, size: u16 },
    /// A call of `wslink.cancel`.
    Cancel { client: u8, token: u8 },
    /// A call that no service has, or with arguments that are wrong.
    Wrong { client: u8, known: bool },
    /// `wslink.subscribe` or `wslink.unsubscribe`.
    Subscribe { client: u8, topic: u8, rate: Option<u8>, on: bool },
    /// A publication to everybody, to one client, or to all but one.
    Publish { topic: u8, size: u16, blob: bool, audience: u8, client: u8 },
    /// The link changes.
    Fault { client: u8, fault: Fault },
    /// A frame that means nothing.
    Noise { client: u8, binary: bool, bytes: Vec<u8> },
    /// The client's transport ends.
    Eof { client: u8 },
    /// The server closes a connection.
    Close { client: u8 },
    /// Everything that can move does.
    Run,
    /// So many ms pass.
    Wait(u16),
}

/// What becomes of a link.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The client's messages are cut into fragments of such lengths.
    Cut(Vec<u8>),
    /// They are put together again on their way.
    Merge(bool),
    /// Frames take so many ms, up and down.
    Delay(u16, u16),
    /// The server's transport takes so many bytes at a time.
    Pieces(u8),
    /// The server's transport takes nothing.
    Stall,
    /// The server's transport takes so many bytes more.
    Take(u16),
    /// It takes everything again.
    Flow,
    /// Nothing arrives any more, and nobody is told.
    Lose,
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let first = (any::<bool>(), any::<bool>())
        .prop_map(|(v1, hello)| Step::Connect { v1, hello: hello || v1 });
    let steps = (prop::collection::vec(first, 1..3), prop::collection::vec(step(), 1..90));
    (setting(), steps).prop_map(|(setting, (mut steps, rest))| {
        steps.extend(rest);
        Plan { setting, steps }
    })
}

fn setting() -> impl Strategy<Value = Setting> {
    let hub = (400_u32..6000, 1_u16..20);
    let ping = prop::option::of(200_u16..20_000);
    let kind = (any::<bool>(), any::<bool>());
    (kind, 1_u16..6, 400_u32..4000, 0_u32..1487, hub, ping).prop_map(
        |((device, late_events), calls, transmit, less, hub, ping)| Setting {
            device,
            late_events,
            calls,
            transmit,
            // Large ones make short transcripts.
            chunk: 1500 - less,
            hub,
            ping,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let client = || any::<u8>();
    let delay = || prop_oneof![3 => Just(0_u16), 2 => 1_u16..300, 1 => 300_u16..3000];
    let size = || prop_oneof![4 => 0_u16..60, 2 => 60_u16..600, 1 => 600_u16..5000];
    let token = prop::option::weighted(0.3, 0_u8..4);
    let work = (client(), any::<bool>(), size(), delay(), 0_u8..6, token);
    let publish = (any::<u8>(), size(), any::<bool>(), 0_u8..6, client());
    prop_oneof![
        2 => (any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(v1, hello)| Step::Connect { v1, hello }),
        1 => (client(), any::<bool>()).prop_map(|(client, right)| Step::Hello { client, right }),
        12 => work.prop_map(|(client, brief, size, delay, end, token)| Step::Work {
            client, brief, size, delay, end, token,
        }),
        // Sizes around the limit of a message, too.
        4 => (client(), prop_oneof![8 => size(), 1 => 1011_u16..1015, 1 => 3999_u16..4003])
            .prop_map(|(client, size)| Step::Take { client, size }),
        3 => (client(), size()).prop_map(|(client, size)| Step::Put { client, size }),
        2 => (client(), 0_u8..4).prop_map(|(client, token)| Step::Cancel { client, token }),
        1 => (client(), any::<bool>()).prop_map(|(client, known)| Step::Wrong { client, known }),
        2 => (client(), any::<u8>(), prop::option::of(1_u8..40), prop::bool::weighted(0.7))
            .prop_map(|(client, topic, rate, on)| Step::Subscribe { client, topic, rate, on }),
        14 => publish.prop_map(|(topic, size, blob, audience, client)| Step::Publish {
            topic, size, blob, audience, client,
        }),
        8 => (client(), fault()).prop_map(|(client, fault)| Step::Fault { client, fault }),
        1 => (client(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(client, binary, bytes)| Step::Noise { client, binary, bytes }),
        1 => client().prop_map(|client| Step::Eof { client }),
        1 => client().prop_map(|client| Step::Close { client }),
        8 => Just(Step::Run),
        6 => prop_oneof![0_u16..400, 400_u16..30_000].prop_map(Step::Wait),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 1..4).prop_map(Fault::Cut),
        1 => any::<bool>().prop_map(Fault::Merge),
        1 => (0_u16..500, 0_u16..500).prop_map(|(up, down)| Fault::Delay(up, down)),
        1 => (1_u8..200).prop_map(Fault::Pieces),
        3 => Just(Fault::Stall),
        3 => (0_u16..1500).prop_map(Fault::Take),
        5 => Just(Fault::Flow),
        1 => Just(Fault::Lose),
    ]
}
