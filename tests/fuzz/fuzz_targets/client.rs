//! A client that is sent anything, with calls, cancellations and time between.
//!
//! Whatever comes: no panic, memory stays within what was lent, every call ends exactly once, and
//! no event names a call that was not made.

#![no_main]

use core::time::Duration;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use wslink_core::client::{Client, Config, Event};
use wslink_core::wire::Dialect;
use wslink_core::{Attachment, Buffers, CallId, Entropy, Fixed, Frame, Instant, Secret};

type Engine = Client<Fixed<[u8; 512], &'static [u8], 4, 3, 2>>;

/// How often each call has ended.
type Ends = BTreeMap<String, u32>;

fn end(ends: &mut Ends, call: CallId) {
    let count = ends.get_mut(&format!("{call:?}")).expect("a call that was made");
    *count += 1;
    assert_eq!(*count, 1, "{call:?} ended again");
}

fn look(ends: &mut Ends, event: Option<Event<'_>>) -> bool {
    if let Some(Event::Ended { call, .. }) = event {
        end(ends, call);
        return true;
    }
    event.is_some()
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let dialect = if first & 1 == 0 { Dialect::V1 } else { Dialect::V2 };
    let mut now = Instant::from_millis(0);
    let buffers = Buffers { receive: [0; 512], transmit: [0; 512] };
    let made = Engine::new(Config::device(), dialect, buffers, Entropy([1; 16]), now);
    let mut client = made.expect("limits that fit");
    let mut ends = Ends::new();
    let mut calls = Vec::new();
    client.hello_with(now, &Secret::new("s")).expect("room for the first");
    if first & 2 != 0 {
        // Most of what is of interest needs a welcome first.
        sent(&mut client, now, usize::MAX);
        let mut text = br#"{"id":"system:c0:0","result":{"clientID":"c"}}"#.to_vec();
        let mut packed = vec![1, 0, 0, 0, 0, 0, 0, 0, 39, 0, 0, 0];
        packed.extend(b"\x82\xa2id\xabsystem:c0:0\xa6result\x81\xa8clientID\xa1c");
        packed[8] = (packed.len() - 12) as u8;
        let frame = match dialect {
            Dialect::V1 => Frame::Text { fin: true, payload: &mut text },
            _ => Frame::Binary { fin: true, payload: &packed },
        };
        let welcome = client.handle_frame(now, frame);
        assert!(matches!(welcome, Some(Event::Welcome { .. })), "{welcome:?}");
    }
    while let Some((&action, after)) = rest.split_first() {
        rest = after;
        let take = |rest: &mut &[u8]| {
            let Some((&len, after)) = rest.split_first() else { return Vec::new() };
            let (taken, after) = after.split_at(usize::from(len).min(after.len()));
            *rest = after;
            taken.to_vec()
        };
        let fin = action & 0x10 == 0;
        match action & 0x0f {
            0..=3 => {
                let mut payload = take(&mut rest);
                let event = client.handle_frame(now, Frame::Text { fin, payload: &mut payload });
                look(&mut ends, event);
            }
            4..=7 => {
                let payload = take(&mut rest);
                let event = client.handle_frame(now, Frame::Binary { fin, payload: &payload });
                look(&mut ends, event);
            }
            8 => {
                let payload = take(&mut rest);
                let event =
                    client.handle_frame(now, Frame::Continuation { fin, payload: &payload });
                look(&mut ends, event);
            }
            9 | 10 => {
                let mut blobs = heapless::Vec::new();
                _ = blobs.push(&b"attached"[..]);
                let args = (Attachment::nth(0), 1);
                let within = Some(Duration::from_millis(action.into()));
                if let Ok(call) = client.call(now, "a.b", &args, &(), within, &mut blobs) {
                    ends.insert(format!("{call:?}"), 0);
                    calls.push(call);
                }
            }
            11 => {
                if let Some(call) = calls.get(usize::from(action >> 4)) {
                    client.cancel(*call);
                }
            }
            12 => now = now + Duration::from_millis(u64::from(action) * 40),
            13 => sent(&mut client, now, usize::from(action)),
            14 => {
                look(&mut ends, client.handle_frame(now, Frame::Ping(b"x")));
            }
            _ => {
                look(&mut ends, client.handle_frame(now, Frame::Close(Some(1000))));
            }
        }
        if client.poll_timeout().is_some_and(|at| at <= now) {
            client.handle_timeout(now);
        }
        if action & 0x20 == 0 {
            while look(&mut ends, client.poll_event()) {}
        }
        _ = client.receiving().count();
    }
    sent(&mut client, now, usize::MAX);
    client.handle_eof();
    while look(&mut ends, client.poll_event()) {}
    assert!(ends.values().all(|count| *count == 1), "a call did not end: {ends:?}");
});

/// The transport takes so many bytes.
fn sent(client: &mut Engine, now: Instant, mut most: usize) {
    while most > 0
        && let Some(transmit) = client.poll_transmit(now)
    {
        let lent = transmit.head.len() + transmit.body.len();
        let taken = lent.min(most);
        client.advance(now, taken).expect("no more than was lent");
        most -= taken;
    }
}
