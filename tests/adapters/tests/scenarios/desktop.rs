//! `wslink-smol` on a socket.

use crate::{Connect, Executor, SECRET, config};
use smol::future::FutureExt as _;
use smol::net::{TcpListener, TcpStream};
use wslink_adapters::Stream;
use wslink_core::Config;
use wslink_scenarios::Bench;
use wslink_smol::{Options, Server};

pub(crate) async fn serve(executor: &Executor, change: fn(&mut Config)) -> Connect {
    let (config, hub) = config(change);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = Options::new(SECRET).with_config(config).with_hub(hub);
    let server = Server::new(Bench::default(), options);
    executor.spawn(async move { server.run(listener).await }).detach();
    Box::new(move || {
        async move {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            Stream::Tcp(stream)
        }
        .boxed_local()
    })
}
