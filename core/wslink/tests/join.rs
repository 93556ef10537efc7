//! Several services on one server.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::sync::Mutex;
use wslink::wire::Dialect;
use wslink::{
    Attachment, Audience, Blob as _, CloseReason, Cx, Hello, Identity, LimitExceeded, Part, PeerId,
    Publications, PublishError, Service, Topic, Verdict,
};
use wslink_testkit::{Pair, Val, val};

type Bytes = &'static [u8];

#[derive(Default)]
struct Scope {
    seen: Mutex<Vec<String>>,
}

#[wslink::service(blob = Bytes)]
impl Scope {
    /// Captures.
    #[topic("scope.trace")]
    const TRACE: Topic<u32>;

    #[rpc("scope.capture")]
    async fn capture(&self, cx: Cx<'_, Bytes>, samples: u32) -> Result<u32, String> {
        cx.publish(&Self::TRACE, &samples).map_err(|error| error.to_string())?;
        Ok(samples)
    }

    #[rpc("scope.name")]
    fn name(&self) -> &'static str {
        "scope"
    }

    #[on(opened)]
    fn welcome(&self, peer: PeerId) {
        self.seen.lock().unwrap().push(format!("{peer:?} came"));
    }

    #[on(closed)]
    fn farewell(&self, peer: PeerId, reason: CloseReason) {
        self.seen.lock().unwrap().push(format!("{peer:?} went: {reason:?}"));
    }
}

/// A supply of any voltage.
struct Power<V> {
    voltage: V,
    accepts: Verdict,
}

#[wslink::service(blob = Bytes)]
impl<V: Copy + Into<f64>> Power<V> {
    #[topic("power.voltage")]
    const VOLTAGE: Topic<f64>;

    #[rpc("power.voltage")]
    fn voltage(&self) -> f64 {
        self.voltage.into()
    }

    #[rpc("power.add")]
    async fn add(&self, more: f64) -> f64 {
        self.voltage.into() + more
    }

    #[rpc("power.who")]
    fn who(&self, cx: Cx<'_, Bytes>) -> (u32, bool) {
        (cx.identity().user, cx.identity().has(2))
    }

    #[on(authorize)]
    async fn token(&self, hello: &Hello<'_>) -> Verdict {
        let credentials = hello.credentials();
        let mut entries = credentials.iter().flat_map(|value| value.entries());
        if entries.any(|(key, value)| key == "secret" && value.as_str() == Some("wslink-secret")) {
            self.accepts
        } else {
            Verdict::Refuse
        }
    }
}

#[derive(wslink::Service)]
struct Instrument {
    scope: Scope,
    power: Power<f32>,
}

/// Joined in another order, of any supply, and joined again.
#[derive(wslink::Service)]
struct Bench<V: Copy + Into<f64>> {
    power: Power<V>,
    inner: Inner,
}

#[derive(wslink::Service)]
struct Inner {
    #[service(authorize)]
    scope: Scope,
    lamp: Lamp,
}

#[derive(Default)]
struct Lamp;

#[wslink::service(blob = Bytes)]
impl Lamp {
    #[rpc("lamp.on")]
    fn on(&self) {}

    #[on(authorize)]
    fn never(&self, _hello: &Hello<'_>) -> Verdict {
        Verdict::Refuse
    }
}

fn power<V>(voltage: V) -> Power<V> {
    Power { voltage, accepts: Verdict::Accept }
}

#[test]
fn each_service_is_asked_for_its_own_methods() {
    let mut pair = Pair::new(Instrument { scope: Scope::default(), power: power(5.0) });
    let client = pair.connected(Dialect::V1);
    assert_eq!(pair.ask(client, "scope.name", val!([])), Ok(val!("scope")));
    assert_eq!(pair.ask(client, "power.voltage", val!([])), Ok(val!(5.0)));
    assert_eq!(pair.ask(client, "scope.capture", val!([7])), Ok(val!(7)));
    assert_eq!(pair.ask(client, "power.add", val!([0.5])), Ok(val!(5.5)));
    assert_eq!(pair.ask(client, "power.add", val!([])).unwrap_err().code, -32602);
    assert_eq!(pair.ask(client, "power.sub", val!([])).unwrap_err().code, -32601);
    assert!(pair.transcript().to_string().contains("publish:scope.trace"));
    pair.eof(client);
    pair.run();
    let seen = pair.service().scope.seen.lock().unwrap();
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn joined_services_are_joined_again() {
    let names = |methods: &[wslink::MethodInfo]| -> Vec<_> {
        methods.iter().map(|method| method.name).collect()
    };
    assert_eq!(
        names(Bench::<f32>::METHODS),
        ["power.voltage", "power.add", "power.who", "scope.capture", "scope.name", "lamp.on"]
    );
    assert_eq!((Scope::TRACE.info().doc, Scope::TRACE.info().ty), ("Captures.", "u32"));
    assert_eq!(Bench::<f64>::TOPICS, [Power::<f64>::VOLTAGE.info(), Scope::TRACE.info()]);

    let inner = Inner { scope: Scope::default(), lamp: Lamp };
    let mut pair = Pair::new(Bench { power: power(2_u8), inner });
    let client = pair.connected(Dialect::V2);
    assert_eq!(pair.ask(client, "power.voltage", val!([])), Ok(val!(2.0)));
    assert_eq!(pair.ask(client, "scope.name", val!([])), Ok(val!("scope")));
    assert_eq!(pair.ask(client, "lamp.on", val!([])), Ok(val!(null)));
}

/// Attaches what is already there, and what is not.
struct Camera;

#[wslink::service(blob = Vec<u8>)]
impl Camera {
    #[topic("camera.frame")]
    const FRAME: Topic<Attachment>;

    #[rpc("camera.still")]
    async fn still(&self, cx: Cx<'_, Vec<u8>>) -> Result<Attachment, LimitExceeded> {
        cx.progress(1, Some(2));
        cx.attach(vec![7; 3])
    }

    fn show(publications: Publications<'_, Vec<u8>>, count: usize) -> Result<(), PublishError> {
        let blobs = vec![vec![5; 2]; count];
        publications.publish(Audience::All, &Self::FRAME, &Attachment::nth(0), &blobs)
    }
}

struct Rest;

#[wslink::service]
impl Rest {
    #[rpc("rest.long")]
    async fn long(&self, _cx: Cx<'_>) {}
}

/// Of three kinds of blobs.
#[derive(wslink::Service)]
#[service(blobs = StudioBlob)]
struct Studio<V: Copy + Into<f64>> {
    camera: Camera,
    #[service(authorize)]
    power: Power<V>,
    rest: Rest,
}

#[derive(wslink::Service)]
#[service(blobs = LobbyBlob)]
struct Lobby {
    rest: Rest,
    camera: Camera,
}

#[test]
fn services_may_attach_different_blobs() {
    let mut pair = Pair::new(Lobby { rest: Rest, camera: Camera });
    let client = pair.connected(Dialect::V2);
    let still = pair.ask(client, "camera.still", val!([]));
    assert_eq!(still, Ok(val!(Val::Bin(vec![7; 3]))));
    assert_eq!(pair.ask(client, "rest.long", val!([])), Ok(val!(null)));
    let publications = pair.publications();
    let part = Part::new(publications.hub(), LobbyBlob::camera);
    Camera::show(part.publications(), 1).unwrap();
    let many = Camera::show(part.publications(), 9).unwrap_err();
    assert!(matches!(many, PublishError::TooLarge(limit) if limit.needed == 9));
    pair.run();
    let transcript = pair.transcript().to_string();
    assert!(transcript.contains("publish:camera.frame"), "{transcript}");

    let mut pair = Pair::new(Studio { camera: Camera, power: power(3_u8), rest: Rest });
    let client = pair.connected(Dialect::V1);
    let still = pair.ask(client, "camera.still", val!([]));
    assert_eq!(still, Ok(val!(Val::Bin(vec![7; 3]))));
    assert_eq!(pair.ask(client, "power.voltage", val!([])), Ok(val!(3.0)));
    assert_eq!(StudioBlob::<Bytes>::power(&[1, 2]).as_slice(), Some(&[1, 2][..]));
}

#[test]
fn all_have_to_accept_a_hello() {
    let refuses = Power { voltage: 1.0_f32, accepts: Verdict::Refuse };
    let mut pair = Pair::new(Instrument { scope: Scope::default(), power: refuses });
    let client = pair.connected(Dialect::V2);
    assert_eq!(pair.ask(client, "scope.name", val!([])).unwrap_err().code, -32000);
}

#[test]
fn whoever_knows_a_peer_says_who_it_is() {
    let accepts = Verdict::AcceptAs(Identity { user: 7, roles: 6 });
    for dialect in [Dialect::V1, Dialect::V2] {
        let mut pair = Pair::new(Instrument {
            scope: Scope::default(),
            power: Power { voltage: 1.0, accepts },
        });
        let client = pair.connected(dialect);
        assert_eq!(pair.ask(client, "power.who", val!([])), Ok(val!([7, true])));
    }
    let mut pair = Pair::new(Instrument { scope: Scope::default(), power: power(1.0) });
    let client = pair.connected(Dialect::V2);
    assert_eq!(pair.ask(client, "power.who", val!([])), Ok(val!([0, false])));
}
