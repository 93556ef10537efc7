//! What pings are answered with.

use super::outbound::MOST_CONTROL;

/// The payloads of pongs: of the one under way, and behind it of the next one. A newer ping
/// replaces an unanswered one (RFC 6455 §5.5.3).
///
/// They share the room of one: the newer ping goes unanswered only if it came while the transport
/// still held back the older one's pong, and both payloads are together beyond what one may have.
pub(crate) struct Pongs {
    payloads: [u8; MOST_CONTROL],
    under_way: u8,
    next: Option<u8>,
}

impl Pongs {
    pub(crate) const fn new() -> Self {
        Self { payloads: [0; MOST_CONTROL], under_way: 0, next: None }
    }

    pub(crate) fn ping(&mut self, payload: &[u8]) {
        let payload = payload.get(..MOST_CONTROL).unwrap_or(payload);
        let room = self.payloads.get_mut(usize::from(self.under_way)..).unwrap_or_default();
        if let Some(room) = room.get_mut(..payload.len()) {
            room.copy_from_slice(payload);
            self.next = Some(payload.len() as u8);
        }
    }

    /// Whether one is to be sent.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.next.is_some()
    }

    /// The next one is under way; gives its length.
    pub(crate) const fn begin(&mut self) -> Option<u8> {
        let Some(len) = self.next.take() else { return None };
        self.under_way = len;
        Some(len)
    }

    /// The payload of the one under way, from `taken` on.
    pub(crate) fn rest(&self, taken: usize) -> &[u8] {
        self.payloads.get(taken..self.under_way.into()).unwrap_or_default()
    }

    /// The one under way has been sent: the next one moves to the front.
    pub(crate) fn finish(&mut self) {
        self.payloads.rotate_left(self.under_way.into());
        self.under_way = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ping_is_answered_behind_the_pong_under_way() {
        let mut pongs = Pongs::new();
        pongs.ping(b"replaced");
        pongs.ping(b"first");
        assert_eq!(pongs.begin(), Some(5));
        pongs.ping(b"replaced as well");
        pongs.ping(b"second");
        assert_eq!(pongs.rest(0), b"first");
        pongs.finish();
        assert_eq!((pongs.begin(), pongs.rest(0)), (Some(6), &b"second"[..]));
        pongs.finish();
        assert_eq!(pongs.begin(), None);
    }

    #[test]
    fn a_ping_beside_which_there_is_no_room_leaves_the_pong_as_it_is() {
        let mut pongs = Pongs::new();
        pongs.ping(&[1; 125]);
        assert_eq!(pongs.begin(), Some(125));
        pongs.ping(&[2]);
        assert_eq!(pongs.rest(0), [1; 125]);
        pongs.finish();
        assert_eq!(pongs.begin(), None);
        pongs.ping(&[]);
        assert_eq!(pongs.begin(), Some(0));
    }
}
