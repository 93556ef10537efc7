//! Blobs that lie in memory: they go to the transport from there.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{BOTH, Client, Raw};
use common::{FRAME, RING, SECRET, config, options, with};
use rmpv::Value;
use serde::Serialize;
use wslink_core::{
    Attachment, Call, Cx, MethodInfo, ParamInfo, RpcError, Service, TopicInfo, code,
};

static BYTES: [u8; 6000] = {
    let mut bytes = [0; 6000];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = (at * at / 7) as u8;
        at += 1;
    }
    bytes
};

/// Answers with the first bytes that are asked for, in a list: twice the same blob, with text before,
/// between and behind.
struct Flash;

#[derive(Serialize)]
struct Twice(&'static str, Attachment, u8, Attachment, &'static str);

impl Service for Flash {
    type Request = usize;
    type Reply = Twice;
    type Blob = &'static [u8];

    const METHODS: &'static [MethodInfo] =
        &[MethodInfo::new("flash.read").with_params(&[ParamInfo::required("length")])];
    const TOPICS: &'static [TopicInfo] = &[];

    fn decode(&self, call: &Call<'_>) -> Result<usize, RpcError> {
        match call.method.name {
            "flash.read" => call.params()?.required(0),
            _ => Err(RpcError::new(code::METHOD_NOT_FOUND, "Unregistered method called")),
        }
    }

    async fn call(&self, cx: Cx<'_, &'static [u8]>, length: usize) -> Result<Twice, RpcError> {
        let bytes = BYTES.get(..length).unwrap_or(&BYTES);
        let blob = cx.attach(bytes)?;
        Ok(Twice("before", blob, 7, blob, "behind"))
    }
}

#[test]
fn a_blob_in_memory_comes_whole_however_little_the_transport_takes() {
    for dialect in BOTH {
        // From frames that the transport takes in pieces to such as it takes at once.
        for ring in [7, 64, RING] {
            with(Flash, options().with_config(config()), async |net| {
                let (rx, tx) = net.connect_with(ring, FRAME);
                let mut client = Client::new(Raw::upgrade(rx, tx).await, dialect);
                client.hello(SECRET).await.unwrap();
                for length in [0, 1, 999, 1000, 1001, 1011, 1012, 1013, 2048, 6000] {
                    let answer = client.call("flash.read", vec![length.into()]).await.unwrap();
                    let bytes = Value::from(&BYTES[..length]);
                    let wanted = ["before".into(), bytes.clone(), 7.into(), bytes, "behind".into()];
                    assert!(answer.as_array().unwrap() == &wanted, "{dialect:?} {ring} {length}");
                }
            });
        }
    }
}
