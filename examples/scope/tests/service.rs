//! The scope behind a connection, without a transport: what clients send and are answered.
#![expect(clippy::unwrap_used, reason = "test code")]

use core::convert::Infallible;
use core::future::{pending, ready};
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use futures_lite::future::{block_on, or};
use std::sync::Mutex;
use wslink_core::wire::{Dialect, Writer};
use wslink_core::{
    Api, Attachment, Audience, Blob, Buffers, Config, Connection, Cx, Encode, Entropy, Event,
    Fixed, Frame, Host, Hub, HubBuffers, HubLimits, Instant, LimitExceeded, PeerId, Publications,
    Publish, PublishError, RpcError, Service, UploadSource, Verdict,
};
use wslink_scope::{Calibration, Capture, Reply, Request, Scope, Settings, Signal, Timer};

type Device = Fixed<[u8; 4096], Signal, 8>;

/// A server's side that a client of dialect 1.x said hello to.
struct Bench<T> {
    scope: Scope<T>,
    connection: Connection<Device>,
    hub: Hub<Device>,
    peer: PeerId,
    desk: Desk,
}

/// Collects what a call attaches and publishes.
#[derive(Default)]
struct Desk {
    blobs: Mutex<Vec<Signal>>,
    published: Mutex<Vec<(String, Vec<Signal>)>>,
    /// The pieces in which an upload comes.
    image: Mutex<Vec<&'static [u8]>>,
}

impl UploadSource for Desk {
    fn poll_read(&self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<usize> {
        let mut image = self.image.lock().unwrap();
        if image.is_empty() {
            return Poll::Ready(0);
        }
        let piece = image.remove(0);
        into[..piece.len()].copy_from_slice(piece);
        Poll::Ready(piece.len())
    }

    fn upload_len(&self) -> Option<u32> {
        None
    }
}

impl Publish<Signal> for Desk {
    fn publish(
        &self,
        topic: &'static str,
        audience: Audience,
        blobs: &[Signal],
        encode: &Encode<'_>,
    ) -> Result<(), PublishError> {
        assert_eq!(audience, Audience::All);
        let text = written(blobs, encode);
        self.published.lock().unwrap().push((format!("{topic} {text}"), blobs.to_vec()));
        Ok(())
    }
}

impl Host<Signal> for Desk {
    fn attach(&self, blob: Signal) -> Result<Attachment, LimitExceeded> {
        let mut blobs = self.blobs.lock().unwrap();
        blobs.push(blob);
        Ok(Attachment::nth(blobs.len() as u32 - 1))
    }

    fn upload(&self) -> Option<&dyn UploadSource> {
        Some(self)
    }
}

fn written(blobs: &[Signal], encode: &Encode<'_>) -> String {
    let mut buffer = [0; 512];
    let lens = |index| blobs.get(index as usize).map(Blob::len);
    let mut writer = Writer::new(Dialect::V1, &mut buffer, 0, &lens);
    encode(&mut writer).unwrap();
    let len = writer.finish().unwrap().text_len as usize;
    String::from_utf8(buffer[..len].to_vec()).unwrap()
}

impl<T: Timer> Bench<T> {
    fn new(timer: T) -> Self {
        let buffers = || Buffers { receive: [0; 4096], transmit: [0; 4096] };
        let mut hub = Hub::<Device>::new(
            HubLimits::device(),
            Scope::<T>::TOPICS,
            Entropy([5; 16]),
            HubBuffers { publications: [0; 4096], retained: [0; 4096] },
        )
        .unwrap();
        let peer = hub.next_peer();
        let mut connection = Connection::accept(
            Config::device(),
            Api::of::<Scope<T>>(),
            buffers(),
            peer,
            Entropy([7; 16]),
            Instant::default(),
        )
        .unwrap();
        let mut hello = *br#"{"id": "system:c0:0", "method": "wslink.hello", "args": [{}]}"#;
        let hello = Frame::Text { fin: true, payload: &mut hello };
        let event = connection.handle_frame(Instant::default(), hello).unwrap();
        assert!(matches!(event, Some(Event::Hello(_))), "{event:?}");
        connection.authorize(&mut hub, Verdict::Accept).unwrap();
        Self { scope: Scope::new(timer), connection, hub, peer, desk: Desk::default() }
    }

    /// Decodes a call of `method` with what stands in JSON behind it: `"args": []`.
    fn decode(&mut self, method: &str, arguments: &str) -> Result<Request, RpcError> {
        let mut text = format!(r#"{{"id": "rpc:c:1", "method": "{method}", {arguments}}}"#);
        let mut text = core::mem::take(&mut text).into_bytes();
        let frame = Frame::Text { fin: true, payload: &mut text };
        let (id, request) = match self.connection.handle_frame(Instant::default(), frame) {
            Ok(Some(Event::Call(call))) => (call.id, self.scope.decode(&call)),
            other => panic!("{method} {arguments}: {other:?}"),
        };
        self.connection.fail(id, &RpcError::failed("not run")).unwrap();
        // Nobody reads what is sent, but its place is free again.
        let now = Instant::default();
        while let Some(frame) = self.connection.poll_transmit(now, &self.hub) {
            let len = frame.len - frame.taken;
            self.connection.advance(now, len).unwrap();
        }
        request
    }

    fn call(&mut self, method: &str, arguments: &str) -> Result<Reply, RpcError> {
        let request = self.decode(method, arguments)?;
        block_on(self.scope.call(Cx::new(self.peer, None, &self.desk), request))
    }

    /// What a client reads in the answer.
    fn answer(&mut self, method: &str, arguments: &str) -> String {
        let reply = self.call(method, arguments).unwrap();
        written(&self.desk.blobs.lock().unwrap(), &|writer| writer.value(&reply))
    }

    fn refusal(&mut self, method: &str, arguments: &str) -> String {
        let error = self.call(method, arguments).unwrap_err();
        assert_eq!(error.code(), -32602, "{error}");
        error.message().to_owned()
    }

    fn published(&self) -> Vec<String> {
        let mut published = self.desk.published.lock().unwrap();
        published.drain(..).map(|(text, _)| text).collect()
    }
}

/// Time flies, but for the period of [`Scope::run`] after a few rounds.
#[derive(Default)]
struct Flies {
    rounds: AtomicU32,
}

impl Timer for Flies {
    async fn after(&self, _: Duration) {
        if self.rounds.fetch_add(1, Ordering::SeqCst) == 3 {
            pending::<()>().await;
        }
    }
}

/// Remembers how long it was asked to wait.
#[derive(Default)]
struct Counts(Mutex<Duration>);

impl Timer for &Counts {
    fn after(&self, duration: Duration) -> impl Future<Output = ()> {
        *self.0.lock().unwrap() += duration;
        ready(())
    }
}

#[test]
fn captures_by_place_and_by_name() {
    let mut bench = Bench::new(Flies::default());
    let plain = Request::Capture { samples: 300, trigger: None };
    for arguments in [
        r#""args": [300]"#,
        r#""args": [300, null]"#,
        r#""kwargs": {"samples": 300}"#,
        r#""args": [], "kwargs": {"trigger": null, "samples": 300}"#,
    ] {
        assert_eq!(bench.decode("scope.capture", arguments).unwrap(), plain, "{arguments}");
    }
    for arguments in [r#""args": [1, 1]"#, r#""args": [1], "kwargs": {"trigger": 1.0}"#] {
        let request = bench.decode("scope.capture", arguments).unwrap();
        assert_eq!(request, Request::Capture { samples: 1, trigger: Some(1.0) });
    }
    for (arguments, refusal) in [
        (r#""args": []"#, "samples: missing"),
        (r#""args": [0]"#, "samples: not in 1 to 2000000"),
        (r#""args": [2000001]"#, "samples: not in 1 to 2000000"),
        (r#""args": [1], "kwargs": {"samples": 1}"#, "samples: given twice"),
        (r#""args": [1], "kwargs": {"color": 1}"#, "unknown parameter `color`"),
        (r#""args": [1, 2, 3]"#, "3 positional arguments, at most 2 expected"),
    ] {
        let expected = format!("Invalid params: {refusal}");
        assert_eq!(bench.refusal("scope.capture", arguments), expected);
    }
    for arguments in [r#""args": [-1]"#, r#""args": [1.5]"#, r#""args": ["many"]"#] {
        assert!(bench.refusal("scope.capture", arguments).contains("samples: "));
    }
    assert!(bench.refusal("scope.capture", r#""args": [1, "high"]"#).contains("trigger: "));
}

#[test]
fn a_capture_is_attached() {
    let mut bench = Bench::new(Flies::default());
    let answer = bench.answer("scope.capture", r#""args": [2000000]"#);
    assert_eq!(answer, r#"{"rate":100000.0,"trigger":null,"samples":"wslink_bin0"}"#);
    assert_eq!(bench.desk.blobs.lock().unwrap()[0].len(), 8_000_000);

    let Reply::Capture(Capture { trigger: Some(index), samples, .. }) =
        bench.call("scope.capture", r#""args": [100], "kwargs": {"trigger": 0.5}"#).unwrap()
    else {
        panic!("no trigger");
    };
    let signal = bench.desk.blobs.lock().unwrap()[samples.index() as usize];
    assert_eq!((signal.len(), index), (400, 10));
    assert!((signal.sample(index) - 0.5).abs() < 0.1, "{}", signal.sample(index));

    let error = bench.call("scope.capture", r#""args": [100, 2]"#).unwrap_err();
    assert_eq!(error.code(), -32001);
}

#[test]
fn settings_change_all_or_none() {
    let mut bench = Bench::new(Flies::default());
    let none = r#""args": []"#;
    let before = r#"{"timebase":0.0005,"amplitude":1.0,"frequency":1000.0,"offset":0.0,"waveform":"sine","noise":0.02}"#;
    assert_eq!(bench.answer("scope.settings.get", none), before);
    for (arguments, refusal) in [
        (r#"{"timebase": 1e-6}"#, "timebase: not in 0.00001 to 1 s"),
        (r#"{"amplitude": 0}"#, "amplitude: not in 0.01 to 10 V"),
        (r#"{"frequency": 1000001}"#, "frequency: not in 0.1 to 1000000 Hz"),
        (r#"{"frequency": NaN}"#, "frequency: not in 0.1 to 1000000 Hz"),
        (r#"{"offset": -Infinity}"#, "offset: not in -10 to 10 V"),
        (r#"{"offset": 1, "noise": -0.1}"#, "noise: not in 0 to 10 V"),
        (
            r#"{"offset": 1, "waveform": "saw"}"#,
            "waveform: not one of sine, square, triangle, noise",
        ),
    ] {
        let arguments = format!(r#""kwargs": {arguments}"#);
        let expected = format!("Invalid params: {refusal}");
        assert_eq!(bench.refusal("scope.settings.set", &arguments), expected);
    }
    assert_eq!(bench.scope.settings(), Settings::default());
    assert_eq!(bench.published(), [""; 0]);

    let kwargs =
        r#""args": [1], "kwargs": {"waveform": "square", "frequency": 0.1, "offset": -10}"#;
    let after = r#"{"timebase":1.0,"amplitude":1.0,"frequency":0.1,"offset":-10.0,"waveform":"square","noise":0.02}"#;
    assert_eq!(bench.answer("scope.settings.set", kwargs), after);
    assert_eq!(bench.answer("scope.settings.get", none), after);
    assert_eq!(bench.published(), [format!("scope.settings {after}")]);
    assert_eq!(bench.answer("scope.settings.set", none), after);
}

#[test]
fn an_image_is_read_piece_by_piece() {
    let mut bench = Bench::new(Flies::default());
    let text = r#"{"method": "wslink.binary.attachment", "args": ["wslink_bin1"]}"#;
    let header = Frame::Text { fin: true, payload: &mut text.as_bytes().to_vec() };
    assert!(bench.connection.handle_frame(Instant::default(), header).unwrap().is_none());
    let bytes = Frame::Binary { fin: true, payload: b"abc" };
    assert!(bench.connection.handle_frame(Instant::default(), bytes).unwrap().is_none());
    *bench.desk.image.lock().unwrap() = vec![&b"ab"[..], b"c"];
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        bench.answer("scope.firmware_update", r#""args": ["wslink_bin1"]"#),
        format!(r#"{{"length":3,"digest":"{digest}"}}"#)
    );
}

#[test]
fn calibration_takes_its_time() {
    let counts = Counts::default();
    let mut bench = Bench::new(&counts);
    for (arguments, millis) in
        [(r#""args": []"#, 1000), (r#""args": [2]"#, 2000), (r#""kwargs": {"seconds": 0.25}"#, 250)]
    {
        *counts.0.lock().unwrap() = Duration::ZERO;
        let reply = bench.call("scope.calibrate", arguments).unwrap();
        assert_eq!(*counts.0.lock().unwrap(), Duration::from_millis(millis));
        let Reply::Calibration(Calibration { offset, gain }) = reply else {
            panic!("{reply:?}");
        };
        assert!(offset.abs() < 0.01 && (gain - 1.0).abs() < 0.05, "{reply:?}");
    }
    for arguments in [r#""args": [-1]"#, r#""args": [60.5]"#, r#""args": [1e300]"#] {
        let refusal = bench.refusal("scope.calibrate", arguments);
        assert_eq!(refusal, "Invalid params: seconds: not in 0 to 60 s");
    }
}

#[test]
fn traces_run_and_fit_together() {
    let bench = Bench::new(Flies::default());
    let publications = Publications::new(&bench.desk);
    let run = async {
        let end: Result<Infallible, _> = bench.scope.run(publications, Duration::ZERO).await;
        end.map(drop)
    };
    block_on(or(run, ready(Ok(())))).unwrap();

    let published = bench.desk.published.lock().unwrap();
    for (n, (text, blobs)) in published.iter().enumerate() {
        let value = format!(r#"{{"n":{n},"rate":100000.0,"samples":"wslink_bin0"}}"#);
        assert_eq!(*text, format!("scope.trace {value}"));
        assert_eq!((blobs.len(), blobs[0].len()), (1, 2000));
    }
    assert_eq!(published.len(), 3);
}
