//! Typed clients, from the definition of the services: the same calls in both dialects.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::{SECRET, with_server, within};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use smol::Timer;
use smol::future::{poll_once, zip};
use std::sync::{Arc, Mutex};
use wslink::wire::Dialect;
use wslink::{Attachment, Audience, Binary, Cx, RpcError, Topic, code};
use wslink_smol::client::{self, Client, Error, Options, Progress};

/// `S` is what stands for the samples: their key where they are attached, then the bytes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Trace<S> {
    rate: f64,
    trigger: Option<f32>,
    samples: S,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Coupling {
    Ac,
    Dc,
}

#[derive(Default)]
struct Scope {
    name: Mutex<String>,
    /// Calls of `scope.arm` that wait.
    armed: Arc<AtomicUsize>,
}

struct Armed(Arc<AtomicUsize>);

impl Drop for Armed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[wslink::service(blob = Vec<u8>, client = ScopeClient)]
impl Scope {
    /// What was captured last.
    #[topic("scope.captured", keep_latest)]
    const CAPTURED: Topic<Trace<Attachment>>;

    /// How often something was captured.
    #[topic("scope.count")]
    const COUNT: Topic<u32>;

    /// Samples, from the trigger on.
    #[rpc("scope.capture")]
    async fn capture(
        &self,
        cx: Cx<'_, Vec<u8>>,
        samples: u32,
        #[rpc(default)] trigger: Option<f32>,
    ) -> Result<Trace<Attachment>, RpcError> {
        if samples > 1000 {
            return Err(RpcError::invalid_param("samples", "more than 1000"));
        }
        let bytes: Vec<u8> = (0..samples).map(|n| n as u8).collect();
        let of = |samples| Trace { rate: 8.0, trigger, samples };
        let captured = of(Attachment::nth(0));
        let published =
            cx.publish_to(Audience::All, &Self::CAPTURED, &captured, core::slice::from_ref(&bytes));
        published.map_err(RpcError::failed)?;
        cx.publish(&Self::COUNT, &1).map_err(RpcError::failed)?;
        Ok(of(cx.attach(bytes)?))
    }

    /// All that can be set, by way of all that can be left out.
    #[rpc("scope.set")]
    fn set(
        &self,
        volts: f64,
        #[rpc(default)] coupling: Option<Coupling>,
        #[rpc(default = 3)] average: u32,
        #[rpc(default)] label: String,
        #[rpc(name = "type")] kind: &str,
        #[rpc(default = Some(0.5))] trigger: Option<f32>,
    ) -> (f64, Option<Coupling>, u32, String, String, Option<f32>) {
        (volts, coupling, average, label, kind.to_owned(), trigger)
    }

    #[rpc("scope.rename")]
    fn rename(&self, name: &str) {
        name.clone_into(&mut self.name.lock().unwrap());
    }

    #[rpc("scope.name")]
    async fn name(&self) -> String {
        self.name.lock().unwrap().clone()
    }

    #[rpc("scope.upload")]
    fn upload(&self, image: Binary<'_>, verify: bool) -> (usize, bool) {
        (image.0.len(), verify)
    }

    #[rpc("scope.download")]
    fn download(&self, cx: Cx<'_, Vec<u8>>, count: usize) -> Result<Attachment, RpcError> {
        Ok(cx.attach(vec![7; count])?)
    }

    #[rpc("scope.fail")]
    async fn fail(&self) -> Result<u32, &'static str> {
        Err("the trigger never came")
    }

    /// Waits for a trigger that never comes.
    #[rpc("scope.arm")]
    async fn arm(&self, cx: Cx<'_, Vec<u8>>) -> u32 {
        cx.progress(1, Some(2));
        self.armed.fetch_add(1, Ordering::SeqCst);
        let _armed = Armed(Arc::clone(&self.armed));
        core::future::pending().await
    }
}

#[derive(Default)]
struct Lamp(AtomicBool);

#[wslink::service(blob = Vec<u8>, client = LampClient)]
impl Lamp {
    /// Whether it was on.
    #[rpc("lamp.switch")]
    fn switch(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::SeqCst)
    }
}

#[derive(Default, wslink::Service)]
struct Instrument {
    scope: Scope,
    lamp: Lamp,
}

/// With both clients of the same connection, in each dialect.
fn with_clients(test: impl AsyncFn(&Instrument, ScopeClient<Client>, LampClient<Client>)) {
    with_server(Instrument::default(), common::options(), |server, address| async move {
        for dialect in [Dialect::V1, Dialect::V2] {
            let options = Options::new(SECRET).without_proxy().with_dialect(dialect);
            let url = format!("ws://{address}/ws");
            let (client, driver) = Client::connect(&url, options).await.unwrap();
            let driver = smol::spawn(driver);
            // Behind this the server is known.
            client.call("wslink.describe").send::<client::Value>().await.unwrap();
            let (scope, lamp) = (ScopeClient::new(client.clone()), LampClient::new(client));
            within(Duration::from_secs(20), test(server.service(), scope, lamp)).await;
            driver.await.unwrap();
        }
    });
}

#[test]
fn answers_have_the_types_of_the_methods() {
    with_clients(async |_, scope, lamp| {
        let trace: Trace<client::Binary> = scope.capture(3).await.unwrap();
        assert_eq!((trace.rate, trace.trigger, &*trace.samples), (8.0, None, &[0, 1, 2][..]));
        let trace = scope.capture(1).trigger(0.25).within(Duration::from_secs(9)).await.unwrap();
        assert_eq!(trace.trigger, Some(0.25));

        let name = String::from("left");
        scope.rename(&name).await.unwrap();
        assert_eq!(scope.name().await.unwrap(), "left");

        assert_eq!(scope.upload(Binary(&[7; 70_000]), true).await.unwrap(), (70_000, true));
        assert_eq!(&*scope.download(70_000).await.unwrap(), &[7; 70_000]);

        // Of a joined service, over the same connection, from another task.
        lamp.switch(true).await.unwrap();
        let task = smol::spawn(async move { lamp.switch(false).await });
        assert_eq!(task.await, Ok(true));
    });
}

#[test]
fn what_is_left_out_is_left_out() {
    with_clients(async |_, scope, _| {
        let all = scope.set(2.0, "edge").await.unwrap();
        assert_eq!(all, (2.0, None, 3, String::new(), "edge".to_owned(), Some(0.5)));
        let call = scope.set(2.0, "edge").coupling(Coupling::Ac).average(5).trigger(None);
        let all = call.label("a".to_owned()).coupling(Coupling::Dc).await.unwrap();
        let expected = (2.0, Some(Coupling::Dc), 5, "a".to_owned(), "edge".to_owned(), None);
        assert_eq!(all, expected);
        let all = scope.set(2.0, "edge").average(4).average(None).await.unwrap();
        assert_eq!(all.2, 3);
    });
}

#[test]
fn errors_are_those_of_the_client() {
    with_clients(async |_, scope, _| {
        let Err(Error::Server(refused)) = scope.capture(1001).await else { panic!("too many") };
        assert_eq!(refused.code, i64::from(code::INVALID_PARAMS));
        let Err(Error::Server(failed)) = scope.fail().await else { panic!("no failure") };
        assert_eq!(failed.exception(), Some("the trigger never came"));
        let late = scope.arm().within(Duration::from_millis(30)).await;
        assert_eq!(late, Err(Error::Deadline));
    });
}

#[test]
fn topics_have_the_types_that_are_published() {
    with_clients(async |_, scope, _| {
        let mut captured = scope.subscribe_captured();
        let mut count = scope.subscribe_count();
        let (call, published) = zip(scope.capture(2).into_future(), captured.next()).await;
        call.unwrap();
        let published: Trace<client::Binary> = published.unwrap().unwrap().value;
        assert_eq!(&*published.samples, &[0, 1]);
        assert_eq!(count.next().await.unwrap().unwrap().value, 1_u32);
    });
}

#[test]
fn a_method_tells_how_far_it_is() {
    with_clients(async |_, scope, _| {
        // Two at a time: each is told of its own.
        let (progress, other) = (Progress::default(), Progress::default());
        let mut call = Box::pin(scope.arm().progress(progress.clone()).into_future());
        let mut download = Box::pin(scope.download(7).progress(other.clone()).into_future().fuse());
        while progress.done() == 0 {
            assert!(poll_once(&mut call).await.is_none());
            _ = poll_once(&mut download).await;
            Timer::after(Duration::from_millis(1)).await;
        }
        assert_eq!((progress.done(), progress.to_do()), (1, 2));
        assert_eq!((other.done(), other.to_do()), (0, 0));
        assert!(other.sent() > 0);
    });
}

#[test]
fn a_call_that_is_dropped_is_dropped_by_the_service() {
    with_clients(async |instrument, scope, _| {
        let armed = || instrument.scope.armed.load(Ordering::SeqCst);
        while armed() != 0 {
            Timer::after(Duration::from_millis(1)).await;
        }
        let mut call = Box::pin(scope.arm().into_future());
        while armed() != 1 {
            assert!(poll_once(&mut call).await.is_none());
            Timer::after(Duration::from_millis(1)).await;
        }
        drop(call);
        while armed() != 0 {
            Timer::after(Duration::from_millis(1)).await;
        }
    });
}
