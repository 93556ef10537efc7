//! A connection tells that it is gone.

use super::Driver;
use crate::calls;
use wslink_core::{CloseCode, CloseReason, Service};

impl<S: Service<Blob: Send + 'static>, T, C: Future, H, N, J> Driver<'_, S, T, C, H, N, J> {
    pub(super) fn leave(&mut self, reason: CloseReason) {
        let peer = self.peer;
        log::info!("{peer} is gone: {reason:?}");
        self.conn.leave(&mut self.server.shared.hub());
        if core::mem::take(&mut self.opened) {
            calls::tell(peer, "closed", || self.server.service.closed(peer, reason));
            calls::tell_listened(self.server);
        }
    }
}

/// However a connection ends, also by a panic or because its future was dropped.
impl<S: Service<Blob: Send + 'static>, T, C: Future, H, N, J> Drop
    for Driver<'_, S, T, C, H, N, J>
{
    fn drop(&mut self) {
        if self.ended.is_none() {
            let dropped = CloseReason::Local(CloseCode::GoingAway);
            self.leave(self.conn.closed().unwrap_or(dropped));
        }
    }
}
