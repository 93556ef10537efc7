//! `wslink proxy`: between a client and a server, or in place of a server.

mod frames;
mod http;
mod record;
mod replay;
mod script;
mod tap;

use crate::args::{Global, Proxy};
use crate::fault::{Exit, Fault};
use crate::signals;
use crate::target::Target;
use core::cell::RefCell;
use core::time::Duration;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use record::{Book, Recorder, Show};
use replay::Replay;
use smol::channel;
use smol::future;
use smol::io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use smol::net::{TcpListener, TcpStream};
use std::rc::Rc;
use tap::{Decoding, Tap};
use wslink_testkit::Way;

/// What is read from a socket at a time.
const PIECE: usize = 64 << 10;
/// How long to wait before accepting again after that failed.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn run(global: &Global, options: Proxy) -> Result<(), Fault> {
    let peer = match (&options.url, &options.replay) {
        (Some(url), _) => Peer::Server(Target::parse(url, options.ca.as_deref())?),
        (None, Some(path)) => Peer::Recording(Replay::read(path, options.max_message)?),
        (None, None) => return Err(Fault::usage("neither a server nor a transcript is given")),
    };
    let book = options.transcript.as_deref().map(Book::create).transpose()?;
    let show = match (options.quiet, global.json) {
        (true, _) => Show::Nothing,
        (false, true) => Show::Json,
        (false, false) => Show::Lines { full: options.full },
    };
    let listener = listen(&options.listen).await?;
    let address = listener.local_addr().map_err(|error| no_listener(&options.listen, &error))?;
    match &peer {
        Peer::Server(target) => eprintln!(
            "listening: connect clients to ws://{address}{} instead of {}",
            target.path_and_query(),
            target.url()
        ),
        Peer::Recording(replay) => eprintln!(
            "listening: answering at ws://{address}/ from {} recorded {}",
            replay.len(),
            if replay.len() == 1 { "connection" } else { "connections" }
        ),
    }
    let (faults, fault) = channel::bounded(1);
    let recorder = Rc::new(RefCell::new(Recorder::new(show, book, faults)));
    let decoding = Decoding { most: options.max_message, show_secrets: options.show_secrets };
    let serving = async {
        serve(&listener, &peer, decoding, options.clients, &recorder).await;
        Ok(())
    };
    let failing = async { fault.recv().await.map_or(Ok(()), Err) };
    let interrupted = async {
        signals::interrupted().await;
        Ok(())
    };
    // A fault first: what cannot be kept shall not be taken for kept.
    future::or(failing, future::or(interrupted, serving)).await
}

/// Who answers.
enum Peer {
    Server(Target),
    Recording(Replay),
}

async fn listen(at: &str) -> Result<TcpListener, Fault> {
    let address = if at.parse::<u16>().is_ok() { format!("127.0.0.1:{at}") } else { at.to_owned() };
    TcpListener::bind(&address).await.map_err(|error| no_listener(at, &error))
}

fn no_listener(at: &str, error: &io::Error) -> Fault {
    let fault = Fault::new(Exit::NoConnection, format!("cannot listen at {at}: {error}"));
    match error.kind() {
        io::ErrorKind::AddrInUse => fault.hint("another program listens there; 0 is a free port"),
        io::ErrorKind::InvalidInput => fault.hint("LISTEN is a port, or an address and a port"),
        _ => fault,
    }
}

/// Takes clients until `most` have come and gone.
async fn serve(
    listener: &TcpListener,
    peer: &Peer,
    decoding: Decoding,
    most: Option<usize>,
    recorder: &Rc<RefCell<Recorder>>,
) {
    let mut running = FuturesUnordered::new();
    let mut came = 0;
    let mut gone = 0;
    while most.is_none_or(|most| gone < most) {
        let accepting = async {
            match listener.accept().await {
                Ok((stream, _)) => Some(stream),
                Err(error) => {
                    eprintln!("cannot accept a client: {error}");
                    smol::Timer::after(PAUSE).await;
                    None
                }
            }
        };
        let full = most.is_some_and(|most| came >= most);
        futures_util::select_biased! {
            () = running.select_next_some() => gone += 1,
            client = futures_util::FutureExt::fuse(async {
                if full { future::pending().await } else { accepting.await }
            }) => if let Some(client) = client {
                let tap = Tap::new(came, decoding, recorder.clone());
                came += 1;
                running.push(attend(client, tap, peer));
            },
        }
    }
}

async fn attend(client: TcpStream, tap: Tap, peer: &Peer) {
    // Without it frames only come later.
    _ = client.set_nodelay(true);
    match peer {
        Peer::Server(target) => relay(client, tap, target).await,
        Peer::Recording(replay) => replay.answer(client, tap).await,
    }
}

/// Hands all bytes on, as they are.
async fn relay(client: TcpStream, mut tap: Tap, target: &Target) {
    let server = match target.connect().await {
        Ok(server) => server,
        Err(fault) => {
            tap.event(&format!("no connection to the server: {}", fault.text()));
            return;
        }
    };
    let tap = RefCell::new(tap);
    let (from_client, to_client) = io::split(client);
    let (from_server, to_server) = io::split(server);
    let up = copy(from_client, to_server, Way::Up, &tap);
    let down = copy(from_server, to_client, Way::Down, &tap);
    // A direction that failed takes the other one with it.
    _ = future::try_zip(up, down).await;
}

/// Until one end closes. What passes is told before it is handed on, so that no answer is told
/// before its request.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    tap: &RefCell<Tap>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece).await {
            Ok(read) => read,
            Err(error) => {
                tap.borrow_mut().ended(way, "reset");
                return Err(error);
            }
        };
        let bytes = piece.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            tap.borrow_mut().ended(way, "eof");
            return to.close().await;
        }
        if way == Way::Up {
            tap.borrow_mut().up(bytes);
        } else {
            tap.borrow_mut().down(bytes);
        }
        to.write_all(bytes).await?;
        to.flush().await?;
    }
}
