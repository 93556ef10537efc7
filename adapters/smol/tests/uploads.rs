//! Uploads that are read as they come.
#![expect(clippy::unwrap_used, reason = "test code")]

mod common;

use async_tungstenite::tungstenite::Message;
use common::client::{BOTH, Client, Dialect, chunk, code, get};
use common::{options, pattern_at, with_server};
use core::time::Duration;
use rmpv::Value;
use wslink_core::{Call, Config, Cx, MethodInfo, NoBlob, ParamInfo, RpcError, Service, TopicInfo};

/// Reads uploads, and holds their bytes against the pattern.
struct Store;

impl Service for Store {
    type Request = bool;
    type Reply = u64;
    type Blob = NoBlob;
    const METHODS: &'static [MethodInfo] = &[
        MethodInfo::new("store.put").with_upload(&[ParamInfo::required("image")]),
        MethodInfo::new("store.ping"),
    ];
    const TOPICS: &'static [TopicInfo] = &[];

    fn decode(&self, call: &Call<'_>) -> Result<bool, RpcError> {
        Ok(call.method.upload)
    }

    async fn call(&self, cx: Cx<'_, NoBlob>, upload: bool) -> Result<u64, RpcError> {
        if !upload {
            return Ok(7);
        }
        let mut upload = cx.upload()?;
        let (mut at, mut buffer) = (0, vec![0; 10_000]);
        loop {
            let count = upload.read(&mut buffer).await;
            if count == 0 {
                return Ok(at as u64);
            }
            let right = buffer[..count].iter().enumerate().all(|(n, it)| *it == pattern_at(at + n));
            if !right {
                return Err(RpcError::failed(format!("other bytes behind {at}")));
            }
            at += count;
        }
    }
}

/// What this process has in memory, in bytes.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split(' ').nth(1)?.parse::<usize>().ok().map(|pages| pages * 4096)
}

#[test]
fn a_hundred_megabytes_in_the_memory_of_a_chunk() {
    const LEN: usize = 100_000_000;
    let mut config = Config::desktop();
    // Little more than a permille of it, for all that comes in.
    config.limits.max_msg_size = 64 << 10;
    config.limits.receive_bytes = 150_000;
    config.limits.message = 100_000;
    config.limits.upload = LEN as u32;
    with_server(Store, options().with_config(config), async |_, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        let mut head = vec![0x84];
        head.extend(b"\xa2id\xa2up\xa6method\xa9store.put\xa4args\x91\xc6");
        head.extend((LEN as u32).to_be_bytes());
        let tail = b"\xa6kwargs\x80";
        let total = head.len() + LEN + tail.len();
        let byte = |at: usize| match at.checked_sub(head.len()) {
            None => head[at],
            Some(at) if at < LEN => pattern_at(at),
            Some(at) => tail[at - LEN],
        };
        let most = client.codec.max_msg_size - 12;
        let before = resident();
        for (nth, start) in (0..total).step_by(most).enumerate() {
            let content: Vec<_> = (start..total.min(start + most)).map(byte).collect();
            let frame = chunk(999_999, start as u32, total as u32, &content);
            client.ws.send(Message::Binary(frame.into())).await.unwrap();
            if nth % 100 == 0 {
                assert_eq!(client.call("store.ping", vec![]).await, Ok(7.into()));
            }
        }
        assert_eq!(client.answer("up").await, Ok(LEN.into()));
        if let (Some(before), Some(after)) = (before, resident()) {
            let more = after.saturating_sub(before);
            assert!(more < 10_000_000, "{more} bytes more than before");
        }
    });
}

#[test]
fn small_and_large_ones_in_both_dialects() {
    for dialect in BOTH {
        with_server(Store, options(), async |_, address| {
            let mut client = Client::login(address, dialect).await;
            for len in [0, 1, 65_523, 65_524, 3_000_000] {
                let image = Value::Binary(common::pattern(len));
                assert_eq!(client.call("store.put", vec![image]).await, Ok(len.into()));
            }
            // One behind the other, without waiting.
            let images = [5, 200_000, 9].map(|len| Value::Binary(common::pattern(len)));
            let mut ids = Vec::new();
            for image in images {
                ids.push(client.start("store.put", vec![image]).await);
            }
            for (id, len) in ids.iter().zip([5, 200_000, 9]) {
                assert_eq!(client.answer(id).await, Ok(len.into()));
            }
        });
    }
}

#[test]
fn an_answer_before_the_end_leaves_the_connection_as_it_is() {
    for dialect in BOTH {
        with_server(Store, options(), async |_, address| {
            let mut client = Client::login(address, dialect).await;
            let error = client.call("store.put", vec![Value::Binary(vec![9; 1_000_000])]).await;
            assert_eq!(code(&error.unwrap_err()), -32001);
            assert_eq!(client.call("store.ping", vec![]).await, Ok(7.into()));
        });
    }
}

#[test]
fn the_limit_of_an_upload_and_one_more() {
    let mut config = Config::desktop();
    config.limits.upload = 100_000;
    for dialect in BOTH {
        with_server(Store, options().with_config(config), async |_, address| {
            let mut client = Client::login(address, dialect).await;
            for len in [99_999, 100_000, 100_001] {
                let image = Value::Binary(common::pattern(len));
                match client.call("store.put", vec![image]).await {
                    Ok(count) => assert_eq!((count, len <= 100_000), (len.into(), true)),
                    Err(error) => {
                        assert_eq!(len, 100_001);
                        assert_eq!(get(get(&error, "data"), "limit").as_str(), Some("upload"));
                    }
                }
            }
        });
    }
}

#[test]
fn a_call_that_waits_for_more_ends_with_its_connection() {
    with_server(Store, options(), async |server, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        let mut head = vec![0x83];
        head.extend(b"\xa2id\xa2up\xa6method\xa9store.put\xa4args\x91\xc6\0\x10\0\0....");
        let frame = chunk(9, 0, (1 << 20) + 100, &head);
        client.ws.send(Message::Binary(frame.into())).await.unwrap();
        assert_eq!(client.call("store.ping", vec![]).await, Ok(7.into()));
        drop(client);
        common::until(|| server.peers() == 0).await;
        smol::Timer::after(Duration::from_millis(1)).await;
    });
}
