//! Who gets in: origins, hellos, identities.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{BOTH, Client, Dialect, get};
use common::raw::{UPGRADE, upgrade};
use common::service::Bench;
use common::{SECRET, options, with_server};
use core::time::Duration;
use std::time::Instant;
use wslink_core::{
    Call, Cx, Hello, Identity, MethodInfo, NoBlob, RpcError, Service, TopicInfo, Verdict,
};
use wslink_smol::{FailedHellos, Options, Origins};

fn asking(origin: &str) -> String {
    format!("GET /ws HTTP/1.1\r\nOrigin: {origin}\r\n{UPGRADE}")
}

#[test]
fn pages_of_other_hosts_may_not_connect() {
    with_server(Bench::default(), options(), async |server, address| {
        for origin in ["http://x", "http://X:80"] {
            let head = upgrade(address, &asking(origin)).await;
            assert!(head.starts_with("http/1.1 101 "), "{origin}: {head}");
        }
        for origin in ["http://evil.example", "http://x.evil.example", "http://x:8080", "null", ""]
        {
            let request = asking(origin).replace("keep-alive", "close");
            let answer = common::raw::ask(address, &request).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
            assert!(answer.contains("may not connect to \"x\""), "{answer}");
        }
        assert_eq!(server.peers(), 0);
        // As of a proxy that hands the page's host on.
        let proxied = asking("https://lab.example").replace("Host: x", "Host: lab.example");
        assert!(upgrade(address, &proxied).await.starts_with("http/1.1 101 "));
    });
    let listed =
        options().with_origins(Origins::only().and("https://lab.example").with_none(false));
    with_server(Bench::default(), listed, async |_, address| {
        assert!(upgrade(address, &asking("https://lab.example")).await.contains(" 101 "));
        assert!(upgrade(address, &asking("http://x")).await.contains(" 403 "));
        let head = upgrade(address, &format!("GET /ws HTTP/1.1\r\n{UPGRADE}")).await;
        assert!(head.contains(" 403 "), "{head}");
    });
    with_server(Bench::default(), options().with_origins(Origins::any()), async |_, address| {
        assert!(upgrade(address, &asking("http://evil.example")).await.contains(" 101 "));
    });
}

/// Knows its users by a cookie, a token in the query, or a header.
struct Guarded;

const MAY_WRITE: u32 = 1;

enum Request {
    Who,
    Write,
}

impl Service for Guarded {
    type Request = Request;
    type Reply = (u32, u32);
    type Blob = NoBlob;
    const METHODS: &'static [MethodInfo] =
        &[MethodInfo::new("guard.who"), MethodInfo::new("guard.write")];
    const TOPICS: &'static [TopicInfo] = &[];

    fn decode(&self, call: &Call<'_>) -> Result<Request, RpcError> {
        Ok(if call.index == 0 { Request::Who } else { Request::Write })
    }

    async fn call(&self, cx: Cx<'_, NoBlob>, request: Request) -> Result<(u32, u32), RpcError> {
        let Identity { user, roles } = cx.identity();
        match request {
            Request::Write if !cx.identity().has(MAY_WRITE) => Err(RpcError::failed("read only")),
            _ => Ok((user, roles)),
        }
    }

    async fn authorize(&self, hello: &Hello<'_>) -> Verdict {
        let Some(request) = hello.request() else { return Verdict::Refuse };
        smol::Timer::after(Duration::from_millis(1)).await;
        assert!(request.remote().unwrap().ip().is_loopback());
        assert_eq!(request.path(), "/ws");
        if request.cookie("session") == Some("operator") {
            return Verdict::AcceptAs(Identity { user: 7, roles: MAY_WRITE });
        }
        if request.query_value("token") == Some("guest") {
            return Verdict::AcceptAs(Identity { user: 8, roles: 0 });
        }
        if request.header("X-Forwarded-User") == Some("admin") && hello.verify() == Verdict::Accept
        {
            return Verdict::AcceptAs(Identity { user: 1, roles: u32::MAX });
        }
        Verdict::Refuse
    }
}

fn pair(user: u32, roles: u32) -> rmpv::Value {
    rmpv::Value::Array(vec![user.into(), roles.into()])
}

#[test]
fn a_service_knows_its_users_by_what_they_asked_with() {
    with_server(Guarded, options().with_failed_hellos(fast()), async |_, address| {
        for dialect in BOTH {
            let connect = async |path: &str, headers: &[(&str, &str)], secret: &str| {
                let mut client = Client::connect_with(address, path, headers, dialect).await;
                client.hello(secret).await.map(|_| client)
            };
            let mut operator =
                connect("/ws", &[("Cookie", "a=b; session=operator")], "").await.unwrap();
            assert_eq!(operator.call("guard.write", vec![]).await, Ok(pair(7, 1)));
            let mut guest = connect("/ws?token=guest", &[], "").await.unwrap();
            assert_eq!(guest.call("guard.who", vec![]).await, Ok(pair(8, 0)));
            let error = guest.call("guard.write", vec![]).await.unwrap_err();
            assert_eq!(get(get(&error, "data"), "exception").as_str(), Some("read only"));
            let admin = [("x-forwarded-user", "admin")];
            assert!(connect("/ws", &admin, SECRET).await.is_ok());
            assert!(connect("/ws", &admin, "wrong").await.is_err());
            assert!(connect("/ws?token=guest2", &[("Cookie", "session=x")], SECRET).await.is_err());
        }
    });
}

fn fast() -> FailedHellos {
    let mut failed = FailedHellos::default();
    (failed.delay, failed.longest) = (Duration::from_millis(1), Duration::from_millis(1));
    failed
}

fn guarded(change: impl FnOnce(&mut FailedHellos)) -> Options {
    let mut failed = FailedHellos::default();
    (failed.delay, failed.longest) = (Duration::from_millis(100), Duration::from_millis(400));
    change(&mut failed);
    options().with_failed_hellos(failed)
}

#[test]
fn each_wrong_hello_takes_longer_and_the_last_one_closes() {
    with_server(Bench::default(), guarded(|failed| failed.most = 4), async |_, address| {
        for dialect in BOTH {
            let mut client = Client::connect(address, dialect).await;
            let mut took = Vec::new();
            for _ in 0..4 {
                let start = Instant::now();
                let error = client.hello("wrong").await.unwrap_err();
                assert_eq!(get(&error, "code").as_i64(), Some(-32000));
                took.push(start.elapsed().as_millis());
            }
            // The second connection comes from an address that is known.
            let least = if dialect == Dialect::V1 { [95, 195, 395, 395] } else { [395; 4] };
            for (took, least) in took.iter().zip(least) {
                assert!((least..least + 300).contains(took), "{took} ms, not {least}");
            }
            assert_eq!(client.end().await, Some((1008, "too many wrong hellos".to_owned())));
        }
        // Whoever knows the secret does not wait, wherever from.
        let start = Instant::now();
        Client::login(address, Dialect::V2).await;
        assert!(start.elapsed() < Duration::from_millis(90), "{:?}", start.elapsed());
    });
}

#[test]
fn a_wrong_hello_holds_nobody_else_up() {
    with_server(Bench::default(), guarded(|_| {}), async |server, address| {
        let mut wrong = Client::connect(address, Dialect::V2).await;
        let wrong = async {
            for _ in 0..3 {
                wrong.hello("wrong").await.unwrap_err();
            }
            // After a few it may still think better of it.
            wrong.hello(SECRET).await.unwrap();
        };
        let right = async {
            let mut client = Client::login(address, Dialect::V1).await;
            let start = Instant::now();
            for _ in 0..20 {
                client.call("bench.add", vec![1.into(), 2.into()]).await.unwrap();
            }
            assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
        };
        smol::future::zip(wrong, right).await;
        assert!(server.peers() >= 1);
    });
}
