//! The loop of an adapter, as `docs/architecture.md` shows it from here on.

use wslink_core::{
    Call, CallId, CloseReason, Connection, Event, Frame, Hub, Instant, Memory, Secret, Transmit,
    UsageError,
};

/// What belongs to the runtime and to the service.
pub(crate) trait Rest<M: Memory> {
    /// Gives the transport `head` and `body`, and says how many bytes it took.
    fn write(&mut self, transmit: &Transmit<'_, M::Blob>) -> usize;

    /// `Service::decode`, then a future of `Service::call`, which `cancel` drops.
    fn start(&mut self, call: &Call<'_>);

    /// The answer is not wanted any more.
    fn cancel(&mut self, call: CallId);

    /// Answers what has finished by `Connection::reply` or `fail`.
    fn finish(&mut self, connection: &mut Connection<M>, hub: &mut Hub<M>);

    /// `Service::lagged`.
    fn lagged(&mut self, topic: &'static str, missed: u64);

    /// `Service::listened`.
    fn listened(&mut self, topic: &'static str, listened: bool);

    /// `Service::closed`; what still runs is dropped.
    fn closed(&mut self, reason: CloseReason);
}

/// One turn. Gives the time of the next one, if nothing else happens before.
pub(crate) fn turn<M: Memory>(
    connection: &mut Connection<M>,
    hub: &mut Hub<M>,
    now: Instant,
    frame: Option<Frame<'_>>,
    rest: &mut impl Rest<M>,
) -> Result<Option<Instant>, UsageError> {
    // What came in: any control frame, and others while `connection.has_room()`.
    if let Some(frame) = frame {
        match connection.handle_frame(now, frame)? {
            Some(Event::Hello(hello)) => {
                // `Service::authorize` may take its time: then the arguments have to be copied.
                let verdict = hello.expecting(&Secret::new("wslink-secret")).verify();
                connection.authorize(hub, verdict)?;
            }
            Some(Event::Call(call)) => rest.start(&call),
            Some(Event::Builtin) => connection.handle_builtin(hub),
            Some(Event::Exit(_after)) => { /* The server shall stop then. */ }
            _ => {}
        }
    }
    // What is due.
    if connection.poll_timeout().is_some_and(|at| at <= now) {
        connection.handle_timeout(now);
    }
    loop {
        // What has finished. An answer that gets `SendError::Full` is kept for the next round.
        rest.finish(connection, hub);
        // What goes out.
        let mut progress = false;
        if let Some(transmit) = connection.poll_transmit(now, hub) {
            let lent = transmit.head.len() + transmit.body.len();
            let taken = rest.write(&transmit);
            connection.advance(now, taken)?;
            progress = taken == lent;
        }
        // What happened besides, also while sending.
        while let Some(event) = connection.poll_event() {
            progress = true;
            match event {
                Event::Expired(call) | Event::Cancelled(call) => rest.cancel(call),
                Event::Lagged { topic, missed } => rest.lagged(topic, missed),
                Event::Closed(reason) => {
                    connection.leave(hub);
                    rest.closed(reason);
                }
                _ => {}
            }
        }
        // Who listens may have changed by a hello, a subscription or a leave.
        while let Some((topic, listened)) = hub.poll_listened() {
            rest.listened(topic, listened);
        }
        if !progress {
            return Ok(connection.poll_timeout());
        }
    }
}
