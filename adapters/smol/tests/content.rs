//! Files of a directory, and no others.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::raw::{ask, get_with, request};
use common::service::Bench;
use common::{options, pattern, with_server};
use core::net::SocketAddr;
use core::time::Duration;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::TcpStream;
use std::fs;
use std::path::{Path, PathBuf};
use wslink_core::Config;
use wslink_smol::Options;

/// A folder of its own for each test, with a site in it and a secret beside that.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wslink-{}-{name}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("site/sub")).unwrap();
        let write = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
        write("secret.txt", "SECRET");
        write("site/index.html", "<h1>index</h1>");
        write("site/app.js", "0123456789");
        write("site/sub/index.html", "sub");
        write("site/with space.txt", "space");
        write("site/module.wasm", "");
        Self(path)
    }

    fn site(&self) -> PathBuf {
        self.0.join("site")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn with_content<F: Future<Output = ()>>(options: Options, test: impl FnOnce(SocketAddr) -> F) {
    with_server(Bench::default(), options, async |_, address| test(address).await);
}

#[test]
fn files_come_with_their_types_and_tags() {
    let folder = Folder::new("types");
    with_content(options().with_content(folder.site()).unwrap(), async |address| {
        for (path, kind) in [
            ("/index.html", "text/html"),
            ("/app.js", "text/javascript"),
            ("/module.wasm", "application/wasm"),
            ("/with%20space.txt", "text/plain"),
            ("/sub/", "text/html"),
        ] {
            let file = get_with(address, path, "").await;
            assert_eq!((file.status, file.header("content-type")), (200, Some(kind)), "{path}");
            assert!(file.header("last-modified").is_some() && file.header("etag").is_some());
            assert_eq!(file.header("cache-control"), Some("no-cache"));
        }
        let script = get_with(address, "/app.js", "").await;
        assert_eq!(script.body, "0123456789");
        let head = request(address, "HEAD", "/app.js", "").await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
        assert_eq!(head.body, "");
        let posted = request(address, "PUT", "/app.js", "Content-Length: 0\r\n").await;
        assert_eq!(posted.status, 405);
        assert!(posted.header("allow").unwrap().contains("GET"));

        let (etag, date) =
            (script.header("etag").unwrap(), script.header("last-modified").unwrap());
        for known in [format!("If-None-Match: {etag}"), format!("If-Modified-Since: {date}")] {
            let same = get_with(address, "/app.js", &format!("{known}\r\n")).await;
            assert_eq!((same.status, same.body.as_str()), (304, ""), "{known}");
        }
        let part = get_with(address, "/app.js", "Range: bytes=2-4\r\n").await;
        assert_eq!((part.status, part.body.as_str()), (206, "234"));
        assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
        let beyond = get_with(address, "/app.js", "Range: bytes=10-\r\n").await;
        assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
        let stale = "Range: bytes=2-4\r\nIf-Range: \"x\"\r\n";
        assert_eq!(get_with(address, "/app.js", stale).await.status, 200);
    });
}

#[test]
fn the_root_leads_to_the_index_and_keeps_the_query() {
    let folder = Folder::new("root");
    with_content(options().with_content(folder.site()).unwrap(), async |address| {
        for (path, location) in [
            ("/", "index.html"),
            ("/?sessionURL=ws://x/ws&a=%20", "index.html?sessionURL=ws://x/ws&a=%20"),
            ("/?", "index.html?"),
        ] {
            let answer = get_with(address, path, "").await;
            assert_eq!((answer.status, answer.header("location")), (302, Some(location)), "{path}");
        }
        assert_eq!(request(address, "POST", "/", "Content-Length: 0\r\n").await.status, 405);
        let answer = get_with(address, "/sub?a=b", "").await;
        assert_eq!((answer.status, answer.header("location")), (307, Some("./sub/?a=b")));
        assert!(get_with(address, "/health", "").await.body.contains("\"status\":\"ok\""));
    });
}

#[test]
fn a_location_leads_to_no_other_host() {
    let folder = Folder::new("host");
    fs::create_dir(folder.site().join("evil.example")).unwrap();
    fs::create_dir(folder.site().join("javascript:alert(1)")).unwrap();
    with_content(options().with_content(folder.site()).unwrap(), async |address| {
        for path in ["//evil.example", "/javascript:alert(1)", "//"] {
            let answer = get_with(address, path, "").await;
            let location = answer.header("location").unwrap_or("./");
            assert!(location.starts_with("./"), "{path} leads to {location}");
        }
    });
}

/// Every path that was ever used to leave a web server's root.
const HOSTILE: &[&str] = &[
    "/../secret.txt",
    "/sub/../../secret.txt",
    "/./../secret.txt",
    "/..",
    "/../",
    "/%2e%2e/secret.txt",
    "/%2E%2E/secret.txt",
    "/.%2e/secret.txt",
    "/%2e./secret.txt",
    "/..%2fsecret.txt",
    "/%2e%2e%2fsecret.txt",
    "/sub%2f..%2f..%2fsecret.txt",
    "/..%5csecret.txt",
    "/..\\secret.txt",
    "/%252e%252e/secret.txt",
    "/..%252fsecret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/..%c0%afsecret.txt",
    "/..;/secret.txt",
    "//../secret.txt",
    "///etc/passwd",
    "//etc/passwd",
    "/%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/C:/Windows/win.ini",
    "/file:///etc/passwd",
    "/app.js%00.html",
    "/%00",
    "/app.js/",
    "/app.js/x",
    "/data/../secret.txt",
    "/data/..%2fsecret.txt",
    "/data/%2e%2e/secret.txt",
    "/data//etc/passwd",
    "/data%2f..%2fsecret.txt",
];

#[test]
fn nothing_leads_out_of_the_root() {
    let folder = Folder::new("hostile");
    let options = options()
        .with_content(folder.site())
        .and_then(|options| options.with_directory("data", folder.site().join("sub")))
        .unwrap();
    with_content(options, async |address| {
        for path in HOSTILE {
            for form in [(*path).to_owned(), format!("http://x{path}")] {
                let request =
                    format!("GET {form} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                let answer = ask(address, &request).await;
                let refused = ["HTTP/1.1 404 ", "HTTP/1.1 400 "];
                assert!(refused.iter().any(|it| answer.starts_with(it)), "{form}: {answer}");
                assert!(!answer.contains("SECRET") && !answer.contains("root:"), "{form}");
            }
        }
        let long = format!("/{}", "a".repeat(5000));
        assert_eq!(get_with(address, &long, "").await.status, 404);
        let deep = "/a".repeat(3000);
        assert_eq!(get_with(address, &deep, "").await.status, 404);
    });
}

#[cfg(unix)]
fn link(from: &Path, to: impl AsRef<Path>) {
    std::os::unix::fs::symlink(to, from).unwrap();
}

#[test]
#[cfg(unix)]
fn links_stay_within_the_root_unless_allowed() {
    let folder = Folder::new("links");
    let site = folder.site();
    link(&site.join("inside.js"), "app.js");
    link(&site.join("sub/up.js"), "../app.js");
    link(&site.join("relative.txt"), "../secret.txt");
    link(&site.join("absolute.txt"), folder.0.join("secret.txt"));
    link(&site.join("parent"), "..");
    link(&site.join("twice"), "parent/secret.txt");
    link(&site.join("loop"), "loop");
    link(&site.join("broken"), "nowhere");
    let outside = ["/relative.txt", "/absolute.txt", "/parent/secret.txt", "/twice"];

    with_content(options().with_content(&site).unwrap(), async |address| {
        for path in ["/inside.js", "/sub/up.js"] {
            assert_eq!(get_with(address, path, "").await.body, "0123456789", "{path}");
        }
        for path in outside.iter().chain(&["/parent/", "/parent", "/broken"]) {
            for method in ["GET", "HEAD"] {
                let answer = request(address, method, path, "").await;
                assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
                assert!(!answer.body.contains("SECRET"));
            }
        }
        assert_eq!(get_with(address, "/loop", "").await.status, 500);
    });
    let following = options().with_content(&site).unwrap().with_symlinks(true);
    with_content(following, async |address| {
        for path in outside {
            assert_eq!(get_with(address, path, "").await.body, "SECRET", "{path}");
        }
        assert_eq!(get_with(address, "/../secret.txt", "").await.status, 404);
        assert_eq!(get_with(address, "/broken", "").await.status, 404);
        assert_eq!(get_with(address, "/loop", "").await.status, 500);
    });
    // The root itself may be a link.
    link(&folder.0.join("linked"), "site");
    with_content(options().with_content(folder.0.join("linked")).unwrap(), async |address| {
        assert_eq!(get_with(address, "/app.js", "").await.status, 200);
        assert_eq!(get_with(address, "/relative.txt", "").await.status, 404);
    });
}

#[test]
#[cfg(unix)]
fn what_is_no_file_is_not_there() {
    let folder = Folder::new("pipe");
    let pipe = folder.site().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.site().join("socket")).unwrap();
    link(&folder.site().join("device"), "/dev/zero");
    for follow in [false, true] {
        let options = options().with_content(folder.site()).unwrap().with_symlinks(follow);
        with_content(options, async |address| {
            for path in ["/pipe", "/socket", "/device"] {
                assert_eq!(get_with(address, path, "").await.status, 404, "{path}");
            }
        });
    }
}

#[test]
fn directories_have_paths_of_their_own() {
    let folder = Folder::new("named");
    fs::create_dir(folder.0.join("deep")).unwrap();
    fs::write(folder.0.join("deep/file"), "deep").unwrap();
    let options = options()
        .with_directory("data", folder.site())
        .and_then(|options| options.with_directory("/data/deep/", folder.0.join("deep")))
        .unwrap();
    with_content(options, async |address| {
        assert_eq!(get_with(address, "/data/app.js?x", "").await.body, "0123456789");
        assert_eq!(get_with(address, "/data/deep/file", "").await.body, "deep");
        assert_eq!(get_with(address, "/data/", "").await.body, "<h1>index</h1>");
        let answer = get_with(address, "/data/sub", "").await;
        assert_eq!((answer.status, answer.header("location")), (307, Some("./sub/")));
        for path in ["/datax/app.js", "/app.js", "/data/none"] {
            assert_eq!(get_with(address, path, "").await.status, 404, "{path}");
        }
        assert!(get_with(address, "/", "").await.body.contains("/ws"), "no content, no redirect");
    });
}

#[test]
fn a_directory_that_is_not_there_is_refused() {
    let folder = Folder::new("missing");
    for (path, name) in
        [(folder.0.join("none"), "content"), (folder.site().join("app.js"), "content")]
    {
        assert_eq!(options().with_content(path).unwrap_err().name(), name);
    }
    for name in ["", "/", "a b", "a?b", "a%2fb", "ä"] {
        assert!(options().with_directory(name, folder.site()).is_err(), "{name:?}");
    }
}

#[test]
fn a_directory_may_be_made_anew() {
    let folder = Folder::new("anew");
    with_content(options().with_content(folder.site()).unwrap(), async |address| {
        assert_eq!(get_with(address, "/app.js", "").await.status, 200);
        fs::remove_dir_all(folder.site()).unwrap();
        assert_eq!(get_with(address, "/app.js", "").await.status, 404);
        fs::create_dir(folder.site()).unwrap();
        fs::write(folder.site().join("app.js"), "new").unwrap();
        assert_eq!(get_with(address, "/app.js", "").await.body, "new");
    });
}

#[test]
fn a_large_file_comes_whole_and_in_parts() {
    let folder = Folder::new("large");
    let bytes = pattern(3_000_000);
    fs::write(folder.site().join("large.bin"), &bytes).unwrap();
    with_content(options().with_content(folder.site()).unwrap(), async |address| {
        let fetch = async |range: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request =
                format!("GET /large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{range}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let head = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
            answer.split_off(head)
        };
        assert!(fetch("").await == bytes);
        assert!(fetch("Range: bytes=1000001-2000000\r\n").await == bytes[1_000_001..=2_000_000]);
    });
}

#[test]
fn who_asks_and_does_not_read_is_given_up() {
    let folder = Folder::new("stalled");
    fs::write(folder.site().join("large.bin"), vec![0; 50_000_000]).unwrap();
    let mut config = Config::desktop();
    config.deadlines.write = Duration::from_millis(300);
    let options = options().with_content(folder.site()).unwrap().with_config(config);
    with_server(Bench::default(), options, async |_, address| {
        let mut stalled = TcpStream::connect(address).await.unwrap();
        stalled.write_all(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let connections = async || {
            let health = get_with(address, "/health", "").await.body;
            let (_, rest) = health.split_once("\"connections\":").unwrap();
            rest.split(',').next().unwrap().parse::<u32>().unwrap()
        };
        assert_eq!(connections().await, 2);
        let mut left = 2;
        while left != 1 {
            smol::Timer::after(Duration::from_millis(50)).await;
            left = connections().await;
        }
    });
}
