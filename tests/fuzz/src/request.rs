//! What clients ask, in either dialect.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use wslink_core::wire::{Dialect, Writer};

/// An argument.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Arg {
    Int(u64),
    Float(f64),
    Text(String),
    List(Vec<Arg>),
    Map(BTreeMap<&'static str, Arg>),
    Bin(Bin),
}

/// Binary data, in 2.x only.
#[derive(Clone, Debug)]
pub struct Bin(pub Vec<u8>);

impl Serialize for Bin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

/// A request.
#[derive(Clone, Debug, Serialize)]
pub struct Envelope {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub method: &'static str,
    pub args: Vec<Arg>,
    pub kwargs: BTreeMap<&'static str, Arg>,
}

impl Envelope {
    pub fn new(id: impl Into<String>, method: &'static str, args: Vec<Arg>) -> Self {
        Self { id: Some(id.into()), method, args, kwargs: BTreeMap::new() }
    }

    pub fn hello(id: &str) -> Self {
        let secret = Arg::Map([("secret", Arg::Text("wslink-secret".into()))].into());
        Self::new(id, "wslink.hello", vec![secret])
    }

    pub fn encode(&self, dialect: Dialect) -> Vec<u8> {
        let mut nothing = Writer::new(dialect, &mut [], 0, &|_| None);
        nothing.value(self).expect("requests can be written");
        let mut bytes = vec![0; nothing.finish().expect_err("no request is empty").needed];
        let mut writer = Writer::new(dialect, &mut bytes, 0, &|_| None);
        writer.value(self).expect("requests can be written");
        writer.finish().expect("the room that it asked for");
        bytes
    }
}

/// A 2.x chunk.
pub fn chunk(id: u32, offset: u32, total: u32, content: &[u8]) -> Vec<u8> {
    let header = [id, offset, total].map(u32::to_le_bytes);
    [header.as_flattened(), content].concat()
}

/// Bytes that tell where they belong.
pub fn pattern(seed: u32, at: u64) -> u8 {
    let x = (at as u32).wrapping_add(seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
    (x >> 24) as u8 ^ (x >> 11) as u8
}
