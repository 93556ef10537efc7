//! `wss://`.

use crate::common::{Proxy, Shell, wslink};
use crate::kiln::Running;
use core::net::SocketAddr;
use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::PrivateKeyDer;
use futures_rustls::rustls::ServerConfig;
use futures_rustls::rustls::crypto::ring;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use smol::io;
use smol::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// TLS in front of a server, in a thread that nobody waits for.
fn front(
    server: SocketAddr,
    CertifiedKey { cert, signing_key }: &CertifiedKey<rcgen::KeyPair>,
) -> u16 {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = smol::block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        smol::block_on(async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let server = TcpStream::connect(server).await.unwrap();
                let (from, to) = io::split(stream);
                // One client at a time is enough.
                _ = smol::future::or(io::copy(from, server.clone()), io::copy(server, to)).await;
            }
        });
    });
    port
}

#[test]
fn certificates_are_trusted_if_they_are_named() {
    let kiln = Running::start();
    let certificate = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let port = front(kiln.address, &certificate);
    let mut shell = Shell::new(&format!("wss://localhost:{port}/ws"));
    shell.file("good.pem", certificate.cert.pem().as_bytes());
    shell.file("other.pem", other.cert.pem().as_bytes());
    shell.file("none.pem", b"nothing");
    assert_eq!(shell.works("call URL kiln.set 5 --ca good.pem"), "20\n");
    let refused = shell.run("call URL kiln.set 5 --ca other.pem");
    assert_eq!(refused.status.code(), Some(3));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("no secure connection") && said.contains("hint: --ca names"), "{said}");
    for (line, code) in [
        ("call URL kiln.set 5 --ca none.pem", 7),
        ("call URL kiln.set 5 --ca nowhere.pem", 7),
        ("call URL kiln.set 5 --cert good.pem", 2),
    ] {
        assert_eq!(shell.run(line).status.code(), Some(code), "{line}");
    }
    let plain = format!("wss://{}/ws", kiln.address);
    let spoken = wslink(&["call", &plain, "x"]).output().unwrap();
    assert_eq!(spoken.status.code(), Some(3), "{}", String::from_utf8_lossy(&spoken.stderr));
}

#[test]
fn a_proxy_decodes_what_goes_to_the_server_in_tls() {
    let kiln = Running::start();
    let certificate = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let port = front(kiln.address, &certificate);
    let directory = tempfile::tempdir().unwrap();
    let trusted = directory.path().join("good.pem");
    std::fs::write(&trusted, certificate.cert.pem()).unwrap();
    let url = format!("wss://localhost:{port}/ws");
    let proxy = Proxy::start(&[&url, "--ca", trusted.to_str().unwrap(), "--clients", "1"]);
    let mut shell = Shell::new(&proxy.url());
    assert_eq!(shell.works("call URL kiln.set 5"), "20\n");
    let (shown, _) = proxy.wait();
    assert!(shown.contains(r#""method": "kiln.set", "args": [5]"#), "{shown}");

    let proxy = Proxy::start(&[&url, "--clients", "1"]);
    let mut shell = Shell::new(&proxy.url());
    assert_eq!(shell.run("call URL kiln.set 5").status.code(), Some(3));
    let (shown, _) = proxy.wait();
    assert!(
        shown.contains("no connection to the server") && shown.contains("ertificate"),
        "{shown}"
    );
}
