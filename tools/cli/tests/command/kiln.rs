//! The server that commands are tried against: a kiln, and a loop of its own.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use serde::Serialize;

use std::sync::{Arc, Mutex};
use std::thread;
use wslink::{Attachment, Audience, Binary, Cx, RpcError, Topic};
use wslink_core::Config;
use wslink_smol::{Options, Server, Stop};

pub(crate) type Pixels = Arc<[u8]>;

pub(crate) struct Kiln {
    celsius: AtomicU32,
    logo: Mutex<Pixels>,
}

#[derive(Serialize)]
struct Picture {
    width: u32,
    pixels: Attachment,
}

#[derive(Serialize)]
struct Glow {
    celsius: u32,
    image: Attachment,
}

#[wslink::service(blob = Pixels)]
impl Kiln {
    /// Degrees Celsius, after each change.
    #[topic("kiln.temperature", keep_latest, retained)]
    const TEMPERATURE: Topic<u32>;

    /// What it looks like.
    #[topic("kiln.glow", drop_oldest(100))]
    const GLOW: Topic<Glow>;

    /// Heats up or cools down.
    /// Gives back how warm it was before.
    #[rpc("kiln.set")]
    fn set(&self, cx: Cx<'_, Pixels>, celsius: u32) -> Result<u32, RpcError> {
        if celsius > 1300 {
            return Err(RpcError::failed("it would melt"));
        }
        let before = self.celsius.swap(celsius, Ordering::Relaxed);
        cx.publish(&Self::TEMPERATURE, &celsius)?;
        Ok(before)
    }

    /// Publishes so many pictures.
    #[rpc("kiln.watch")]
    async fn watch(
        &self,
        cx: Cx<'_, Pixels>,
        count: u32,
        #[rpc(default = 10)] bytes: u32,
    ) -> Result<u32, RpcError> {
        for nth in 0..count {
            let image: Pixels = vec![nth as u8; bytes as usize].into();
            let glow = Glow { celsius: 1000 + nth, image: Attachment::nth(0) };
            cx.publish_to(Audience::All, &Self::GLOW, &glow, &[image])?;
        }
        Ok(count)
    }

    /// Takes as long as it is told.
    #[rpc("kiln.fire", deadline = "90s")]
    async fn fire(&self, seconds: f64) -> f64 {
        smol::Timer::after(Duration::from_secs_f64(seconds)).await;
        seconds
    }

    /// Gives back how many bytes there were.
    #[rpc("kiln.set_logo")]
    fn set_logo(&self, pixels: Binary<'_>) -> usize {
        *self.logo.lock().unwrap() = pixels.0.into();
        pixels.0.len()
    }

    #[rpc("kiln.logo")]
    fn logo(&self, cx: Cx<'_, Pixels>) -> Result<Picture, RpcError> {
        let logo = self.logo.lock().unwrap().clone();
        Ok(Picture { width: 64, pixels: cx.attach(logo)? })
    }

    /// Only the bytes.
    #[rpc("kiln.pixels")]
    fn pixels(&self, cx: Cx<'_, Pixels>) -> Result<Attachment, RpcError> {
        let logo = self.logo.lock().unwrap().clone();
        Ok(cx.attach(logo)?)
    }
}

/// A kiln that listens, until it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: Stop,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::with_secret("wslink-secret")
    }

    pub(crate) fn with_secret(secret: &str) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), secret)
    }

    pub(crate) fn at(address: SocketAddr, secret: &str) -> Self {
        Self::with(address, Options::new(secret))
    }

    /// That takes messages of so many bytes.
    pub(crate) fn with_room_for(bytes: u32) -> Self {
        let mut config = Config::desktop();
        config.limits.message = bytes;
        config.limits.frame = bytes;
        config.limits.receive_bytes = 2 * bytes;
        Self::with(([127, 0, 0, 1], 0).into(), Options::new("wslink-secret").with_config(config))
    }

    fn with(address: SocketAddr, options: Options) -> Self {
        let kiln = Kiln { celsius: AtomicU32::new(20), logo: Mutex::new(Pixels::from([])) };
        let server = Server::new(kiln, options);
        let stop = server.stop_handle();
        let listener = std::net::TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let listener = smol::net::TcpListener::try_from(listener).unwrap();
            smol::block_on(server.run(listener));
        });
        Self { address, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        // A panic in it was shown already.
        _ = self.thread.take().map(thread::JoinHandle::join);
    }
}
