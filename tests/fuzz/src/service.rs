//! The service of the connections: what it offers, and what it gives back.

use crate::pattern;
use core::time::Duration;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::rc::Rc;
use wslink_core::{Api, Attachment, Blob, MethodInfo, ParamInfo, Policy, Topic, TopicInfo};

/// A blob of a known pattern, in memory or made on the fly.
#[derive(Clone, Debug)]
pub struct Piece {
    pub seed: u32,
    pub len: u32,
    bytes: Option<Rc<[u8]>>,
}

impl Piece {
    pub fn new(seed: u32, len: u32) -> Self {
        let bytes = (seed & 1 == 0).then(|| (0..len).map(|at| pattern(seed, at.into())).collect());
        Self { seed, len, bytes }
    }
}

impl Blob for Piece {
    fn len(&self) -> u64 {
        self.len.into()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let count = into.len().min(u64::from(self.len).saturating_sub(offset) as usize);
        for (byte, at) in into.iter_mut().zip(offset..).take(count) {
            *byte = pattern(self.seed, at);
        }
        count
    }

    fn as_slice(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }
}

/// What a method gives back, and what is published: with `data`, of which the client knows what
/// it has to be.
#[derive(Clone, Debug, Serialize)]
pub struct Value {
    pub n: u64,
    pub seed: u32,
    pub len: u32,
    pub data: Vec<Attachment>,
    pub pad: String,
}

#[derive(Clone, Debug)]
pub enum Reply {
    Value(Value, Option<Piece>),
    Unserializable,
    Fail(u16),
}

impl Reply {
    /// `size` tells the text, or the attachment and how often it is named.
    pub fn new(kind: u8, seed: u32, size: u16) -> Self {
        let value = |pad: usize| Value {
            n: 0,
            seed,
            len: 0,
            data: Vec::new(),
            pad: "é".repeat(pad / 2) + &"x".repeat(pad % 2),
        };
        match kind % 8 {
            0 | 1 => Self::Value(value(usize::from(size % 16)), None),
            2 | 3 => Self::Value(value(usize::from(size % 2048)), None),
            4 | 5 => {
                let len = u32::from(size % 1500);
                let data = vec![Attachment::nth(0); usize::from(size >> 13)];
                Self::Value(Value { len, data, ..value(0) }, Some(Piece::new(seed, len)))
            }
            6 => Self::Fail(size),
            _ => Self::Unserializable,
        }
    }
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value, _) => value.serialize(serializer),
            _ => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(&[1, 2], &3)?;
                map.end()
            }
        }
    }
}

/// Answered at once or later, as the script says.
pub const CALL: &str = "fuzz.call";
/// Has a deadline of its own.
pub const TIMED: &str = "fuzz.timed";
/// Is given bytes of a known pattern.
pub const TAKE: &str = "fuzz.take";

/// Reads bytes of a known pattern as they come.
pub const UPLOAD: &str = "fuzz.upload";

const METHODS: [MethodInfo; 4] = [
    MethodInfo::new(CALL).with_doc("Answered as the script says."),
    MethodInfo::new(TIMED).with_deadline(Duration::from_millis(700)),
    MethodInfo::new(TAKE).with_params(&[
        ParamInfo::required("data").with_type("bin"),
        ParamInfo::required("seed"),
        ParamInfo::required("len"),
    ]),
    MethodInfo::new(UPLOAD).with_upload(&[ParamInfo::required("data")]),
];

const fn topic(name: &'static str, policy: Policy) -> Topic<()> {
    Topic::new(name).with_policy(policy)
}

/// One of each policy, some of them retained, and at the end one that is not declared.
pub const NAMES: [&str; 8] = [
    "fuzz.all",
    "fuzz.last",
    "fuzz.few",
    "fuzz.strict",
    "kept.all",
    "kept.last",
    "kept.strict",
    "undeclared",
];

static TOPICS: [TopicInfo; 7] = [
    topic(NAMES[0], Policy::DropOldest(u16::MAX)).info(),
    topic(NAMES[1], Policy::KeepLatest).info(),
    topic(NAMES[2], Policy::DropOldest(2)).info(),
    topic(NAMES[3], Policy::Disconnect).info(),
    topic(NAMES[4], Policy::DropOldest(u16::MAX)).retained().info(),
    topic(NAMES[5], Policy::KeepLatest).retained().info(),
    topic(NAMES[6], Policy::Disconnect).retained().info(),
];

pub static API: Api = Api { methods: &METHODS, topics: &TOPICS };

pub const fn is_retained(topic: usize) -> bool {
    topic >= 4 && topic < 7
}
