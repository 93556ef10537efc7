//! The ways to a server: through a proxy, through TLS, and why there is none.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::{SECRET, with_bench};
use core::net::SocketAddr;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::{TcpListener, TcpStream};
use smol::{Task, io};
use std::sync::{Arc, Mutex};
use wslink_smol::Client;
use wslink_smol::client::{ConnectError, Options};

fn options() -> Options {
    Options::new(SECRET).without_proxy()
}

/// Connects, makes a call, and closes.
async fn sum(url: &str, options: Options) -> Result<i64, ConnectError> {
    let (client, driver) = Client::connect(url, options).await?;
    let driver = smol::spawn(driver);
    let sum = client.call("bench.add").arg(1).arg(2).send().await.unwrap();
    drop(client);
    driver.await.unwrap();
    Ok(sum)
}

async fn join<A, B>(one: A, two: B)
where
    A: io::AsyncRead + io::AsyncWrite + Unpin + Clone,
    B: io::AsyncRead + io::AsyncWrite + Unpin,
{
    let (read, write) = io::split(two);
    // Whichever way ends first ends the other.
    _ = smol::future::or(io::copy(one.clone(), write), io::copy(read, one)).await;
}

/// A proxy that answers CONNECT, and tells what it was asked.
async fn proxy(answer: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>, Task<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let task = smol::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let target = head.split(' ').nth(1).unwrap().to_owned();
            seen.lock().unwrap().push(head);
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.starts_with("HTTP/1.1 200") {
                let server = TcpStream::connect(target).await.unwrap();
                smol::spawn(join(server, stream)).detach();
            }
        }
    });
    (address, asked, task)
}

#[test]
fn through_a_proxy() {
    with_bench(|_, address| async move {
        let (at, asked, _task) = proxy("HTTP/1.1 200 Connection established\r\n\r\n").await;
        let through = options().with_proxy(format!("http://user:pass@{at}"));
        assert_eq!(sum(&format!("ws://{address}/ws"), through).await.unwrap(), 3);
        let head = asked.lock().unwrap().remove(0).to_lowercase();
        assert!(head.starts_with(&format!("connect {address} http/1.1\r\n")), "{head}");
        assert!(head.contains("proxy-authorization: basic dxnlcjpwyxnz\r\n"), "{head}");
    });
}

#[test]
fn a_proxy_that_refuses() {
    with_bench(|_, address| async move {
        let (at, _, _task) =
            proxy("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await;
        let through = options().with_proxy(format!("http://user:secret@{at}"));
        let error = sum(&format!("ws://{address}/ws"), through).await.unwrap_err().to_string();
        let expected = format!(
            "no way through the proxy: {at}: the answer is 407 Proxy Authentication Required"
        );
        assert_eq!(error, expected);
        let nobody = options().with_proxy("http://127.0.0.1:1");
        let error = sum(&format!("ws://{address}/ws"), nobody).await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:1: Connection refused"), "{error}");
    });
}

/// A proxy of SOCKS 5 (RFC 1928, 1929) for one connection, and what it was asked.
async fn socks(login: Option<&'static [u8]>) -> (SocketAddr, Task<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = smol::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let read = async |stream: &mut TcpStream, count: usize| {
            let mut bytes = vec![0; count];
            stream.read_exact(&mut bytes).await.unwrap();
            bytes
        };
        let offered = read(&mut stream, 2).await[1];
        let offered = read(&mut stream, offered.into()).await;
        let method = if login.is_some() { 2 } else { 0 };
        assert!(offered.contains(&method), "{offered:?}");
        stream.write_all(&[5, method]).await.unwrap();
        if let Some(login) = login {
            let said = read(&mut stream, login.len()).await;
            let right = u8::from(said != login);
            stream.write_all(&[1, right]).await.unwrap();
            if right != 0 {
                return said;
            }
        }
        let mut asked = read(&mut stream, 5).await;
        let rest = if asked[3] == 3 { usize::from(asked[4]) + 2 } else { 5 };
        asked.extend(read(&mut stream, rest).await);
        let port = u16::from_be_bytes(asked[asked.len() - 2..].try_into().unwrap());
        let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        join(server, stream).await;
        asked
    });
    (address, task)
}

#[test]
fn through_a_proxy_of_socks() {
    with_bench(|_, address| async move {
        let port = address.port().to_be_bytes();
        let url = format!("ws://localhost:{}/ws", address.port());
        let (at, asked) = socks(None).await;
        let through = options().with_proxy(format!("socks5h://{at}"));
        assert_eq!(sum(&url, through).await.unwrap(), 3);
        assert_eq!(asked.await, [b"\x05\x01\0\x03\x09localhost".as_slice(), &port].concat());

        // Without the `h` the proxy is told an address.
        let (at, asked) = socks(Some(b"\x01\x04user\x06pass:1")).await;
        let through = options().with_proxy(format!("socks5://user:pass%3A1@{at}"));
        let url = format!("ws://{address}/ws");
        assert_eq!(sum(&url, through).await.unwrap(), 3);
        assert_eq!(asked.await, [b"\x05\x01\0\x01\x7f\0\0\x01".as_slice(), &port].concat());

        let (at, asked) = socks(Some(b"\x01\x04user\x05wrong")).await;
        let through = options().with_proxy(format!("socks5://user:other@{at}"));
        let error = sum(&url, through).await.unwrap_err().to_string();
        assert_eq!(
            error,
            format!("no way through the proxy: {at}: Password auth failure, code: 1")
        );
        assert_eq!(asked.await, b"\x01\x04user\x05other");
        let nobody = options().with_proxy("socks5://127.0.0.1:1");
        let error = sum(&url, nobody).await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:1: Connection refused"), "{error}");
        let older = options().with_proxy("socks4://127.0.0.1:1");
        let error = sum(&url, older).await.unwrap_err().to_string();
        assert!(error.contains("socks4:// is not supported"), "{error}");
    });
}

/// The environment of a process cannot be changed while threads run, so another one is asked.
#[test]
fn by_what_the_environment_says() {
    with_bench(|_, address| async move {
        let (at, asked, _task) = proxy("HTTP/1.1 200 OK\r\n\r\n").await;
        let child = |proxy: &str, address_of_proxy: &str, no: &str| {
            let mut command = smol::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "--ignored", "a_child_that_asks_the_environment"]);
            for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "no_proxy"] {
                command.env_remove(name);
            }
            command.env(proxy, address_of_proxy).env("NO_PROXY", no);
            command.env("WSLINK_TEST_URL", format!("ws://{address}/ws")).output()
        };
        for (proxy, no, through) in [
            ("HTTP_PROXY", "", 1),
            ("http_proxy", "example.org", 1),
            ("ALL_PROXY", "", 1),
            ("HTTPS_PROXY", "", 0),
            ("HTTP_PROXY", "127.0.0.1", 0),
        ] {
            let output = child(proxy, &format!("http://{at}"), no).await.unwrap();
            assert!(output.status.success(), "{proxy} {no}: {output:?}");
            assert_eq!(asked.lock().unwrap().drain(..).count(), through, "{proxy} {no}");
        }
        let (at, asked) = socks(None).await;
        let output = child("ALL_PROXY", &format!("socks5://{at}"), "").await.unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(asked.await.ends_with(&address.port().to_be_bytes()));
    });
}

#[test]
#[ignore = "by_what_the_environment_says runs it"]
fn a_child_that_asks_the_environment() {
    // Without an address somebody has just asked for all tests.
    let Ok(url) = std::env::var("WSLINK_TEST_URL") else { return };
    assert_eq!(smol::block_on(sum(&url, Options::new(SECRET))).unwrap(), 3);
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_tls_it_says_so() {
    smol::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}/ws", listener.local_addr().unwrap());
        let error = Client::connect(&url, options()).await.unwrap_err().to_string();
        assert_eq!(error, "no secure connection: built without the feature `tls`");
    });
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;
    use futures_rustls::TlsAcceptor;
    use futures_rustls::pki_types::PrivateKeyDer;
    use futures_rustls::rustls::crypto::ring;
    use futures_rustls::rustls::server::WebPkiClientVerifier;
    use futures_rustls::rustls::{RootCertStore, ServerConfig};
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
    };

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn issuer(name: &str) -> Issuer {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    struct Certificate {
        cert: rcgen::Certificate,
        key: KeyPair,
    }

    fn certificate(
        issuer: &Issuer,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Certificate { cert: params.signed_by(&key, issuer).unwrap(), key }
    }

    /// TLS in front of a server.
    async fn front(
        server: SocketAddr,
        certificate: &Certificate,
        clients: Option<&Issuer>,
    ) -> (u16, Task<()>) {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(issuer) => {
                let mut roots = RootCertStore::empty();
                roots.add(issuer.der().clone()).unwrap();
                let judge =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(judge.unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(certificate.key.serialize_der()).unwrap();
        let config = config.with_single_cert(vec![certificate.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = smol::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                smol::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let server = TcpStream::connect(server).await.unwrap();
                        join(server, stream).await;
                    }
                })
                .detach();
            }
        });
        (port, task)
    }

    #[test]
    fn given_roots_and_a_proxy() {
        with_bench(|_, address| async move {
            let issuer = issuer("one");
            let server = certificate(&issuer, "localhost", |_| ());
            let (port, _task) = front(address, &server, None).await;
            let url = format!("wss://localhost:{port}/ws");
            let trusting = || options().with_roots(issuer.pem().as_bytes()).unwrap();
            assert_eq!(sum(&url, trusting()).await.unwrap(), 3);
            let (at, asked, _task) = proxy("HTTP/1.1 200 OK\r\n\r\n").await;
            let through = trusting().with_proxy(format!("http://{at}"));
            assert_eq!(sum(&url, through).await.unwrap(), 3);
            let head = asked.lock().unwrap().remove(0);
            assert!(head.starts_with(&format!("CONNECT localhost:{port} ")), "{head}");
        });
    }

    #[test]
    fn a_refused_certificate_is_named_with_the_reason() {
        with_bench(|_, address| async move {
            let issuer = issuer("one");
            let good = certificate(&issuer, "localhost", |_| ());
            let stranger = certificate(&self::issuer("two"), "localhost", |_| ());
            let other = certificate(&issuer, "example.org", |_| ());
            let expired = certificate(&issuer, "localhost", |params| {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2021, 1, 1);
            });
            let cases = [
                (&stranger, "UnknownIssuer"),
                (&other, "not valid for name \"localhost\""),
                (&expired, "expired"),
            ];
            let trusting = || options().with_roots(issuer.pem().as_bytes()).unwrap();
            for (certificate, why) in cases {
                let (port, _task) = front(address, certificate, None).await;
                let url = format!("wss://localhost:{port}/ws");
                let error = sum(&url, trusting()).await.unwrap_err();
                assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
                let text = error.to_string();
                let beginning =
                    format!("no secure connection: the certificate of localhost:{port} (SHA-256 ");
                assert!(text.starts_with(&beginning) && text.contains(why), "{text}");
            }
            // The system does not know the issuer.
            let (port, _task) = front(address, &good, None).await;
            let error = sum(&format!("wss://localhost:{port}/ws"), options()).await.unwrap_err();
            assert!(error.to_string().contains("UnknownIssuer"), "{error}");
        });
    }

    #[test]
    fn a_certificate_of_the_client() {
        with_bench(|_, address| async move {
            let issuer = issuer("one");
            let server = certificate(&issuer, "localhost", |_| ());
            let client = certificate(&issuer, "client", |_| ());
            let (port, _task) = front(address, &server, Some(&issuer)).await;
            let url = format!("wss://localhost:{port}/ws");
            let trusting = || options().with_roots(issuer.pem().as_bytes()).unwrap();
            let error = sum(&url, trusting()).await.unwrap_err();
            assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
            assert!(error.to_string().contains("refused us: CertificateRequired"), "{error}");
            let (chain, key) = (client.cert.pem(), client.key.serialize_pem());
            let known = trusting().with_certificate(chain.as_bytes(), key.as_bytes()).unwrap();
            assert_eq!(sum(&url, known).await.unwrap(), 3);
            let wrong = trusting().with_certificate(chain.as_bytes(), b"no key").unwrap_err();
            assert!(matches!(wrong, ConnectError::Settings(_)), "{wrong:?}");
        });
    }

    #[test]
    fn a_server_without_tls() {
        with_bench(|_, address| async move {
            let url = format!("wss://{address}/ws");
            let trusting = options().with_roots(issuer("one").pem().as_bytes()).unwrap();
            let error = sum(&url, trusting).await.unwrap_err();
            assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
        });
    }
}
