//! How fast: at port 80 a service that echoes and sends what lies in flash, at port 81 the same over
//! a bare WebSocket, on the same network stack and with the same buffers. `cargo xtask speed`
//! compares them.

#![no_std]
#![no_main]

#[allow(dead_code, reason = "the firmware uses more of it")]
mod board;

use embassy_net::tcp::TcpSocket;
use embassy_net::{Stack, StackResources};
use embedded_io_async::Write as _;
use serde::{Serialize, Serializer};
use static_cell::{ConstStaticCell, StaticCell};
use wslink_core::{
    Attachment, Blob, Call, Config, Cx, Entropy, Fixed, HubBuffers, MethodInfo, ParamInfo,
    RpcError, Service, TopicInfo, code,
};
use wslink_embassy::{Lent, Options, PeerMemory, Pool, Server, SocketMemory, listen};

/// Bytes of the bulk.
const BULK: usize = 48 << 10;
/// The longest text that is echoed.
const TEXT: usize = 32;
/// A frame of either.
const CHUNK: usize = 4096;

static PATTERN: [u8; BULK] = [0x5a; BULK];

struct Speed;

/// Bytes that lie in flash.
#[derive(Clone, Copy)]
struct Flash;

impl Blob for Flash {
    fn len(&self) -> u64 {
        BULK as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let from = PATTERN.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        count
    }

    fn as_slice(&self) -> Option<&[u8]> {
        Some(&PATTERN)
    }
}

enum Request {
    Echo(usize, [u8; TEXT]),
    Bulk,
}

enum Reply {
    Echo(usize, [u8; TEXT]),
    Bulk(Attachment),
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Echo(len, text) => {
                serializer.serialize_str(core::str::from_utf8(&text[..*len]).unwrap_or_default())
            }
            Self::Bulk(attachment) => attachment.serialize(serializer),
        }
    }
}

impl Service for Speed {
    type Request = Request;
    type Reply = Reply;
    type Blob = Flash;

    const METHODS: &'static [MethodInfo] = &[
        MethodInfo::new("speed.echo").with_params(&[ParamInfo::required("text")]),
        MethodInfo::new("speed.bulk"),
    ];
    const TOPICS: &'static [TopicInfo] = &[];

    fn decode(&self, call: &Call<'_>) -> Result<Request, RpcError> {
        match call.method.name {
            "speed.echo" => {
                let text: &str = call.params()?.required(0)?;
                let mut copy = [0; TEXT];
                let room = copy.get_mut(..text.len());
                let room = room.ok_or_else(|| RpcError::invalid_param("text", "too long"))?;
                room.copy_from_slice(text.as_bytes());
                Ok(Request::Echo(text.len(), copy))
            }
            "speed.bulk" => Ok(Request::Bulk),
            _ => Err(RpcError::new(code::METHOD_NOT_FOUND, "Unregistered method called")),
        }
    }

    async fn call(&self, cx: Cx<'_, Flash>, request: Request) -> Result<Reply, RpcError> {
        Ok(match request {
            Request::Echo(len, text) => Reply::Echo(len, text),
            Request::Bulk => Reply::Bulk(cx.attach(Flash)?),
        })
    }
}

type Tables = Fixed<Lent<'static>, Flash, 2, 2, 1, 1, 1>;
type Device = Server<'static, Speed, Tables, 1, 2>;
type Socket = SocketMemory<512, { 2 * board::SEGMENT }, 1044>;
type Peer = PeerMemory<1024, 560, 732>;

#[embassy_executor::task]
async fn serve(stack: Stack<'static>, server: &'static Device, memory: &'static mut Socket) -> ! {
    listen(stack, 80, server, memory).await
}

/// As large as those of wslink, and aligned as they are.
#[repr(C, align(4))]
struct Bare([u8; 512], [u8; 2 * board::SEGMENT], [u8; 1044]);

/// Whoever connects is taken to have asked for a WebSocket. Frames come back as they are, but one
/// that begins with a `B` is answered with the bulk, in frames of a chunk, and one that begins with
/// a `C` with the cycles in which the chip has been busy.
#[embassy_executor::task]
async fn bare(stack: Stack<'static>) -> ! {
    static BUFFERS: ConstStaticCell<Bare> =
        ConstStaticCell::new(Bare([0; 512], [0; 2 * board::SEGMENT], [0; 1044]));
    let Bare(rx, tx, buffer) = BUFFERS.take();
    loop {
        let mut socket = TcpSocket::new(stack, rx, tx);
        // As `listen` does.
        socket.set_nagle_enabled(false);
        if socket.accept(81).await.is_ok() {
            _ = echo(&mut socket, buffer).await;
            socket.close();
            _ = socket.flush().await;
        }
    }
}

async fn echo(
    socket: &mut TcpSocket<'_>,
    buffer: &mut [u8],
) -> Result<(), embassy_net::tcp::Error> {
    let mut have = 0;
    // The request, of which the last line says where it ends.
    while !buffer[..have].ends_with(b"\r\n\r\n") {
        have += socket.read(&mut buffer[have..]).await?;
    }
    socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await?;
    have = 0;
    loop {
        // A header of two bytes or four, a mask, and the payload.
        let header = if have > 1 && buffer[1] & 127 == 126 { 4 } else { 2 };
        let len = match header {
            4 if have >= 4 => usize::from(u16::from_be_bytes([buffer[2], buffer[3]])),
            _ => usize::from(buffer[1] & 127),
        };
        let start = header + 4;
        if have < start || have < start + len {
            match socket.read(&mut buffer[have..]).await? {
                0 => return Ok(()),
                count => have += count,
            }
            continue;
        }
        let (front, payload) = buffer.split_at_mut(start);
        let payload = &mut payload[..len];
        let mask = u32::from_ne_bytes([
            front[header],
            front[header + 1],
            front[header + 2],
            front[header + 3],
        ]);
        let (words, rest) = payload.as_chunks_mut::<4>();
        for word in words {
            *word = (u32::from_ne_bytes(*word) ^ mask).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(mask.to_ne_bytes()) {
            *byte ^= key;
        }
        if payload.first() == Some(&b'B') {
            let mut left = BULK;
            while left > 0 {
                let count = left.min(CHUNK);
                let size = (count as u16).to_be_bytes();
                socket.write_all(&[0x82, 126, size[0], size[1]]).await?;
                socket.write_all(&PATTERN[BULK - left..][..count]).await?;
                left -= count;
            }
        } else if payload.first() == Some(&b'C') {
            let [a, b, c, d] = board::busy().to_le_bytes();
            socket.write_all(&[0x82, 5, a, b, c, d, 0]).await?;
        } else {
            // The header moves up to the payload, without its mask.
            buffer.copy_within(..header, 4);
            buffer[5] &= 127;
            socket.write_all(&buffer[4..start + len]).await?;
        }
        buffer.copy_within(start + len..have, 0);
        have -= start + len;
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    static RESOURCES: StaticCell<StackResources<2>> = StaticCell::new();
    static SOCKET_MEMORY: ConstStaticCell<Socket> = ConstStaticCell::new(Socket::NEW);
    static PEER_MEMORY: ConstStaticCell<[Peer; 1]> = ConstStaticCell::new([Peer::NEW]);
    static PUBLICATIONS: ConstStaticCell<[u8; 64]> = ConstStaticCell::new([0; 64]);
    static POOL: StaticCell<Pool<'static, 1>> = StaticCell::new();
    static SERVER: StaticCell<Device> = StaticCell::new();

    board::init();
    board::run(|spawner| {
        let stack = board::network(spawner, &RESOURCES);
        let pool = POOL.init(Pool::new(PEER_MEMORY.take()));
        let hub = HubBuffers { publications: &mut PUBLICATIONS.take()[..], retained: &mut [][..] };
        let mut config = Config::device();
        config.limits.max_msg_size = CHUNK as u32;
        let options = Options::new("wslink-secret", || Entropy([7; 16])).with_config(config);
        let server = SERVER.init(Server::new(Speed, options, pool, hub).unwrap());
        spawner.spawn(serve(stack, server, SOCKET_MEMORY.take()).unwrap());
        spawner.spawn(bare(stack).unwrap());
    })
}
