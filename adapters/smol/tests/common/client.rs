//! A client of both dialects, on tungstenite.

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::client::IntoClientRequest as _;
use async_tungstenite::tungstenite::http::HeaderName;
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::{WebSocketStream, client_async_with_config};
use core::net::SocketAddr;
use futures_util::{SinkExt as _, StreamExt as _};
use rmpv::Value;
use smol::net::TcpStream;
use wslink_adapters::codec::{self, Codec, answers, outcome, publishes};
pub use wslink_adapters::codec::{BOTH, Dialect, chunk, code, get};

pub struct Client {
    pub ws: WebSocketStream<TcpStream>,
    pub codec: Codec,
    /// The frame with which the server closed.
    pub closed: Option<Option<CloseFrame>>,
}

impl Client {
    /// A connection that has not said hello.
    pub async fn connect(address: SocketAddr, dialect: Dialect) -> Self {
        Self::connect_at(address, "/ws?sessionURL=x", dialect).await
    }

    /// The same at another path.
    pub async fn connect_at(address: SocketAddr, path: &str, dialect: Dialect) -> Self {
        Self::connect_with(address, path, &[], dialect).await
    }

    /// The same with more headers.
    pub async fn connect_with(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
        dialect: Dialect,
    ) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let config = WebSocketConfig::default().read_buffer_size(16 << 10);
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (ws, _) = client_async_with_config(request, stream, Some(config)).await.unwrap();
        Self { ws, codec: Codec::new(dialect, 4096), closed: None }
    }

    /// A connection whose hello was accepted.
    pub async fn login(address: SocketAddr, dialect: Dialect) -> Self {
        let mut client = Self::connect(address, dialect).await;
        let welcome = client.hello(super::SECRET).await.unwrap();
        assert!(get(&welcome, "clientID").as_str().unwrap().starts_with('c'));
        client
    }

    pub async fn hello(&mut self, secret: &str) -> Result<Value, Value> {
        let secret = Value::Map(vec![("secret".into(), secret.into())]);
        self.send("system:c0:0", "wslink.hello", vec![secret]).await;
        let result = self.answer("system:c0:0").await;
        if let Ok(welcome) = &result
            && let Some(size) = get(welcome, "maxMsgSize").as_u64()
        {
            self.codec.max_msg_size = size as usize;
        }
        result
    }

    /// Calls and waits for the answer; publications are kept in the inbox.
    pub async fn call(&mut self, method: &str, args: Vec<Value>) -> Result<Value, Value> {
        let id = self.start(method, args).await;
        self.answer(&id).await
    }

    /// Calls, and tells the id.
    pub async fn start(&mut self, method: &str, args: Vec<Value>) -> String {
        let id = self.codec.next_id();
        self.send(&id, method, args).await;
        id
    }

    /// The same for a call that the client names, to follow and to cancel it.
    pub async fn start_named(&mut self, token: u32, method: &str, args: Vec<Value>) -> String {
        let id = self.codec.next_id();
        let kwargs = vec![("wslink_token".into(), token.into())];
        self.send_with(&id, method, args, kwargs).await;
        id
    }

    pub async fn send(&mut self, id: &str, method: &str, args: Vec<Value>) {
        self.send_with(id, method, args, vec![]).await;
    }

    async fn send_with(
        &mut self,
        id: &str,
        method: &str,
        args: Vec<Value>,
        kwargs: Vec<(Value, Value)>,
    ) {
        for message in self.codec.encode(id, method, args, kwargs) {
            let message = match message {
                codec::Message::Text(text) => Message::text(text),
                codec::Message::Binary(bytes) => Message::binary(bytes),
            };
            self.ws.feed(message).await.unwrap();
        }
        self.ws.flush().await.unwrap();
    }

    /// Waits for the answer to `id`.
    pub async fn answer(&mut self, id: &str) -> Result<Value, Value> {
        outcome(&self.take(answers(id)).await)
    }

    /// Waits for a publication.
    pub async fn published(&mut self, topic: &str) -> Value {
        get(&self.take(publishes(topic)).await, "result").clone()
    }

    pub async fn take(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(message) = self.codec.take(&wanted) {
                return message;
            }
            assert!(self.receive().await, "closed: {:?}", self.closed);
        }
    }

    /// Reads one WebSocket message; false at the end.
    pub async fn receive(&mut self) -> bool {
        let message = match self.ws.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => panic!("{error}"),
            None => return false,
        };
        match message {
            Message::Text(text) => self.codec.decode_text(&text),
            Message::Binary(bytes) => self.codec.decode_binary(&bytes),
            Message::Close(frame) => self.closed = Some(frame),
            _ => {}
        }
        true
    }

    /// Reads to the end and tells how the server closed.
    pub async fn end(&mut self) -> Option<(u16, String)> {
        loop {
            match self.ws.next().await {
                Some(Ok(Message::Close(frame))) => self.closed = Some(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        let frame = self.closed.clone()??;
        Some((frame.code.into(), frame.reason.to_string()))
    }
}
