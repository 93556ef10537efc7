//! A client where there is neither `std` nor an allocator: it says hello and asks a scope.

use crate::Flash;
use wslink::client::{CallError, Client, Config, Event, Outcome};
use wslink::wire::Dialect;
use wslink::{Body, Buffers, Entropy, Fixed, Frame, Instant, Secret, UsageError};

#[derive(serde::Serialize)]
struct Trigger {
    trigger: f32,
}

/// 2 calls side by side, 2 unfinished messages, 1 attachment.
pub type Asker = Client<Fixed<[u8; 512], Flash, 2, 2, 1>>;

/// A client whose hello waits to be sent.
///
/// # Errors
/// If the limits do not fit.
pub fn ask(now: Instant, entropy: Entropy) -> Result<Asker, UsageError> {
    let buffers = Buffers { receive: [0; 512], transmit: [0; 512] };
    let mut asker = Asker::new(Config::device(), Dialect::V2, buffers, entropy, now)?;
    // There is room for the first.
    _ = asker.hello_with(now, &Secret::new("wslink-secret"));
    Ok(asker)
}

/// One turn: takes what came, and writes what is to be sent. Gives the rate of the scope, once it
/// has answered.
///
/// # Errors
/// If a call could not be made.
pub fn turn(
    asker: &mut Asker,
    now: Instant,
    came: Option<&[u8]>,
    write: &mut dyn FnMut(&[u8]) -> usize,
) -> Result<Option<u32>, CallError> {
    let mut rate = None;
    let frame = came.map(|payload| Frame::Binary { fin: true, payload });
    let welcome = match frame.and_then(|frame| asker.handle_frame(now, frame)) {
        Some(Event::Welcome { .. }) => true,
        Some(Event::Ended { outcome: Outcome::Answer(trace), .. }) => {
            rate = trace.deserialize::<(u32, &[u8])>().ok().map(|(rate, _)| rate);
            false
        }
        _ => false,
    };
    if welcome {
        let none = &mut heapless::Vec::new();
        asker.call(now, "scope.capture", &(4,), &Trigger { trigger: 0.5 }, None, none)?;
    }
    if asker.poll_timeout().is_some_and(|at| at <= now) {
        asker.handle_timeout(now);
    }
    while asker.poll_event().is_some() {}
    while let Some(transmit) = asker.poll_transmit(now) {
        let mut taken = write(transmit.head);
        if let (true, Body::Bytes(body)) = (taken == transmit.head.len(), &transmit.body) {
            taken += write(body);
        }
        let lent = transmit.head.len() + transmit.body.len();
        if asker.advance(now, taken).is_err() || taken < lent {
            break;
        }
    }
    Ok(rate)
}
