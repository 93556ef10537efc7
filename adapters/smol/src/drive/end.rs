//! What the engine tells of a connection, down to its end.

use super::{Driver, Ended};
use crate::calls;
use core::task::{Context, Poll};
use smol::io::{AsyncRead, AsyncWrite};
use wslink_core::{CallId, CloseCode, CloseReason, Event, Instant, Phase, Service};

impl<S: Service<Blob: Send + 'static>, T, C: Future, H, N, J> Driver<'_, S, T, C, H, N, J> {
    pub(super) fn poll_events(&mut self, now: Instant) -> bool {
        let mut progress = false;
        while let Some(event) = self.conn.poll_event() {
            progress = true;
            match event {
                Event::Expired(call) => {
                    log::warn!("{}: a call took longer than its deadline", self.peer);
                    self.drop_call(call);
                }
                Event::Cancelled(call) => {
                    log::debug!("{}: a call was cancelled", self.peer);
                    self.drop_call(call);
                }
                Event::Lagged { topic, missed } => {
                    let (peer, service) = (self.peer, self.server.service);
                    log::warn!("{peer} missed {missed} publications of {topic:?}");
                    calls::tell(peer, "lagged", || service.lagged(peer, topic, missed));
                }
                Event::Closed(reason) => self.end(now, reason),
                _ => {}
            }
        }
        progress
    }

    pub(super) fn drop_call(&mut self, call: CallId) {
        self.handles.retain(|(id, handle)| {
            if *id == call {
                // Wakes the call's place among those that run, where it is dropped.
                handle.abort();
            }
            *id != call
        });
        self.kept.retain(|(started, _)| started.id != call);
    }

    pub(super) fn drop_calls(&mut self) {
        if !self.handles.is_empty() {
            log::info!("{}: {} calls were dropped", self.peer, self.handles.len());
        }
        self.handles.clear();
        self.running = None;
        self.kept.clear();
    }

    /// The engine is done. What runs is dropped; what is queued may leave for a while.
    fn end(&mut self, now: Instant, reason: CloseReason) {
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
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
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

    fn leave(&mut self, reason: CloseReason) {
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
