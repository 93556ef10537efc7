//! The typed client that has neither `std` nor an allocator, against literal frames.

#![expect(clippy::unwrap_used, reason = "test code")]

use core::cell::RefCell;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use wslink::wire::Dialect;
use wslink::{Entropy, Instant};
use wslink_no_std::client::{Desk, DeskError, Samples, Wire};
use wslink_no_std::{LampClient, ScopeClient, Trace};

/// What the server says, and what it was told.
#[derive(Default)]
struct Script {
    now: Instant,
    says: Vec<&'static [u8]>,
    told: String,
}

/// The other end of it.
struct Line<'a>(&'a RefCell<Script>);

impl Wire for Line<'_> {
    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    fn poll_read(&mut self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<(bool, usize)> {
        let mut script = self.0.borrow_mut();
        if script.says.is_empty() {
            return Poll::Pending;
        }
        let frame = script.says.remove(0);
        into[..frame.len()].copy_from_slice(frame);
        Poll::Ready((frame.starts_with(b"{"), frame.len()))
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut script = self.0.borrow_mut();
        script.told += str::from_utf8(bytes).unwrap();
        if bytes.ends_with(b"}") {
            script.told += "\n";
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[test]
fn a_chip_calls_by_the_same_definition() {
    let script = RefCell::new(Script::default());
    let says = |frames: &[&'static str]| {
        script.borrow_mut().says.extend(frames.iter().map(|frame| frame.as_bytes()));
    };
    let desk = Desk::new(Line(&script), Dialect::V1, Entropy([7; 16])).unwrap();
    says(&[
        r#"{"wslink":"1.0","id":"system:c0:0","result":{"clientID":"c1"}}"#,
        r#"{"wslink":"1.0","method":"wslink.binary.attachment","args":["wslink_bin9"]}"#,
        "\x00\x01\x02",
        r#"{"wslink":"1.0","id":"rpc:c1:0","result":{"rate":8,"samples":"wslink_bin9"}}"#,
        r#"{"wslink":"1.0","id":"rpc:c1:1","result":[3,5]}"#,
    ]);
    // Both of the device's services by the one connection.
    let (scope, lamp) = (ScopeClient::new(&desk), LampClient::new(&desk));
    let trace: Trace<Samples> = run(scope.capture(3).trigger(0.5).into_future()).unwrap().unwrap();
    assert_eq!((trace.rate, &trace.samples.0[..]), (8, &[0, 1, 2][..]));
    let sizes = run(scope.upload(wslink::Binary(&[65; 3]), "image").into_future());
    assert_eq!(sizes, Some(Ok((3, 5))));

    says(&[r#"{"wslink":"1.0","id":"rpc:c1:2","error":{"code":-32601,"message":"no"}}"#]);
    let unknown = run(scope.set_gain(2.0).into_future());
    assert_eq!(unknown, Some(Err(DeskError::Server(-32601))));
    says(&[r#"{"wslink":"1.0","id":"rpc:c1:3","result":"loud"}"#]);
    assert_eq!(run(scope.set_gain(2.0).into_future()), Some(Err(DeskError::Answer)));

    says(&[r#"{"wslink":"1.0","id":"rpc:c1:4","result":true}"#]);
    assert_eq!(run(lamp.switch(false).into_future()), Some(Ok(true)));

    // Nobody answers in time.
    let mut late = pin!(scope.capture(1).within(Duration::from_secs(1)).into_future());
    assert_eq!(run(late.as_mut()), None);
    script.borrow_mut().now = Instant::from_millis(1000);
    assert_eq!(run(late), Some(Err(DeskError::Lost)));

    let told = &script.borrow().told;
    let expected = r#"{"wslink":"1.0","id":"system:c0:0","method":"wslink.hello","args":[{"secret":"wslink-secret"}],"kwargs":{}}
{"wslink":"1.0","id":"rpc:c1:0","method":"scope.capture","args":[3],"kwargs":{"trigger":0.5}}
{"wslink":"1.0","method":"wslink.binary.attachment","args":["wslink_bin1"]}
AAA{"wslink":"1.0","id":"rpc:c1:1","method":"scope.upload","args":["wslink_bin1","image"],"kwargs":{}  }
{"wslink":"1.0","id":"rpc:c1:2","method":"scope.gain","args":[2.0],"kwargs":{}  }
{"wslink":"1.0","id":"rpc:c1:3","method":"scope.gain","args":[2.0],"kwargs":{}  }
{"wslink":"1.0","id":"rpc:c1:4","method":"lamp.switch","args":[false],"kwargs":{}  }
{"wslink":"1.0","id":"rpc:c1:5","method":"scope.capture","args":[1],"kwargs":{}}
"#;
    assert_eq!(told, expected);
}
