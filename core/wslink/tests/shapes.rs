//! What may stand in a service's block.

use core::cell::Cell;
use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use wslink::wire::Dialect;
use wslink::{Binary, Cx, NoBlob, PublishError, Service, Topic};
use wslink_testkit::{Pair, Val, val};

/// A scope that depends on a type, a lifetime and a number.
struct Generic<'a, T, const N: usize> {
    label: &'a str,
    value: T,
}

trait Sample {
    type Value: Serialize + for<'de> Deserialize<'de> + Copy + 'static;

    fn sample(&self) -> Self::Value;
}

impl Sample for f64 {
    type Value = f32;

    fn sample(&self) -> f32 {
        *self as f32
    }
}

#[wslink::service]
impl<'a, T: Sample, const N: usize> Generic<'a, T, N>
where
    T: Clone,
{
    #[topic("generic.value")]
    const VALUE: Topic<T::Value>;

    #[rpc("generic.sample")]
    async fn sample(&self) -> T::Value {
        self.value.clone().sample()
    }

    #[rpc("generic.samples")]
    fn samples(&self) -> Vec<T::Value> {
        vec![self.value.sample(); N]
    }

    #[rpc("generic.label")]
    async fn label(&self) -> &'a str {
        self.label
    }

    #[rpc("generic.echo")]
    async fn echo(&self, value: T::Value, also: <T as Sample>::Value) -> (T::Value, T::Value) {
        (value, also)
    }

    #[rpc("generic.publish")]
    async fn publish(&self, cx: Cx<'_>) -> Result<(), PublishError> {
        cx.publish(&Self::VALUE, &self.value.sample())
    }
}

#[test]
fn generic_impls_are_services() {
    let service = Generic::<_, 3> { label: "leaked", value: 0.5_f64 };
    let mut pair = Pair::new(service);
    let client = pair.connected(Dialect::V1);
    assert_eq!(pair.ask(client, "generic.sample", val!([])), Ok(val!(0.5)));
    assert_eq!(pair.ask(client, "generic.samples", val!([])), Ok(val!([0.5, 0.5, 0.5])));
    assert_eq!(pair.ask(client, "generic.label", val!([])), Ok(val!("leaked")));
    assert_eq!(pair.ask(client, "generic.echo", val!([1.5, 2.5])), Ok(val!([1.5, 2.5])));
    assert_eq!(pair.ask(client, "generic.publish", val!([])), Ok(val!(null)));
    assert!(pair.transcript().to_string().contains("publish:generic.value"));
    assert_eq!(Generic::<f64, 1>::TOPICS[0].ty, "T::Value");
}

/// All kinds of arguments and results.
struct Kinds;

mod aliased {
    pub(super) type Result = core::result::Result<u8, String>;
}

#[wslink::service]
impl Kinds {
    const OWN: u32 = 7;

    #[rpc("kinds.borrowed")]
    fn borrowed(&self, text: &str, bytes: &[u8], maybe: Option<&str>) -> (String, usize, bool) {
        (text.to_owned(), bytes.len(), maybe.is_some())
    }

    #[rpc("kinds.cow")]
    fn cow(&self, text: Cow<'_, str>, mut count: u32) -> String {
        count += 1;
        text.repeat(count as usize)
    }

    #[rpc("kinds.map")]
    async fn map(&self, map: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
        map
    }

    #[rpc("kinds.raw")]
    fn raw(&self, r#type: u8) -> u8 {
        r#type
    }

    #[rpc("kinds.defaults")]
    async fn defaults(
        &self,
        plain: Option<u32>,
        #[rpc(default)] zero: u32,
        #[rpc(default = Self::OWN)] own: u32,
        #[rpc(default = Some(1))] some: Option<u32>,
    ) -> (Option<u32>, u32, u32, Option<u32>) {
        (plain, zero, own, some)
    }

    #[rpc("kinds.many")]
    fn many(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> u8 {
        a + b + c + d + e + f + g + h
    }

    #[rpc("kinds.parse")]
    fn parse(&self, text: &str) -> Result<i32, core::num::ParseIntError> {
        text.parse()
    }

    #[rpc("kinds.aliased")]
    fn aliased(&self, fail: bool) -> aliased::Result {
        if fail { Err("failed".to_owned()) } else { Ok(1) }
    }

    #[rpc("kinds.nothing")]
    fn nothing(&self) {}

    #[rpc("kinds.checked")]
    fn checked(&self, digit: char) -> Result<u32, Box<dyn core::error::Error>> {
        let digit = digit.to_digit(10).ok_or("no digit")?;
        Ok(digit)
    }

    /// Names of the trait's own are free to use.
    #[rpc("kinds.call")]
    async fn call(&self, request: u32) -> u32 {
        self.decode(request)
    }

    fn decode(&self, request: u32) -> u32 {
        request + 1
    }
}

#[test]
fn arguments_and_results_are_of_many_kinds() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let mut pair = Pair::new(Kinds);
        let client = pair.connected(dialect);
        let bytes = Val::Bin(vec![1, 2, 3]);
        let mut ask = |method: &str, args: Val| pair.ask(client, method, args);
        assert_eq!(ask("kinds.borrowed", val!(["a", (bytes), "b"])), Ok(val!(["a", 3, true])),);
        assert_eq!(ask("kinds.cow", val!(["é", 2])), Ok(val!("ééé")));
        assert_eq!(ask("kinds.map", val!([{"a": [1, 2]}])), Ok(val!({"a": [1, 2]})));
        assert_eq!(ask("kinds.raw", val!([5])), Ok(val!(5)));
        assert_eq!(ask("kinds.defaults", val!([])), Ok(val!([null, 0, 7, 1])));
        assert_eq!(
            ask("kinds.defaults", val!([null, null, null, null])),
            Ok(val!([null, 0, 7, null])),
        );
        assert_eq!(ask("kinds.defaults", val!([1, 2, 3, 4])), Ok(val!([1, 2, 3, 4])));
        assert_eq!(ask("kinds.many", val!([1, 1, 1, 1, 1, 1, 1, 1])), Ok(val!(8)));
        assert_eq!(ask("kinds.parse", val!(["-3"])), Ok(val!(-3)));
        let failure = ask("kinds.parse", val!(["x"])).unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (-32001, "Exception raised"));
        assert_eq!(ask("kinds.aliased", val!([false])), Ok(val!(1)));
        assert_eq!(ask("kinds.aliased", val!([true])).unwrap_err().code, -32001);
        assert_eq!(ask("kinds.nothing", val!([])), Ok(val!(null)));
        assert_eq!(ask("kinds.checked", val!(["7"])), Ok(val!(7)));
        assert_eq!(ask("kinds.checked", val!(["x"])).unwrap_err().code, -32001);
        assert_eq!(ask("kinds.call", val!([1])), Ok(val!(2)));
    }
    let raw = Kinds::METHODS.iter().find(|method| method.name == "kinds.raw").unwrap();
    assert_eq!(raw.params[0].name, "type");
}

/// Nothing at all: clients only listen.
struct Silent;

#[wslink::service]
impl Silent {
    #[topic("silent.tick", drop_oldest(8))]
    const TICK: Topic<()>;
}

#[test]
fn a_service_may_have_nothing_to_call() {
    let mut pair = Pair::new(Silent);
    let client = pair.connected(Dialect::V2);
    assert_eq!(pair.ask(client, "silent.tick", val!([])).unwrap_err().code, -32601);
    assert_eq!(Silent::TOPICS, [Silent::TICK.info()]);
}

/// A service may be seen farther than the types of its methods.
pub mod seen {
    use serde::{Deserialize, Serialize};

    #[derive(Debug)]
    /// Seen from outside.
    pub struct Seen;

    #[derive(Debug, Deserialize, Serialize)]
    struct Unseen(u8);

    #[wslink::service]
    impl Seen {
        #[rpc("seen.echo")]
        async fn echo(&self, value: Unseen) -> Unseen {
            value
        }
    }
}

/// Counts with atoms, so its futures may go from thread to thread.
#[derive(Default)]
struct Shared(AtomicU32);

#[wslink::service]
impl Shared {
    #[rpc("count")]
    async fn count(&self, cx: Cx<'_>, by: u32) -> u32 {
        core::future::ready(()).await;
        let _ = cx.peer();
        self.0.fetch_add(by, Ordering::Relaxed) + by
    }
}

/// Counts in memory of one thread, as the peripherals of a device are.
#[derive(Default)]
struct Local(Rc<Cell<u32>>);

#[wslink::service]
impl Local {
    #[rpc("count")]
    async fn count(&self, by: u32) -> u32 {
        let counter = self.0.clone();
        core::future::ready(()).await;
        counter.set(counter.get() + by);
        counter.get()
    }

    /// What it gives back never leaves the thread.
    #[rpc("clone")]
    async fn share(&self, #[rpc(default)] by: NotSend) -> NotSend {
        by
    }
}

#[derive(Default, Deserialize, Serialize)]
struct NotSend {
    #[serde(skip)]
    _counter: Rc<()>,
}

#[derive(wslink::Service)]
struct Both {
    shared: Shared,
    kinds: Kinds,
}

/// As an executor with many threads asks.
fn spawned<F: Future + Send>(future: F) -> F {
    future
}

fn polled<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn futures_are_send_when_the_service_is() {
    fn ask<S: Service<Blob: Send> + 'static>(service: S) -> Result<Val, wslink_testkit::Failure> {
        let mut pair = Pair::new(service);
        let client = pair.connected(Dialect::V1);
        pair.ask(client, "count", val!([2]))
    }

    // `Send` is seen through the trait only for a type that is known, as `main` knows its own.
    fn is_send(service: &Shared, cx: Cx<'_, NoBlob>, request: <Shared as Service>::Request) {
        let reply = polled(spawned(Service::call(service, cx, request)));
        fn sent<T: Send>(_: T) {}
        sent(reply);
    }
    fn is_send_too(service: &Both, cx: Cx<'_, NoBlob>, request: <Both as Service>::Request) {
        let _ = polled(spawned(Service::call(service, cx, request)));
    }
    let _ = (is_send, is_send_too);

    assert_eq!(ask(Shared::default()), Ok(val!(2)));
    assert_eq!(ask(Local::default()), Ok(val!(2)));
    assert_eq!(seen::Seen::METHODS[0].params[0].ty, "Unseen");
    assert_eq!(ask(Both { shared: Shared::default(), kinds: Kinds }), Ok(val!(2)));
}

/// Bytes are one type in both dialects, owned ones too.
struct Upload;

#[wslink::service]
impl Upload {
    #[rpc("upload.length")]
    fn length(&self, #[rpc(default = Binary(b"none"))] image: Binary<'_>) -> usize {
        image.0.len()
    }

    #[rpc("upload.owned")]
    async fn owned(&self, image: serde_bytes::ByteBuf) -> usize {
        image.len()
    }
}

#[test]
fn bytes_come_in_by_one_type() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let mut pair = Pair::new(Upload);
        let client = pair.connected(dialect);
        let image = || Val::Bin(vec![0; 70_000]);
        assert_eq!(pair.ask(client, "upload.length", val!([(image())])), Ok(val!(70_000)));
        assert_eq!(pair.ask(client, "upload.owned", val!([(image())])), Ok(val!(70_000)));
        assert_eq!(pair.ask(client, "upload.length", val!([])), Ok(val!(4)));
        assert_eq!(pair.ask(client, "upload.owned", val!(["text"])).unwrap_err().code, -32602);
    }
}
