//! A service written by hand and the same by the macro give the same transcript.
#![expect(clippy::unwrap_used, reason = "test code")]

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Mutex;
use wslink::wire::Dialect;
use wslink::{
    Attachment, Binary, Call, Cx, LimitExceeded, MethodInfo, ParamInfo, Policy, RpcError, Service,
    Topic, TopicInfo, code,
};
use wslink_testkit::{Pair, Transcript, Val, val};

type Bytes = &'static [u8];

/// What both have in common.
#[derive(Default)]
struct State {
    gain: Mutex<f64>,
}

#[derive(Debug, Serialize)]
struct Trace {
    rate: f64,
    label: Option<String>,
    samples: Attachment,
}

#[derive(Debug, Deserialize, Serialize)]
struct Window {
    from: u32,
    to: u32,
}

enum ScopeError {
    TooMany(u32),
    Limit(LimitExceeded),
}

impl From<LimitExceeded> for ScopeError {
    fn from(error: LimitExceeded) -> Self {
        Self::Limit(error)
    }
}

impl From<ScopeError> for RpcError {
    fn from(error: ScopeError) -> Self {
        match error {
            ScopeError::TooMany(samples) => {
                Self::invalid_param("samples", format_args!("{samples} are too many"))
            }
            ScopeError::Limit(limit) => limit.into(),
        }
    }
}

/// Says what it is by `Display` only.
struct Cold;

impl fmt::Display for Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too cold to calibrate")
    }
}

static RAMP: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

impl State {
    fn trace(cx: Cx<'_, Bytes>, samples: u32, label: Option<String>) -> Result<Trace, ScopeError> {
        let ramp = RAMP.get(..samples as usize).ok_or(ScopeError::TooMany(samples))?;
        Ok(Trace { rate: 0.5, label, samples: cx.attach(ramp)? })
    }

    fn set(&self, cx: Cx<'_, Bytes>, topic: &Topic<f64>, gain: f64) {
        *self.gain.lock().unwrap() = gain;
        cx.publish(topic, &gain).unwrap();
    }
}

mod by_macro {
    use super::*;

    #[derive(Default)]
    pub(super) struct Scope(pub(super) State);

    #[wslink::service(blob = Bytes)]
    impl Scope {
        /// The gain, after each change.
        #[topic("scope.gain.changed", keep_latest, retained)]
        const GAIN: Topic<f64>;

        /// Samples from the start.
        ///
        /// At most 16.
        #[rpc("scope.capture", deadline = "5s")]
        async fn capture(
            &self,
            cx: Cx<'_, Bytes>,
            samples: u32,
            label: Option<String>,
        ) -> Result<Trace, ScopeError> {
            pause().await;
            State::trace(cx, samples, label)
        }

        #[rpc("scope.name")]
        fn name(&self) -> &'static str {
            "ramp"
        }

        /// How many bytes there are, and the first.
        #[rpc("scope.upload")]
        fn upload(&self, image: Binary<'_>, comment: &str) -> (usize, Option<u8>, usize) {
            (image.0.len(), image.0.first().copied(), comment.len())
        }

        #[rpc("scope.gain")]
        fn set_gain(&self, cx: Cx<'_, Bytes>, #[rpc(default = 1.0)] gain: f64) {
            self.0.set(cx, &Self::GAIN, gain);
        }

        #[rpc("scope.window")]
        async fn window(&self, #[rpc(name = "type")] kind: u8, window: Window) -> (u8, Window) {
            (kind, window)
        }

        #[rpc("scope.calibrate")]
        async fn calibrate(&self, #[rpc(default)] seconds: u32) -> Result<u32, Cold> {
            if seconds == 0 { Err(Cold) } else { Ok(seconds) }
        }

        /// Stays a method as any other.
        pub(super) fn gain(&self) -> f64 {
            *self.0.gain.lock().unwrap()
        }
    }
}

mod by_hand {
    use super::*;

    #[derive(Default)]
    pub(super) struct Scope(pub(super) State);

    const GAIN: Topic<f64> = Topic::new("scope.gain.changed")
        .with_doc("The gain, after each change.")
        .with_type("f64")
        .with_policy(Policy::KeepLatest)
        .retained();

    pub(super) enum Request {
        Capture { samples: u32, label: Option<String> },
        Name(&'static str),
        Upload((usize, Option<u8>, usize)),
        SetGain { gain: f64 },
        Window { kind: u8, window: Window },
        Calibrate { seconds: u32 },
    }

    #[derive(Serialize)]
    #[serde(untagged)]
    pub(super) enum Reply {
        Capture(Trace),
        Name(&'static str),
        Upload((usize, Option<u8>, usize)),
        Window((u8, Window)),
        Calibrate(u32),
        SetGain(()),
    }

    impl Service for Scope {
        type Request = Request;
        type Reply = Reply;
        type Blob = Bytes;

        const METHODS: &'static [MethodInfo] = &[
            MethodInfo::new("scope.capture")
                .with_params(&[
                    ParamInfo::required("samples").with_type("u32"),
                    ParamInfo::optional("label").with_type("Option<String>"),
                ])
                .with_returns("Trace")
                .with_doc("Samples from the start.\n\nAt most 16.")
                .with_deadline(core::time::Duration::from_secs(5)),
            MethodInfo::new("scope.name").with_returns("&'static str"),
            MethodInfo::new("scope.upload")
                .with_params(&[
                    ParamInfo::required("image").with_type("Binary<'_>"),
                    ParamInfo::required("comment").with_type("&str"),
                ])
                .with_returns("(usize, Option<u8>, usize)")
                .with_doc("How many bytes there are, and the first."),
            MethodInfo::new("scope.gain")
                .with_params(&[ParamInfo::optional("gain").with_type("f64")])
                .with_returns("()"),
            MethodInfo::new("scope.window")
                .with_params(&[
                    ParamInfo::required("type").with_type("u8"),
                    ParamInfo::required("window").with_type("Window"),
                ])
                .with_returns("(u8, Window)"),
            MethodInfo::new("scope.calibrate")
                .with_params(&[ParamInfo::optional("seconds").with_type("u32")])
                .with_returns("u32"),
        ];
        const TOPICS: &'static [TopicInfo] = &[GAIN.info()];

        fn decode(&self, call: &Call<'_>) -> Result<Request, RpcError> {
            let params = call.params()?;
            Ok(match call.method.name {
                "scope.capture" => {
                    Request::Capture { samples: params.required(0)?, label: params.optional(1)? }
                }
                "scope.name" => Request::Name("ramp"),
                "scope.upload" => {
                    let Binary(image) = params.required(0)?;
                    let comment: &str = params.required(1)?;
                    Request::Upload((image.len(), image.first().copied(), comment.len()))
                }
                "scope.gain" => Request::SetGain { gain: params.optional(0)?.unwrap_or(1.0) },
                "scope.window" => {
                    Request::Window { kind: params.required(0)?, window: params.required(1)? }
                }
                "scope.calibrate" => {
                    Request::Calibrate { seconds: params.optional(0)?.unwrap_or_default() }
                }
                _ => {
                    return Err(RpcError::new(
                        code::METHOD_NOT_FOUND,
                        "Unregistered method called",
                    ));
                }
            })
        }

        async fn call(&self, cx: Cx<'_, Bytes>, request: Request) -> Result<Reply, RpcError> {
            Ok(match request {
                Request::Capture { samples, label } => {
                    pause().await;
                    Reply::Capture(State::trace(cx, samples, label)?)
                }
                Request::Name(name) => Reply::Name(name),
                Request::Upload(upload) => Reply::Upload(upload),
                Request::SetGain { gain } => {
                    self.0.set(cx, &GAIN, gain);
                    Reply::SetGain(())
                }
                Request::Window { kind, window } => Reply::Window((kind, window)),
                Request::Calibrate { seconds: 0 } => return Err(RpcError::failed(Cold)),
                Request::Calibrate { seconds } => Reply::Calibrate(seconds),
            })
        }
    }
}

/// Is not ready at once.
async fn pause() {
    let mut ready = false;
    core::future::poll_fn(|context| {
        if core::mem::replace(&mut ready, true) {
            return core::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        core::task::Poll::Pending
    })
    .await;
}

fn bytes(bytes: &[u8]) -> Val {
    Val::Bin(bytes.to_vec())
}

/// Calls good and bad.
fn conversation<S: Service<Blob = Bytes> + 'static>(service: S, dialect: Dialect) -> Transcript {
    let mut pair = Pair::new(service);
    let client = pair.connected(dialect);
    let none = || Val::Map(Vec::new());
    for (method, args, kwargs) in [
        ("scope.capture", val!([4, "first"]), none()),
        ("scope.capture", val!([4, null]), none()),
        ("scope.capture", val!([4]), none()),
        ("scope.capture", val!([4]), val!({"label": "by name"})),
        ("scope.capture", val!([]), val!({"label": "both", "samples": 2})),
        ("scope.capture", val!([]), none()),
        ("scope.capture", val!([]), val!({"label": "but no samples"})),
        ("scope.capture", val!([4, "first", true]), none()),
        ("scope.capture", val!([4]), val!({"samples": 4})),
        ("scope.capture", val!([4]), val!({"trigger": 4})),
        ("scope.capture", val!(["four"]), none()),
        ("scope.capture", val!([(-1)]), none()),
        ("scope.capture", val!([4, 5]), none()),
        ("scope.capture", val!([17]), none()),
        ("scope.name", val!([]), none()),
        ("scope.name", val!([1]), none()),
        ("scope.name", val!([]), val!({"of": "it"})),
        ("scope.upload", Val::Seq(vec![bytes(&[9, 8, 7]), val!("café")]), none()),
        ("scope.upload", Val::Seq(vec![val!("no bytes"), val!("")]), none()),
        ("scope.upload", Val::Seq(vec![bytes(&[]), bytes(&[])]), none()),
        ("scope.gain", val!([2.5]), none()),
        ("scope.gain", val!([]), none()),
        ("scope.gain", val!([null]), none()),
        ("scope.gain", val!(["loud"]), none()),
        ("scope.window", val!([1, {"from": 2, "to": 3}]), none()),
        ("scope.window", val!([]), val!({"window": {"from": 2, "to": 3}, "type": 4})),
        ("scope.window", val!([]), val!({"window": {"from": 2}, "type": 4})),
        ("scope.window", val!([300, {"from": 2, "to": 3}]), none()),
        ("scope.calibrate", val!([7]), none()),
        ("scope.calibrate", val!([]), none()),
        ("scope.missing", val!([]), none()),
    ] {
        pair.call_with(client, method, args, kwargs);
        pair.run();
    }
    pair.take_transcript()
}

#[test]
fn both_give_the_same_transcript() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let hand = conversation(by_hand::Scope::default(), dialect).to_string();
        let made = conversation(by_macro::Scope::default(), dialect).to_string();
        // Neither is the same because nothing worked.
        for word in ["\"ramp\"", "-32602", "-32001", "scope.gain.changed", "by name", "too cold"] {
            assert!(hand.contains(word), "{word} in {hand}");
        }
        assert_eq!(hand, made);
    }
}

#[test]
fn both_describe_themselves_alike() {
    assert_eq!(by_hand::Scope::METHODS, by_macro::Scope::METHODS);
    assert_eq!(by_hand::Scope::TOPICS, by_macro::Scope::TOPICS);
}

#[test]
fn other_methods_stay_as_they_are() {
    let mut pair = Pair::new(by_macro::Scope::default());
    let client = pair.connected(Dialect::V2);
    assert_eq!(pair.ask(client, "scope.gain", val!([2.5])), Ok(Val::Null));
    assert_eq!(pair.service().gain(), 2.5);
}
