//! The engine for control frames: who answers pings, Closes and violations is tried as well.

use wslink_core::{
    Api, Body, Buffers, CloseCode, Config, Connection, Entropy, Frame, Hub, HubBuffers, HubLimits,
    Instant, NoBlob, OpCode,
};
use wslink_testkit::{Heap, HeapBuffer};

static API: Api = Api { methods: &[], topics: &[] };
const NOW: Instant = Instant::from_millis(0);

pub(crate) struct Engine {
    connection: Connection<Heap<NoBlob>>,
    hub: Hub<Heap<NoBlob>>,
}

impl Engine {
    pub(crate) fn new() -> Self {
        let buffer = || HeapBuffer::fixed(4096);
        let entropy = Entropy([0; 16]);
        let buffers = HubBuffers { publications: buffer(), retained: buffer() };
        let mut hub = Hub::new(HubLimits::device(), &[], entropy, buffers).expect("it is small");
        let buffers = Buffers { receive: buffer(), transmit: buffer() };
        let peer = hub.next_peer();
        let connection = Connection::accept(Config::device(), &API, buffers, peer, entropy, NOW)
            .expect("the limits of a device");
        Self { connection, hub }
    }

    /// A control frame.
    pub(crate) fn frame(&mut self, frame: Frame<'_>) {
        // No event comes of it but the end, and that is seen by the Close.
        _ = self.connection.handle_frame(NOW, frame);
    }

    pub(crate) fn violation(&mut self, code: CloseCode, reason: &'static str) {
        self.connection.handle_violation(NOW, code, reason);
    }

    pub(crate) fn too_big(&mut self, needed: u64) {
        self.connection.handle_too_big(NOW, needed);
    }

    /// The next frame to be sent.
    pub(crate) fn transmit(&mut self) -> Option<(OpCode, Vec<u8>)> {
        let transmit = self.connection.poll_transmit(NOW, &self.hub)?;
        let (opcode, mut payload) = (transmit.opcode, transmit.head.to_vec());
        if let Body::Bytes(body) = transmit.body {
            payload.extend_from_slice(body);
        }
        assert_eq!(payload.len(), transmit.len, "a control frame");
        self.connection.advance(NOW, payload.len()).expect("it was lent");
        Some((opcode, payload))
    }
}
