//! The end of a connection, and how it is told.

use super::{Driver, Ended};
use crate::calls::{self, Answer, Started};
use crate::shared::Reads;
use core::task::{Context, Poll};
use smol::io::{AsyncRead, AsyncWrite};
use wslink_core::{CloseCode, CloseReason, Instant, Phase, Service, Verdict};

impl<'s, S, T, C, H, N, J> Driver<'s, S, T, C, H, N, J>
where
    S: Service<Blob: Send + 'static>,
    T: AsyncRead + AsyncWrite + Unpin,
    C: Future<Output = (Started, Answer<S>)>,
    H: Future<Output = Verdict>,
    N: Fn(Started, Option<Reads>, S::Request) -> C,
    J: Fn(Option<Vec<u8>>) -> H,
{
    /// The engine is done. What runs is dropped; what is queued may leave for a while.
    pub(super) fn end(&mut self, now: Instant, reason: CloseReason) {
        if self.ended.is_none() {
            let close = self.server.options.config.deadlines.close;
            let until = self.close_by.unwrap_or(now + close);
            self.ended = Some(Ended { reason, until });
            self.drop_calls();
            self.hello = None;
            self.held = None;
            self.leave(reason);
        }
    }

    /// Ready when nothing is left to do.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if let Some(Ended { reason, until }) = self.ended {
            let lost = matches!(reason, CloseReason::Eof | CloseReason::Timeout(_));
            if lost || now >= until {
                return Poll::Ready(());
            }
        } else if !(self.deaf && self.conn.phase() == Phase::Closing) {
            return Poll::Pending;
        }
        // Our Close is the last that leaves. Closing the socket now would take it away from a
        // peer that still sends, so its end is waited for.
        if self.socket.is_unflushed() {
            return Poll::Pending;
        }
        if !self.shut {
            let Poll::Ready(()) = self.socket.poll_shutdown(cx) else { return Poll::Pending };
            self.shut = true;
        }
        if !self.eof {
            let Poll::Ready(()) = self.socket.poll_discard(cx) else { return Poll::Pending };
            self.eof = true;
        }
        if self.ended.is_none() {
            self.conn.handle_eof();
            self.poll_events(now);
        }
        Poll::Ready(())
    }
}

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
