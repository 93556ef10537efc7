//! What the transport takes of what the engine lends.

use super::{Kind, UnderWay, Wire};
use wslink_core::{Connection, Hub, Instant};

/// Takes so many bytes, and holds each frame against what was lent of it before.
pub(super) fn write<M: Kind>(
    connection: &mut Connection<M>,
    hub: &Hub<M>,
    now: Instant,
    wire: &mut Wire,
    mut budget: usize,
    mut pinned: bool,
) {
    loop {
        let Some(transmit) = connection.poll_transmit(now, hub) else {
            let over = connection.closed().is_some();
            let begun = wire.under_way.as_ref().is_some_and(|it| pinned || !it.taken.is_empty());
            assert!(over || !begun, "a frame was begun and never ended");
            wire.under_way = None;
            return;
        };
        let lent = wslink_testkit::lent(&transmit);
        let (opcode, fin, len) = (transmit.opcode, transmit.fin, transmit.len);
        assert!(transmit.taken + lent.len() <= len, "more than the frame has");
        assert!(!lent.is_empty() || len == 0, "a frame without bytes to go on with");
        if let Some(before) = &wire.under_way
            && (pinned || !before.taken.is_empty())
        {
            assert_eq!((before.opcode, before.fin, before.len), (opcode, fin, len), "not pinned");
            assert_eq!(before.taken.len(), transmit.taken, "it was taken so far");
            let same = before.lent.iter().zip(&lent).all(|(a, b)| a == b);
            assert!(same, "other bytes than were lent before");
        } else {
            assert_eq!(transmit.taken, 0, "a frame begins at its beginning");
            wire.under_way = None;
        }
        pinned = true;
        let taken = wire.under_way.take().map(|it| it.taken).unwrap_or_default();
        let mut frame = UnderWay { opcode, fin, len, taken, lent };
        if budget == 0 {
            let (taken, lent) = (frame.taken.len(), frame.lent.len());
            trace!("  lent {opcode:?} {fin}: {taken} taken, {lent} lent of {len}");
            wire.under_way = Some(frame);
            return;
        }
        let n = budget.min(frame.lent.len());
        budget -= n;
        frame.taken.extend(frame.lent.drain(..n));
        assert_eq!(connection.advance(now, n), Ok(()));
        if frame.taken.len() == len {
            trace!("  < {opcode:?} {fin} {:?}", String::from_utf8_lossy(&frame.taken));
            wire.client.frame(opcode, fin, frame.taken);
        } else {
            wire.under_way = Some(frame);
        }
    }
}
