//! Files that are in the binary.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::raw::{get_with, request};
use common::service::Bench;
use common::{options, with_server};
use core::net::SocketAddr;
use wslink_smol::{Assets, Options};

const PAGE: &[u8] = b"<h1>Scope</h1>";
const SCRIPT: &[u8] = b"0123456789";
const PACKED: &[u8] = b"\x1f\x8bnot really";

fn assets() -> Assets {
    let script = "text/javascript; charset=utf-8";
    Assets::new()
        .with("/index.html", "text/html; charset=utf-8", PAGE)
        .with("/sub/index.html", "text/html", b"sub")
        .with("/app.js", script, SCRIPT)
        .with("/both.js", script, SCRIPT)
        .with_gzipped("/both.js", script, PACKED)
        .with_gzipped("/packed.js", script, PACKED)
        .with("/empty", "text/plain", b"")
}

fn with_assets<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr) -> F) {
    let options: Options = options().with_assets(assets());
    with_server(Bench::default(), options, async |_, address| test(address).await);
}

#[test]
fn files_come_with_their_type_and_tag() {
    with_assets(async |address| {
        for path in ["/", "/?a=b", "/index.html"] {
            let page = get_with(address, path, "").await;
            assert_eq!((page.status, page.body.as_bytes()), (200, PAGE), "{path}");
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(page.header("content-length"), Some("14"));
            assert_eq!(page.header("cache-control"), Some("no-cache"));
            assert!(page.header("etag").unwrap().starts_with('"'), "a strong one");
        }
        assert_eq!(get_with(address, "/sub/", "").await.body, "sub");
        assert_eq!(get_with(address, "/empty", "").await.header("content-length"), Some("0"));
        let (page, script) =
            (get_with(address, "/", "").await, get_with(address, "/app.js", "").await);
        assert_ne!(page.header("etag"), script.header("etag"));

        let head = request(address, "HEAD", "/app.js", "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("content-length"), Some("10"));
        assert_eq!(head.header("etag"), script.header("etag"));
        let posted = request(address, "POST", "/app.js", "Content-Length: 0\r\n").await;
        assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
        for path in ["/sub", "/app.js/", "/../app.js", "//app.js", "/%61pp.js", "/none"] {
            assert_eq!(get_with(address, path, "").await.status, 404, "{path}");
        }
    });
}

#[test]
fn what_a_browser_has_is_not_sent_again() {
    with_assets(async |address| {
        let script = get_with(address, "/app.js", "").await;
        let etag = script.header("etag").unwrap();
        for known in [etag, "*", &format!("\"x\", {etag}"), &format!("W/{etag}")] {
            let headers = format!("If-None-Match: {known}\r\n");
            let same = get_with(address, "/app.js", &headers).await;
            assert_eq!((same.status, same.body.as_str()), (304, ""), "{known}");
            assert_eq!(same.header("etag"), Some(etag));
            assert_eq!(request(address, "HEAD", "/app.js", &headers).await.status, 304);
        }
        for unknown in ["\"x\"", "x", ""] {
            let headers = format!("If-None-Match: {unknown}\r\n");
            assert_eq!(get_with(address, "/app.js", &headers).await.status, 200, "{unknown:?}");
        }
        let matching = |tag: &str| format!("If-Match: {tag}\r\n");
        assert_eq!(get_with(address, "/app.js", &matching(etag)).await.status, 200);
        assert_eq!(get_with(address, "/app.js", &matching("\"x\"")).await.status, 412);
        let weak = matching(&format!("W/{etag}"));
        assert_eq!(get_with(address, "/app.js", &weak).await.status, 412);
    });
}

#[test]
fn parts_are_sent_alone() {
    with_assets(async |address| {
        let etag = get_with(address, "/app.js", "").await.header("etag").unwrap().to_owned();
        let part = async |range: &str, more: &str| {
            get_with(address, "/app.js", &format!("Range: {range}\r\n{more}")).await
        };
        for (range, content, body) in [
            ("bytes=0-0", "bytes 0-0/10", "0"),
            ("bytes=2-4", "bytes 2-4/10", "234"),
            ("bytes=7-", "bytes 7-9/10", "789"),
            ("bytes=-2", "bytes 8-9/10", "89"),
            ("bytes=5-99", "bytes 5-9/10", "56789"),
        ] {
            let answer = part(range, "").await;
            assert_eq!((answer.status, answer.body.as_str()), (206, body), "{range}");
            assert_eq!(answer.header("content-range"), Some(content));
            assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
        }
        for range in ["bytes=10-", "bytes=99-100"] {
            let answer = part(range, "").await;
            assert_eq!((answer.status, answer.body.as_str()), (416, ""), "{range}");
            assert_eq!(answer.header("content-range"), Some("bytes */10"));
        }
        for range in ["bytes=0-1,3-4", "lines=1-2", "bytes=b-a", "bytes=-", "bytes"] {
            let answer = part(range, "").await;
            assert_eq!((answer.status, answer.body.as_bytes()), (200, SCRIPT), "{range}");
        }
        let fresh = part("bytes=2-4", &format!("If-Range: {etag}\r\n")).await;
        assert_eq!((fresh.status, fresh.body.as_str()), (206, "234"));
        for stale in ["\"x\"", &format!("W/{etag}"), "Sat, 01 Jan 2000 00:00:00 GMT"] {
            let answer = part("bytes=2-4", &format!("If-Range: {stale}\r\n")).await;
            assert_eq!((answer.status, answer.body.as_bytes()), (200, SCRIPT), "{stale}");
        }
        let empty = get_with(address, "/empty", "Range: bytes=0-0\r\n").await;
        assert_eq!(empty.status, 416);
    });
}

#[test]
fn what_is_compressed_goes_to_those_who_take_it() {
    with_assets(async |address| {
        let packed = String::from_utf8_lossy(PACKED);
        for takes in ["gzip", "br, gzip;q=0.5", "*", "deflate,x-gzip"] {
            let headers = format!("Accept-Encoding: {takes}\r\n");
            for path in ["/both.js", "/packed.js"] {
                let answer = get_with(address, path, &headers).await;
                assert_eq!((answer.status, answer.body.as_str()), (200, &*packed), "{takes}");
                assert_eq!(answer.header("content-encoding"), Some("gzip"));
                assert_eq!(answer.header("vary"), Some("accept-encoding"));
            }
        }
        for takes in ["", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0\r\n"] {
            let answer = get_with(address, "/both.js", takes).await;
            assert_eq!((answer.status, answer.body.as_bytes()), (200, SCRIPT), "{takes}");
            assert_eq!(answer.header("content-encoding"), None);
            assert_eq!(answer.header("vary"), Some("accept-encoding"));
            assert_eq!(get_with(address, "/packed.js", takes).await.status, 406, "{takes}");
        }
        let plain = get_with(address, "/both.js", "").await;
        let packed = get_with(address, "/both.js", "Accept-Encoding: gzip\r\n").await;
        assert_ne!(plain.header("etag"), packed.header("etag"));
    });
}

#[test]
#[should_panic(expected = "begins with a slash")]
fn a_path_without_a_slash_is_a_mistake() {
    let _ = Assets::new().with("app.js", "text/javascript", b"");
}
