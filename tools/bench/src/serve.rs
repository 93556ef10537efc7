//! The servers that live in this binary.

use crate::Outcome;
use crate::client::SECRET;
use async_tungstenite::accept_async;
use async_tungstenite::tungstenite::{Bytes, Message};
use core::cell::RefCell;
use futures_util::{SinkExt as _, StreamExt as _};
use smol::LocalExecutor;
use smol::net::{TcpListener, TcpStream};
use std::rc::Rc;
use wslink::{Attachment, Call, Cx, MethodInfo, RpcError, Service, Topic, TopicInfo};
use wslink_smol::{Options, Server};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// `wslink-smol` with the methods of the benchmark.
    Ours,
    /// The same with 500 methods before them.
    OursMany,
    /// async-tungstenite on smol, which does what the first byte of a message says.
    Bare,
}

pub(crate) fn run(kind: Kind) -> Outcome {
    smol::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("port {}", listener.local_addr()?.port());
        let options = Options::new(SECRET).with_max_connections(20_000);
        match kind {
            Kind::Ours => _ = Server::new(Bench, options).run(listener).await,
            Kind::OursMany => _ = Server::new(Many(Bench), options).run(listener).await,
            Kind::Bare => serve_bare(listener).await?,
        }
        Ok(())
    })
}

pub(crate) struct Bench;

#[wslink::service(blob = Bytes)]
impl Bench {
    #[topic("bench.news", keep_latest)]
    pub(crate) const NEWS: Topic<str>;

    #[rpc("bench.echo")]
    fn echo(&self, text: String) -> String {
        text
    }

    #[rpc("bench.down")]
    fn down(&self, cx: Cx<'_, Bytes>, length: u32) -> Result<Attachment, RpcError> {
        Ok(cx.attach(vec![0; length as usize])?)
    }

    #[rpc("bench.up")]
    fn up(&self, data: &[u8]) -> u64 {
        data.len() as u64
    }

    #[rpc("bench.publish")]
    fn publish(&self, cx: Cx<'_, Bytes>, length: u32) -> Result<u32, RpcError> {
        cx.publish(&Self::NEWS, "x".repeat(length as usize).as_str())?;
        Ok(0)
    }
}

/// How many methods stand before those of the benchmark.
const MANY: usize = 500;

/// The benchmark's methods behind many others.
struct Many(Bench);

const DIGITS: [[u8; 9]; MANY] = {
    let mut all = [*b"many.m000"; MANY];
    let mut i = 0;
    while i < MANY {
        all[i][6] += (i / 100) as u8;
        all[i][7] += (i / 10 % 10) as u8;
        all[i][8] += (i % 10) as u8;
        i += 1;
    }
    all
};

static NAMES: [[u8; 9]; MANY] = DIGITS;

impl Service for Many {
    type Request = <Bench as Service>::Request;
    type Reply = <Bench as Service>::Reply;
    type Blob = <Bench as Service>::Blob;
    const METHODS: &'static [MethodInfo] = &{
        let mut all = [MethodInfo::new("x"); MANY + Bench::METHODS.len()];
        let mut i = 0;
        while i < all.len() {
            all[i] = if i < MANY {
                match core::str::from_utf8(&NAMES[i]) {
                    Ok(name) => MethodInfo::new(name),
                    Err(_) => panic!("digits are text"),
                }
            } else {
                Bench::METHODS[i - MANY]
            };
            i += 1;
        }
        all
    };
    const TOPICS: &'static [TopicInfo] = Bench::TOPICS;

    fn decode(&self, call: &Call<'_>) -> Result<Self::Request, RpcError> {
        let mut call = *call;
        call.index = call.index.checked_sub(MANY).ok_or_else(|| RpcError::failed("empty"))?;
        self.0.decode(&call)
    }

    async fn call(
        &self,
        cx: Cx<'_, Self::Blob>,
        request: Self::Request,
    ) -> Result<Self::Reply, RpcError> {
        self.0.call(cx, request).await
    }
}

/// What the bare server does: the first byte of a message says it, a length may follow.
pub(crate) mod bare {
    /// Sends the message back.
    pub(crate) const ECHO: u8 = b'e';
    /// Sends so many bytes.
    pub(crate) const DOWN: u8 = b'd';
    /// Answers with one byte.
    pub(crate) const UP: u8 = b'u';
    /// Sends so many bytes to all, and one byte to who asked.
    pub(crate) const PUBLISH: u8 = b'p';
    /// What a publication is made of.
    pub(crate) const NEWS: u8 = b'x';
}

type Everybody = Rc<RefCell<Vec<smol::channel::Sender<Message>>>>;

async fn serve_bare(listener: TcpListener) -> Outcome {
    let executor = LocalExecutor::new();
    let everybody = Everybody::default();
    executor
        .run(async {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                // Whoever goes is no fault of the server's.
                executor.spawn(ignore(serve_one(stream, everybody.clone()))).detach();
            }
        })
        .await
}

async fn ignore(work: impl Future<Output = Outcome>) {
    _ = work.await;
}

async fn serve_one(stream: TcpStream, everybody: Everybody) -> Outcome {
    let (sender, news) = smol::channel::unbounded();
    everybody.borrow_mut().push(sender.clone());
    let (mut tx, mut rx) = accept_async(stream).await?.split();
    let reading = async {
        while let Some(message) = rx.next().await {
            let data = message?.into_data();
            let bytes = |of| length_of(&data).map(|length| Bytes::from(vec![of; length]));
            let answer = match data.first() {
                Some(&bare::ECHO) => data,
                Some(&bare::DOWN) => bytes(bare::DOWN)?,
                Some(&bare::PUBLISH) => {
                    let news = Message::Binary(bytes(bare::NEWS)?);
                    everybody.borrow_mut().retain(|one| one.try_send(news.clone()).is_ok());
                    Bytes::from_static(b"p")
                }
                _ => Bytes::from_static(b"u"),
            };
            sender.send(Message::Binary(answer)).await?;
        }
        Ok(())
    };
    let writing = async {
        while let Ok(message) = news.recv().await {
            tx.feed(message).await?;
            if news.is_empty() {
                tx.flush().await?;
            }
        }
        Ok(())
    };
    smol::future::or(reading, writing).await
}

fn length_of(data: &[u8]) -> Outcome<usize> {
    let digits = data.get(1..).unwrap_or_default();
    Ok(str::from_utf8(digits)?.parse()?)
}
