//! Two ends and what is between them.

use crate::client::ClientEnd;
use crate::encode::attachment_header;
use crate::link::Up;
use crate::server::{Scene, ServerEnd, Shared};
use crate::transcript::{Transcript, Way};
use crate::{Clock, Failure, Frame, Heap, HeapBuffer, Link, Received, Val};
use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use wslink_core::wire::Dialect;
use wslink_core::{
    Api, Buffers, CloseCode, Config, Connection, Entropy, Hub, HubBuffers, HubLimits, Instant,
    PeerId, Phase, Publications, Service,
};

/// What a [`Pair`] is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Limits and deadlines of the server's connections.
    pub config: Config,
    /// Limits of the hub.
    pub hub: HubLimits,
    /// What a client has to say.
    pub secret: String,
    /// Whether buffers are there as a whole from the start, as on a device.
    pub fixed_buffers: bool,
    /// Whether servers ask for events only behind what they write, as some adapters do.
    pub late_events: bool,
    /// Whether the phases of both ends are held against each other after each [`Pair::run`].
    pub check_phases: bool,
    /// Whether clients panic at frames that no client of their dialect can read.
    pub check_frames: bool,
}

impl Options {
    /// Desktop limits and deadlines, and upstream's secret, `wslink-secret`.
    #[must_use]
    pub fn desktop() -> Self {
        Self {
            config: Config::desktop(),
            hub: HubLimits::desktop(),
            secret: "wslink-secret".to_owned(),
            fixed_buffers: false,
            late_events: false,
            check_phases: true,
            check_frames: true,
        }
    }

    /// The limits of a small device, with buffers of fixed size.
    #[must_use]
    pub fn device() -> Self {
        Self {
            config: Config::device(),
            hub: HubLimits::device(),
            fixed_buffers: true,
            ..Self::desktop()
        }
    }
}

/// A client of a [`Pair`], by the order of connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(usize);

/// A server with a service, its clients, a clock that is held by hand, and a transcript.
///
/// Nothing moves by itself: what clients send lies on their [`Link`] until [`run`](Self::run) or
/// [`advance`](Self::advance), which go on until everything stands still.
pub struct Pair<S: Service> {
    options: Options,
    service: Arc<S>,
    shared: Arc<Shared<S::Blob>>,
    secret: Arc<str>,
    clock: Clock,
    ends: Vec<End<S>>,
    transcript: Transcript,
}

struct End<S: Service> {
    server: ServerEnd<S>,
    client: ClientEnd,
    link: Link,
    /// The client's transport has ended.
    ended: bool,
    /// Frames that the client was sent, for a client of one's own.
    frames: Vec<Frame>,
}

impl<S: Service<Blob: Send> + 'static> Pair<S> {
    /// A server with desktop limits, and a clock of its own.
    pub fn new(service: S) -> Self {
        Self::with(service, Clock::new(), Options::desktop())
    }

    /// A server with chosen limits; `clock` is one that the service may have, too.
    pub fn with(service: S, clock: Clock, options: Options) -> Self {
        let buffers = HubBuffers {
            publications: buffer(options.fixed_buffers, options.hub.bytes as usize),
            retained: buffer(options.fixed_buffers, options.hub.retained_bytes as usize),
        };
        // The session of every simulated server: what a client sees must not change.
        let session = Entropy([0x5e; 16]);
        let hub = match Hub::new(options.hub, S::TOPICS, session, buffers) {
            Ok(hub) => hub,
            Err(error) => panic!("no hub with these limits: {error}"),
        };
        let secret = Arc::from(options.secret.as_str());
        Self {
            options,
            service: Arc::new(service),
            shared: Arc::new(Shared::new(hub)),
            secret,
            clock,
            ends: Vec::new(),
            transcript: Transcript::default(),
        }
    }

    /// A new client, which has not said anything yet.
    pub fn connect(&mut self, dialect: Dialect) -> Client {
        let peer = self.shared.hub().next_peer();
        let number = self.ends.len();
        let Options { config, fixed_buffers, .. } = self.options;
        let buffers = Buffers {
            receive: buffer(fixed_buffers, config.limits.receive_bytes as usize),
            transmit: buffer(fixed_buffers, config.limits.transmit_bytes as usize),
        };
        let now = self.clock.now();
        let connection: Connection<Heap<S::Blob>> =
            match Connection::accept(config, Api::of::<S>(), buffers, peer, entropy(number), now) {
                Ok(connection) => connection,
                Err(error) => panic!("no connection with these limits: {error}"),
            };
        let mut server = ServerEnd::new(
            connection,
            peer,
            self.secret.clone(),
            self.service.clone(),
            self.shared.clone(),
            config.limits.attachments.into(),
            self.clock.clone(),
        );
        server.late_events = self.options.late_events;
        let client = ClientEnd::new(dialect, self.options.check_frames);
        self.ends.push(End { server, client, link: Link::new(), ended: false, frames: Vec::new() });
        if number > 0 {
            self.transcript.name_clients();
        }
        Client(number)
    }

    /// A new client that has said hello with the right secret.
    pub fn connected(&mut self, dialect: Dialect) -> Client {
        let client = self.connect(dialect);
        self.hello(client);
        self.run();
        client
    }

    /// Sends a hello with the right secret.
    pub fn hello(&mut self, client: Client) {
        let secret = self.secret.to_string();
        self.hello_with(client, crate::val!([{"secret": secret}]));
    }

    /// Sends a hello with any arguments.
    pub fn hello_with(&mut self, client: Client, args: Val) {
        let kwargs = Val::Map(Vec::new());
        self.request(client, ClientEnd::request("system:c0:0", "wslink.hello", args, kwargs));
    }

    /// Sends a call and gives its id.
    pub fn call(&mut self, client: Client, method: &str, args: Val) -> String {
        self.call_with(client, method, args, Val::Map(Vec::new()))
    }

    /// Sends a call with keyword arguments and gives its id.
    pub fn call_with(&mut self, client: Client, method: &str, args: Val, kwargs: Val) -> String {
        let id = self.ends[client.0].client.next_id();
        self.request(client, ClientEnd::request(&id, method, args, kwargs));
        id
    }

    /// Sends a call, runs, and gives the answer.
    ///
    /// # Panics
    /// If none has come.
    pub fn ask(&mut self, client: Client, method: &str, args: Val) -> Result<Val, Failure> {
        let id = self.call(client, method, args);
        self.run();
        match self.answer(client, &id) {
            Some(answer) => answer.clone(),
            None => panic!("no answer to {id}:\n{}", self.transcript),
        }
    }

    /// Sends any envelope, with its binary data as the client's dialect does it.
    pub fn request(&mut self, client: Client, envelope: Val) {
        for frame in self.ends[client.0].client.encode(envelope) {
            self.send(client, frame);
        }
    }

    /// Sends the 1.x header that announces attachments of these keys.
    pub fn announce(&mut self, client: Client, keys: &[&str]) {
        self.send(client, Frame::text(attachment_header(keys).to_json()));
    }

    /// Sends any frame.
    pub fn send(&mut self, client: Client, frame: Frame) {
        let now = self.clock.now();
        let End { client: end, link, .. } = &mut self.ends[client.0];
        for frame in link.pieces_of(frame) {
            let line = end.sent(&frame);
            self.transcript.push(now, client.0, Way::Up, line);
            link.send_up(now, Up::Frame(frame));
        }
    }

    /// The client's transport ends without a Close.
    pub fn eof(&mut self, client: Client) {
        let now = self.clock.now();
        let end = &mut self.ends[client.0];
        end.client.ended();
        end.ended = true;
        self.transcript.push(now, client.0, Way::Up, "eof".to_owned());
        end.link.send_up(now, Up::Eof);
    }

    /// The server's side ends the connection, as at the end of the program.
    pub fn close(&mut self, client: Client, code: CloseCode, reason: &'static str) {
        let now = self.clock.now();
        self.ends[client.0].server.connection.close(now, code, reason);
    }

    /// Content of the 2.x chunks that a client sends from now on, instead of what the server
    /// announced.
    pub fn chunks_of(&mut self, client: Client, bytes: usize) {
        self.ends[client.0].client.chunk = Some(bytes);
    }

    /// From now on the client answers neither Ping nor Close.
    pub fn play_dead(&mut self, client: Client) {
        self.ends[client.0].client.answering = false;
    }

    /// The way between a client and the server.
    pub fn link(&mut self, client: Client) -> &mut Link {
        &mut self.ends[client.0].link
    }

    /// Publishing from outside of a call.
    pub fn publications(&self) -> Publications<'_, S::Blob> {
        Publications::new(&*self.shared)
    }

    /// Writes a remark into the transcript.
    pub fn note(&mut self, text: impl Into<String>) {
        self.transcript.push(self.clock.now(), 0, Way::Note, text.into());
    }

    /// Goes on until everything stands still. Time does not pass.
    pub fn run(&mut self) {
        let mut rounds = 0_u32;
        while self.round() {
            rounds += 1;
            assert!(rounds < 10_000_000, "it never stands still:\n{}", self.transcript);
        }
        self.ends.iter().for_each(|end| self.check(end));
    }

    /// Lets time pass, stopping wherever something is due.
    pub fn advance(&mut self, duration: Duration) {
        self.run();
        let end = self.clock.now() + duration;
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            self.clock.set(due.max(self.clock.now()));
            self.timeouts();
            self.run();
        }
        self.clock.set(end);
        self.run();
    }

    /// The answer to a request, once it has come; the last one if there were several.
    pub fn answer(&self, client: Client, id: &str) -> Option<&Result<Val, Failure>> {
        self.received(client).iter().rev().find_map(|received| match received {
            Received::Answer(of, result) if of == id => Some(result),
            _ => None,
        })
    }

    /// The frames that a client was sent since this was asked last. A client of one's own reads
    /// these, [`send`](Self::send)s its own, and answers Ping and Close itself after
    /// [`play_dead`](Self::play_dead).
    pub fn take_frames(&mut self, client: Client) -> Vec<Frame> {
        core::mem::take(&mut self.ends[client.0].frames)
    }

    /// Whether a client's transport has ended.
    pub fn is_ended(&self, client: Client) -> bool {
        self.ends[client.0].ended
    }

    /// All whole messages that a client has received.
    pub fn received(&self, client: Client) -> &[Received] {
        &self.ends[client.0].client.received
    }

    /// What has happened so far.
    pub const fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// What has happened so far; the transcript then begins anew.
    pub fn take_transcript(&mut self) -> Transcript {
        let transcript = self.transcript.clone();
        self.transcript.clear();
        transcript
    }

    /// The service under test.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// The clock.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Under which name the server knows a client.
    pub fn peer(&self, client: Client) -> PeerId {
        self.ends[client.0].server.peer
    }

    /// The server's connection to a client.
    pub fn connection(&self, client: Client) -> &Connection<Heap<S::Blob>> {
        &self.ends[client.0].server.connection
    }

    /// Where a client stands; [`connection`](Self::connection) knows it of the server.
    pub fn phase(&self, client: Client) -> Phase {
        self.ends[client.0].client.phase
    }

    /// The dialect that a client speaks.
    pub fn dialect(&self, client: Client) -> Dialect {
        self.ends[client.0].client.dialect
    }

    /// How many 1.x attachments a client has received that no message named, as it is when a
    /// publication is passed over half-way.
    pub fn unnamed_attachments(&self, client: Client) -> usize {
        self.ends[client.0].client.attachments.len()
    }

    /// How many calls of a client run.
    pub fn running(&self, client: Client) -> usize {
        self.ends[client.0].server.running()
    }

    fn next_due(&self) -> Option<Instant> {
        let now = self.clock.now();
        let ends = self.ends.iter().flat_map(|end| {
            let arrival = end.link.next_arrival().filter(|at| *at > now);
            [end.server.connection.poll_timeout(), arrival]
        });
        ends.flatten().chain(self.clock.next_wake().filter(|at| *at > now)).min()
    }

    fn timeouts(&mut self) {
        for (client, End { server, link, .. }) in self.ends.iter_mut().enumerate() {
            server.timeout(&mut Scene { client, link, transcript: &mut self.transcript });
        }
    }

    fn round(&mut self) -> bool {
        let now = self.clock.now();
        let mut moved = false;
        for (number, end) in self.ends.iter_mut().enumerate() {
            while let Some(up) = end.link.arrived_up(now) {
                end.server.waiting.push_back(up);
            }
            let transcript = &mut self.transcript;
            moved |=
                end.server.turn(&mut Scene { client: number, link: &mut end.link, transcript });
            while let Some(frame) = end.link.arrived_down(now) {
                moved = true;
                if end.ended || end.link.is_lost() {
                    continue;
                }
                let Some(frame) = frame else {
                    end.ended = true;
                    if end.client.phase != Phase::Closed {
                        end.client.ended();
                        transcript.push(now, number, Way::Down, "eof".to_owned());
                    }
                    continue;
                };
                let (line, answer) = end.client.receive(&frame);
                end.frames.push(frame);
                transcript.push(now, number, Way::Down, line);
                if let Some(answer) = answer {
                    let line = end.client.sent(&answer);
                    transcript.push(now, number, Way::Up, line);
                    end.link.send_up(now, Up::Frame(answer));
                }
            }
        }
        moved
    }

    /// Where nothing is in flight, both ends stand at the same place, and something is always due
    /// or can be read.
    fn check(&self, End { server, client, link, .. }: &End<S>) {
        let quiet = server.is_idle() && link.up.is_empty() && link.down.is_empty();
        let quiet = quiet && self.options.check_phases;
        if quiet && !link.is_stalled() && !link.is_lost() && client.answering {
            let (here, there) = (server.connection.phase(), client.phase);
            assert_eq!(here, there, "server and client disagree:\n{}", self.transcript);
        }
        let connection = &server.connection;
        let deadline = connection.poll_timeout().is_some();
        let way_out = connection.has_room() || server.is_working() || connection.closed().is_some();
        assert!(deadline || way_out, "neither deadline nor way out:\n{}", self.transcript);
    }
}

impl<S: Service> fmt::Debug for Pair<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("clients", &self.ends.len()).finish_non_exhaustive()
    }
}

fn buffer(fixed: bool, bytes: usize) -> HeapBuffer {
    if fixed { HeapBuffer::fixed(bytes) } else { HeapBuffer::growing(bytes) }
}

/// 16 bytes that tell the connections apart, the same in every run.
fn entropy(number: usize) -> Entropy {
    let mut bytes = [0; 16];
    bytes[15] = number as u8 + 1;
    Entropy(bytes)
}
