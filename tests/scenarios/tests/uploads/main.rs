//! Uploads that are read as they come, by a server whose memory they do not fit.

mod cuts;

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};
use wslink_core::wire::Dialect;
use wslink_core::{
    Call, CloseCode, Config, Cx, Limits, MethodInfo, NoBlob, ParamInfo, RpcError, Service,
    TopicInfo, Upload,
};
use wslink_testkit::{Client, Clock, Cut, Frame, Options, Pair, Val, val};

macro_rules! snapshot {
    ($transcript:expr) => {
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!($transcript);
        })
    };
}

/// Takes uploads by one method, or by two.
struct Store<const TAKERS: usize> {
    clock: Clock,
    mode: Mode,
    /// How many uploads were begun and not ended.
    open: Arc<Mutex<Vec<String>>>,
}

/// How an upload is read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// To its end, so many bytes at a time.
    By(usize),
    /// To its end, 100 bytes each second.
    Slowly,
    /// The first so many bytes only; then it is answered.
    First(usize),
    /// Not at all; then it fails.
    Fail,
    Never,
}

const IMAGE: [ParamInfo; 1] = [ParamInfo::required("image")];
const PUT: MethodInfo = MethodInfo::new("store.put").with_upload(&IMAGE);
const ECHO: MethodInfo = MethodInfo::new("store.echo");

impl<const TAKERS: usize> Service for Store<TAKERS> {
    type Request = Option<String>;
    type Reply = String;
    type Blob = NoBlob;
    const METHODS: &'static [MethodInfo] = match TAKERS {
        1 => &[ECHO, PUT],
        _ => &[ECHO, PUT, MethodInfo::new("store.add").with_upload(&IMAGE)],
    };
    const TOPICS: &'static [TopicInfo] = &[];

    fn decode(&self, call: &Call<'_>) -> Result<Option<String>, RpcError> {
        if call.method.upload {
            assert_eq!(call.args().count() + call.kwargs().count(), 0);
            return Ok(None);
        }
        Ok(Some(call.args().map(|arg| arg.as_str().unwrap_or("?").to_owned()).collect()))
    }

    async fn call(&self, cx: Cx<'_, NoBlob>, echo: Option<String>) -> Result<String, RpcError> {
        if let Some(echo) = echo {
            assert!(cx.upload().is_err(), "there is none");
            return Ok(echo);
        }
        let mut upload = cx.upload()?;
        let told = Told { open: self.open.clone(), read: 0, ended: false };
        self.read(&mut upload, told).await
    }
}

impl<const TAKERS: usize> Store<TAKERS> {
    async fn read(&self, upload: &mut Upload<'_>, mut told: Told) -> Result<String, RpcError> {
        let (most, by) = match self.mode {
            Mode::By(by) => (usize::MAX, by),
            Mode::Slowly => (usize::MAX, 100),
            Mode::First(most) => (most, 7),
            Mode::Fail => return Err(RpcError::failed("not today")),
            Mode::Never => core::future::pending().await,
        };
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; by]);
        while bytes.len() < most {
            let count = upload.read(&mut buffer).await;
            if count == 0 {
                assert_eq!(upload.read(&mut buffer).await, 0, "it stays at its end");
                assert!(upload.len().is_none_or(|len| len == bytes.len() as u64));
                break;
            }
            bytes.extend_from_slice(&buffer[..count]);
            told.read = bytes.len();
            if self.mode == Mode::Slowly {
                self.clock.sleep(Duration::from_secs(1)).await;
            }
        }
        told.ended = true;
        Ok(Val::Bin(bytes).to_string())
    }
}

/// Tells of an upload that broke off, and behind how many bytes.
struct Told {
    open: Arc<Mutex<Vec<String>>>,
    read: usize,
    ended: bool,
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.ended {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.push(format!("broke off behind {} bytes", self.read));
        }
    }
}

type Bench = Pair<Store<1>>;

fn store<const TAKERS: usize>(mode: Mode, change: impl FnOnce(&mut Config)) -> Pair<Store<TAKERS>> {
    let mut options = Options::device();
    change(&mut options.config);
    let clock = Clock::new();
    Pair::with(Store { clock: clock.clone(), mode, open: Arc::default() }, clock, options)
}

/// Bytes that are the same in each run.
fn fill(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn image(len: usize) -> Val {
    Val::Bin(fill(len))
}

/// Runs a scenario in both dialects, on a device that has said hello.
fn both<const TAKERS: usize>(
    mode: Mode,
    change: impl Fn(&mut Config),
    scenario: impl Fn(&mut Pair<Store<TAKERS>>, Client),
) -> String {
    let mut text = String::new();
    for (dialect, name) in wslink_scenarios::DIALECTS {
        text += &format!("==== {name}\n{}", only(dialect, mode, &change, &scenario));
    }
    text
}

fn only<const TAKERS: usize>(
    dialect: Dialect,
    mode: Mode,
    change: impl Fn(&mut Config),
    scenario: impl Fn(&mut Pair<Store<TAKERS>>, Client),
) -> String {
    let mut pair = store(mode, change);
    let client = pair.connected(dialect);
    _ = pair.take_transcript();
    scenario(&mut pair, client);
    pair.run();
    let mut text = pair.transcript().to_string();
    for line in pair.service().open.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        text += &format!("         {line}\n");
    }
    text
}

/// Sends a call that is answered, to see that the connection still is.
fn alive<const TAKERS: usize>(pair: &mut Pair<Store<TAKERS>>, client: Client) {
    pair.request(client, val!({"id": "alive", "method": "store.echo", "args": ["yes"]}));
    pair.run();
}

fn put<const TAKERS: usize>(pair: &mut Pair<Store<TAKERS>>, client: Client, len: usize) {
    let args = val!([(image(len))]);
    pair.request(client, val!({"id": "up", "method": "store.put", "args": args, "kwargs": {}}));
    pair.run();
}

fn usual(_: &mut Config) {}

fn limits(change: impl Fn(&mut Limits)) -> impl Fn(&mut Config) {
    move |config| change(&mut config.limits)
}

/// The frames of a 2.x message in chunks of this length.
fn chunks(id: u32, message: &[u8], len: usize) -> Vec<Frame> {
    let parts = message.chunks(len).enumerate();
    parts
        .map(|(nth, part)| Frame::chunk(id, (nth * len) as u32, message.len() as u32, part))
        .collect()
}

#[test]
fn larger_than_all_memory() {
    snapshot!(both(Mode::By(300), usual, |pair: &mut Bench, client| {
        put(pair, client, 5000);
        alive(pair, client);
        pair.note("by name");
        let kwargs = val!({"image": (image(3000))});
        pair.call_with(client, "store.put", val!([]), kwargs);
        pair.run();
        alive(pair, client);
    }));
}

#[test]
fn small_ones() {
    snapshot!(both(Mode::By(300), usual, |pair: &mut Bench, client| {
        for len in [0, 1, 700] {
            put(pair, client, len);
        }
        let kwargs = val!({"image": (image(3)), "wslink_token": 7});
        pair.call_with(client, "store.put", val!([]), kwargs);
        alive(pair, client);
    }));
}

#[test]
fn arguments_that_are_none() {
    snapshot!(both(Mode::By(300), usual, |pair: &mut Bench, client| {
        pair.call(client, "store.put", val!([]));
        pair.call(client, "store.put", val!(["text"]));
        pair.run();
        pair.call(client, "store.put", val!([(image(3)), 2]));
        pair.call_with(client, "store.put", val!([(image(3))]), val!({"fast": true}));
        pair.run();
        pair.call_with(client, "store.put", val!([]), val!({"picture": (image(3))}));
        pair.run();
        pair.note("and large ones");
        pair.call(client, "store.put", val!([(image(3000)), 2]));
        pair.run();
        pair.call_with(client, "store.put", val!([(image(3000))]), val!({"fast": true}));
        pair.run();
        pair.call_with(client, "store.put", val!([]), val!({"image": (image(3000)), "fast": 1}));
        pair.run();
        alive(pair, client);
    }));
}

#[test]
fn the_connection_ends_in_the_middle() {
    snapshot!(both(Mode::By(300), usual, |pair: &mut Bench, client| {
        begin(pair, client, 5000, 2);
        pair.eof(client);
    }));
}

#[test]
fn the_server_closes_in_the_middle() {
    // The client does not answer, so the call still runs while it closes, and there are bytes; but
    // it reads no more of them than its pipe holds, for nobody waits for what becomes of it.
    snapshot!(both(Mode::Slowly, usual, |pair: &mut Bench, client| {
        _ = begin(pair, client, 5000, 2);
        pair.advance(Duration::from_secs(3));
        pair.play_dead(client);
        pair.close(client, CloseCode::GoingAway, "enough");
        pair.advance(Duration::from_secs(20));
    }));
}

/// Sends the first `count` frames of an upload, in 1.x fragments behind the header.
fn begin<const TAKERS: usize>(
    pair: &mut Pair<Store<TAKERS>>,
    client: Client,
    len: usize,
    count: usize,
) -> Vec<Frame> {
    let message = val!({"id": "up", "method": "store.put", "args": [(image(len))]});
    let mut frames = match pair.dialect(client) {
        Dialect::V1 => {
            pair.announce(client, &["wslink_bin1"]);
            let bytes = fill(len);
            let mut frames: Vec<_> =
                bytes.chunks(1000).map(|part| Frame::continuation(part).more()).collect();
            frames[0] = Frame::binary(&bytes[..1000]).more();
            frames.last_mut().expect("some").fin = true;
            let call = val!({"id": "up", "method": "store.put", "args": ["wslink_bin1"]});
            frames.push(Frame::text(call.to_json()));
            frames
        }
        _ => chunks(9, &message.to_msgpack(), 1000),
    };
    let rest = frames.split_off(count);
    for frame in frames {
        pair.send(client, frame);
    }
    pair.run();
    rest
}

#[test]
fn the_client_stalls() {
    // It moves once after 50 s, which begins the time anew.
    snapshot!(both(Mode::By(300), usual, |pair: &mut Bench, client| {
        let rest = begin(pair, client, 5000, 2);
        pair.advance(Duration::from_secs(50));
        pair.send(client, rest[0].clone());
        pair.advance(Duration::from_secs(50));
        assert!(pair.connection(client).closed().is_none());
        pair.advance(Duration::from_secs(20));
    }));
}

#[test]
fn the_call_never_follows() {
    snapshot!(only(Dialect::V1, Mode::By(300), usual, |pair: &mut Bench, client| {
        let _call = begin(pair, client, 3000, 3);
        pair.advance(Duration::from_secs(70));
    }));
}

#[test]
fn the_service_is_slow() {
    // 5000 bytes take 50 s or more, in which no deadline of the client passes.
    snapshot!(both(Mode::Slowly, usual, |pair: &mut Bench, client| {
        put(pair, client, 5000);
        pair.advance(Duration::from_secs(150));
        alive(pair, client);
    }));
}

#[test]
fn the_deadline_of_its_call_holds() {
    let deadline = |config: &mut Config| config.deadlines.call = Some(Duration::from_secs(9));
    snapshot!(both(Mode::Slowly, deadline, |pair: &mut Bench, client| {
        put(pair, client, 5000);
        pair.advance(Duration::from_secs(12));
        alive(pair, client);
    }));
}

#[test]
fn an_answer_before_its_end() {
    for mode in [Mode::First(500), Mode::Fail] {
        insta::with_settings!({ snapshot_suffix => format!("{mode:?}") }, {
            snapshot!(both(mode, usual, |pair: &mut Bench, client| {
                put(pair, client, 5000);
                alive(pair, client);
                put(pair, client, 10);
                alive(pair, client);
            }));
        });
    }
}

#[test]
fn cancelled() {
    snapshot!(both(Mode::Never, usual, |pair: &mut Bench, client| {
        let kwargs = val!({"wslink_token": 7, "image": (image(700))});
        pair.call_with(client, "store.put", val!([]), kwargs);
        pair.run();
        pair.note("nothing is read while bytes wait for the service");
        pair.call(client, "wslink.cancel", val!([7]));
        pair.advance(Duration::from_secs(1));
    }));
}

#[test]
fn cancelled_between_two_chunks() {
    snapshot!(only(Dialect::V2, Mode::By(300), usual, |pair: &mut Bench, client| {
        let message = val!({
            "id": "up", "method": "store.put",
            "kwargs": {"wslink_token": 7, "image": (image(5000))}
        });
        let frames = chunks(9, &message.to_msgpack(), 1000);
        for frame in &frames[..2] {
            pair.send(client, frame.clone());
        }
        pair.call(client, "wslink.cancel", val!([7]));
        pair.run();
        for frame in &frames[2..] {
            pair.send(client, frame.clone());
        }
        alive(pair, client);
    }));
}

#[test]
fn small_calls_in_between() {
    snapshot!(only(Dialect::V2, Mode::By(300), usual, |pair: &mut Bench, client| {
        let rest = begin(pair, client, 5000, 2);
        alive(pair, client);
        for frame in rest {
            pair.send(client, frame);
            alive(pair, client);
        }
    }));
}

#[test]
fn calls_in_parts_in_between() {
    // A part of such a call is kept, and what is kept is missing to the upload.
    let mut text = String::new();
    for len in [900, 1012] {
        text += &only(Dialect::V2, Mode::By(300), usual, |pair: &mut Bench, client| {
            let up = chunks(9, &followed_by(2000, 3, b""), len);
            let call = val!({"id": "two", "method": "store.echo", "args": ["in parts"]});
            let mut small = chunks(77, &call.to_msgpack(), 15).into_iter();
            for frame in up {
                pair.send(client, frame);
                small.next().into_iter().for_each(|frame| pair.send(client, frame));
            }
            alive(pair, client);
        });
    }
    snapshot!(text);
}

/// A 2.x message in which `image(len)` is followed by what is no rest of a call.
fn followed_by(len: usize, fields: u8, tail: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 + fields];
    bytes.extend(b"\xa2id\xa2up\xa6method\xa9store.put\xa4args\x91\xc5");
    bytes.extend((len as u16).to_be_bytes());
    bytes.extend(fill(len));
    bytes.extend(tail);
    bytes
}

#[test]
fn what_follows_it_is_wrong() {
    let mut text = String::new();
    for (why, fields, tail) in [
        ("nothing, which is right", 3, &b""[..]),
        ("no more keyword arguments", 4, b"\xa6kwargs\x80"),
        ("a token", 4, b"\xa6kwargs\x81\xacwslink_token\x07"),
        ("what nobody reads", 4, b"\xa4more\x92\x01\xa1x"),
        ("it is cut off", 4, b"\xa6kwar"),
        ("something behind the message", 3, b"\xc0"),
        ("a key that is no string", 4, b"\x01\x01"),
        ("a byte that means nothing", 4, b"\xa4more\xc1"),
        (
            "too deep",
            4,
            b"\xa4more\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x90",
        ),
        ("another argument", 4, b"\xa6kwargs\x81\xa4fast\xc3"),
        ("it is given twice", 4, b"\xa4args\x91\x01"),
        ("another method", 4, b"\xa6method\xaastore.echo"),
        ("another id", 4, b"\xa2id\xa2my"),
        ("a token that is none", 4, b"\xa6kwargs\x81\xacwslink_token\xa1x"),
    ] {
        text += &format!("======== {why}\n");
        text += &only(Dialect::V2, Mode::By(300), usual, |pair: &mut Bench, client| {
            for frame in chunks(9, &followed_by(2000, fields, tail), 990) {
                pair.send(client, frame);
            }
            alive(pair, client);
        });
    }
    snapshot!(text);
}

#[test]
fn longer_than_its_message() {
    snapshot!(only(Dialect::V2, Mode::By(300), usual, |pair: &mut Bench, client| {
        let mut message = followed_by(2000, 3, b"");
        message.truncate(1500);
        for frame in chunks(9, &message, 990) {
            pair.send(client, frame);
        }
        alive(pair, client);
    }));
}

#[test]
fn chunks_out_of_order() {
    let send = |pair: &mut Bench, client, len: usize, order: &[usize]| {
        let message = followed_by(len, 3, b"");
        let frames = chunks(9, &message, 200);
        for at in order {
            pair.send(client, frames[*at].clone());
        }
        alive(pair, client);
    };
    let mut text = String::from("======== it fits, and is put together as any message\n");
    text += &only(Dialect::V2, Mode::By(300), usual, |pair: &mut Bench, client| {
        send(pair, client, 500, &[1, 2, 0]);
    });
    text += "======== it does not fit\n";
    text += &only(Dialect::V2, Mode::By(300), usual, |pair: &mut Bench, client| {
        send(pair, client, 1900, &[1, 0, 2]);
    });
    text += "======== a gap in the middle\n";
    text += &only(Dialect::V2, Mode::By(300), usual, |pair: &mut Bench, client| {
        send(pair, client, 1900, &[0, 1, 3, 4, 2, 5, 6, 7, 8, 9]);
    });
    text += "======== the same part twice\n";
    text += &only(Dialect::V2, Mode::By(300), usual, |pair: &mut Bench, client| {
        send(pair, client, 1900, &[0, 1, 1]);
    });
    snapshot!(text);
}

#[test]
fn the_bytes_before_the_method() {
    // It is put together as any message, and has to fit.
    snapshot!(only(Dialect::V2, Mode::By(300), usual, |pair: &mut Bench, client| {
        for len in [500, 3000] {
            let args = val!([(image(len))]);
            pair.request(client, val!({"id": "up", "args": args, "method": "store.put"}));
            pair.run();
        }
        alive(pair, client);
    }));
}

#[test]
fn another_call_for_the_attachment() {
    let call = |method: &str, args: Val| {
        only(Dialect::V1, Mode::By(300), usual, |pair: &mut Bench, client| {
            _ = begin(pair, client, 3000, 3);
            pair.request(client, val!({"id": "x", "method": method, "args": (args.clone())}));
            pair.run();
            alive(pair, client);
        })
    };
    let mut text = String::from("======== another method\n");
    text += &call("store.echo", val!(["wslink_bin1"]));
    text += "======== another key\n";
    text += &call("store.put", val!(["wslink_bin2"]));
    text += "======== more arguments\n";
    text += &call("store.put", val!(["wslink_bin1", 2]));
    text += "======== another method, when the call has expired\n";
    let deadline = |config: &mut Config| config.deadlines.call = Some(Duration::from_secs(9));
    text += &only(Dialect::V1, Mode::By(300), deadline, |pair: &mut Bench, client| {
        _ = begin(pair, client, 3000, 3);
        pair.advance(Duration::from_secs(12));
        let args = val!(["wslink_bin1"]);
        pair.request(client, val!({"id": "x", "method": "store.echo", "args": args}));
        pair.run();
        alive(pair, client);
    });
    text += "======== another attachment\n";
    text += &only(Dialect::V1, Mode::By(300), usual, |pair: &mut Bench, client| {
        _ = begin(pair, client, 3000, 3);
        pair.announce(client, &["wslink_bin2"]);
        pair.send(client, Frame::binary("two"));
        let args = val!(["wslink_bin1", "wslink_bin2"]);
        pair.request(client, val!({"id": "x", "method": "store.echo", "args": args}));
        alive(pair, client);
    });
    snapshot!(text);
}

#[test]
fn two_methods_that_take_uploads() {
    // In 1.x nobody knows which of them an attachment is for, before it is called for.
    snapshot!(both(Mode::By(300), usual, |pair: &mut Pair<Store<2>>, client| {
        put(pair, client, 3000);
        put(pair, client, 900);
        alive(pair, client);
    }));
}

#[test]
fn two_at_a_time() {
    snapshot!(only(Dialect::V2, Mode::By(300), usual, |pair: &mut Bench, client| {
        let rest = begin(pair, client, 3000, 2);
        let other = val!({"id": "other", "method": "store.put", "args": [(image(2000))]});
        for frame in chunks(10, &other.to_msgpack(), 900) {
            pair.send(client, frame);
        }
        rest.into_iter().for_each(|frame| pair.send(client, frame));
        put(pair, client, 100);
    }));
}

#[test]
fn the_limit_of_uploads() {
    let mut text = String::new();
    for len in [1999, 2000, 2001] {
        text += &both(
            Mode::By(300),
            limits(|limits| limits.upload = 2000),
            |pair: &mut Bench, client| {
                put(pair, client, len);
                alive(pair, client);
            },
        );
    }
    for len in [99, 100, 101] {
        text += &format!("==== whole, {len}\n");
        text += &both(
            Mode::By(300),
            limits(|limits| limits.upload = 100),
            |pair: &mut Bench, client| {
                put(pair, client, len);
            },
        );
    }
    snapshot!(text);
}

#[test]
fn the_limit_of_calls() {
    // An upload in parts needs one more, since nothing is read while all are busy.
    let mut text = String::new();
    for calls in [1, 2] {
        let calls = limits(move |limits| limits.calls = calls);
        text += &both(Mode::By(300), calls, |pair: &mut Bench, client| {
            put(pair, client, 700);
            put(pair, client, 3000);
            alive(pair, client);
        });
    }
    snapshot!(text);
}

#[test]
fn chunks_of_a_byte() {
    let most = limits(|limits| limits.max_msg_size = 13);
    let text = only(Dialect::V2, Mode::By(300), most, |pair: &mut Bench, client| {
        put(pair, client, 1500);
    });
    // What the server does, but not each chunk.
    let lines = text.lines().filter(|line| line.contains(" * ") || line.contains("bin("));
    snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_desktop_takes_them_the_same_way() {
    let mut text = String::new();
    for (dialect, name) in wslink_scenarios::DIALECTS {
        let clock = Clock::new();
        let service =
            Store::<1> { clock: clock.clone(), mode: Mode::By(10_000), open: Arc::default() };
        let mut pair = Pair::with(service, clock, Options::desktop());
        let client = pair.connected(dialect);
        pair.link(client).cut(Cut::Every(50_000));
        _ = pair.take_transcript();
        put(&mut pair, client, 300_000);
        let server = |line: &&str| line.contains(" < ") || line.contains(" * ");
        let text_of = pair.transcript().to_string();
        let lines = text_of.lines().filter(server).collect::<Vec<_>>().join("\n");
        text += &format!("==== {name}\n{lines}\n");
    }
    snapshot!(text);
}
