//! Sizes that are claimed, and messages in pieces.

use crate::common::client::{BOTH, Client, Dialect, chunk, code, get};
use crate::common::raw::{header, send_raw};
use crate::common::service::digest;
use crate::common::{SECRET, alone, pattern, resident, until, with_bench};
use crate::{MANY, is_well, many, worked};
use async_tungstenite::tungstenite::Message;
use core::time::Duration;
use rmpv::Value;
use wslink_core::{CloseReason, Config, Limit};

/// The beginning of a request with the id `x`.
const BEGINNING: &[u8] = b"\x82\xa2id\xa1x";

/// What all connections together may cost, of which 64 MiB each were claimed at least.
const LITTLE: usize = 2 << 20;

async fn send_chunk(client: &mut Client, id: u32, offset: u32, total: u32, content: &[u8]) {
    let chunk = chunk(id, offset, total, content);
    client.ws.send(Message::Binary(chunk.into())).await.unwrap();
}

/// The limit by which `x` was refused, and its two numbers.
async fn refused(client: &mut Client) -> (String, u64, u64) {
    let error = client.answer("x").await.unwrap_err();
    assert_eq!(code(&error), -32003);
    let data = get(&error, "data");
    let number = |name| get(data, name).as_u64().unwrap();
    let limit = get(data, "limit").as_str().unwrap().to_owned();
    (limit, number("needed"), number("available"))
}

#[test]
fn four_gibibytes_claimed_cost_nothing() {
    let _alone = alone();
    let limits = Config::desktop().limits;
    for (logged_in, limit, available) in [
        (false, "message_before_hello", limits.message_before_hello),
        (true, "message", limits.message),
    ] {
        with_bench(async |_, address| {
            let mut clients = many(address, Dialect::V2, logged_in).await;
            let before = resident();
            for client in &mut clients {
                // Not the ids that the client uses itself.
                for id in 1001..=1008 {
                    send_chunk(client, id, 0, u32::MAX, BEGINNING).await;
                    let told = refused(client).await;
                    assert_eq!(told, (limit.to_owned(), u32::MAX.into(), available.into()));
                    // The end of it, which is where a buffer would have to reach to.
                    send_chunk(client, id, u32::MAX - 4, u32::MAX, &[7; 4]).await;
                }
                // A message in one piece passes by all that.
                match logged_in {
                    true => is_well(client).await,
                    false => assert!(client.hello(SECRET).await.is_ok()),
                }
            }
            let grown = resident().saturating_sub(before);
            assert!(grown < LITTLE, "{grown} bytes");
        });
    }
}

#[test]
fn what_is_claimed_within_the_limits_costs_what_was_sent() {
    let _alone = alone();
    with_bench(async |_, address| {
        let mut twos = many(address, Dialect::V2, true).await;
        let mut ones = many(address, Dialect::V1, true).await;
        let before = resident();
        for client in &mut twos {
            for id in 1001..=1007 {
                send_chunk(client, id, 0, 64 << 20, &[0x81]).await;
                send_chunk(client, id, 1000, 64 << 20, &[0x81]).await;
            }
            is_well(client).await;
        }
        for client in &mut ones {
            // The header of one frame, and its beginning.
            send_raw(client, &header(0x81, 64 << 20)).await;
            send_raw(client, b"{\"id\":\"x\"").await;
        }
        smol::Timer::after(Duration::from_millis(200)).await;
        let grown = resident().saturating_sub(before);
        assert!(grown < LITTLE, "{grown} bytes for {} GiB", MANY * 8 / 16);
    });
}

#[test]
fn a_frame_of_an_absurd_length_is_refused_before_there_is_room_for_it() {
    let _alone = alone();
    with_bench(async |_, address| {
        for (dialect, logged_in) in BOTH.into_iter().flat_map(|it| [(it, false), (it, true)]) {
            let mut clients = many(address, dialect, logged_in).await;
            let before = resident();
            for client in &mut clients {
                send_raw(client, &header(0x82, (1 << 63) - 1)).await;
                send_raw(client, &[7; 1000]).await;
            }
            for client in &mut clients {
                assert_eq!(client.end().await, Some((1009, "message too big".to_owned())));
            }
            let grown = resident().saturating_sub(before);
            assert!(grown < LITTLE, "{grown} bytes");
        }
    });
}

#[test]
fn thousands_of_messages_that_are_begun_end_their_connection() {
    let _alone = alone();
    with_bench(async |server, address| {
        let mut other = Client::login(address, Dialect::V2).await;
        let mut client = Client::login(address, Dialect::V2).await;
        let before = resident();
        for id in 1..5000 {
            let chunk = chunk(id, 0, 1_000_000, &[0x81]);
            if client.ws.send(Message::Binary(chunk.into())).await.is_err() {
                break;
            }
        }
        assert_eq!(client.end().await, Some((1008, "too many chunks".to_owned())));
        until(|| server.peers() == 1).await;
        let closed = server.service().closed.lock().unwrap().clone();
        let [CloseReason::Limit(exceeded)] = *closed else { panic!("{closed:?}") };
        assert_eq!((exceeded.limit, exceeded.needed), (Limit::Pending, 9));
        is_well(&mut other).await;
        let grown = resident().saturating_sub(before);
        assert!(grown < LITTLE, "{grown} bytes");
    });
}

/// Time grows with what is sent, not with its square.
#[test]
fn a_byte_in_each_chunk_costs_its_chunk_and_no_more() {
    let _alone = alone();
    with_bench(async |_, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        let before = resident();
        let mut took = async |len: usize| {
            let bytes = pattern(len);
            let expected = Ok(Value::Array(vec![len.into(), digest(&bytes).into()]));
            let before = worked();
            let most = core::mem::replace(&mut client.codec.max_msg_size, 13);
            let id = client.start("bench.digest", vec![Value::Binary(bytes)]).await;
            client.codec.max_msg_size = most;
            assert_eq!(client.answer(&id).await, expected);
            worked() - before
        };
        let short = took(4_000).await.min(took(4_000).await);
        let long = took(32_000).await.min(took(32_000).await);
        assert!(long <= 30 * short, "{long:?} for eight times of what took {short:?}");
        let grown = resident().saturating_sub(before);
        assert!(grown < LITTLE, "{grown} bytes");
    });
}

#[test]
fn chunks_with_gaps_are_counted_and_chunks_that_overlap_are_refused() {
    let _alone = alone();
    with_bench(async |_, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        send_chunk(&mut client, 1001, 0, 1_000, BEGINNING).await;
        for nth in 0..64 {
            send_chunk(&mut client, 1001, 100 + 2 * nth, 1_000, &[0]).await;
        }
        assert_eq!(refused(&mut client).await, ("ranges".to_owned(), 65, 64));
        is_well(&mut client).await;

        // Further ahead than memory may be made for.
        send_chunk(&mut client, 1002, 0, 60 << 20, BEGINNING).await;
        send_chunk(&mut client, 1002, 59 << 20, 60 << 20, &[0]).await;
        let ahead = (59 << 20) - BEGINNING.len() as u64;
        assert_eq!(refused(&mut client).await, ("ahead".to_owned(), ahead, 2 << 20));
        is_well(&mut client).await;

        for offset in [0, 25, 49] {
            let mut client = Client::login(address, Dialect::V2).await;
            send_chunk(&mut client, 1, 0, 100, &[0; 50]).await;
            send_chunk(&mut client, 1, offset, 100, &[0; 50]).await;
            let (code, reason) = client.end().await.unwrap();
            assert_eq!((code, reason.as_str()), (1002, "a chunk overlaps another of its message"));
        }
    });
}
