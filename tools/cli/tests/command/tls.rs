//! `wss://`.

use crate::common::{Proxy, Shell, wslink};
use crate::kiln::Running;
use core::net::SocketAddr;
use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::PrivateKeyDer;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::server::WebPkiClientVerifier;
use futures_rustls::rustls::{RootCertStore, ServerConfig};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, IsCa, KeyPair,
    date_time_ymd, generate_simple_self_signed,
};
use smol::io;
use smol::net::{TcpListener, TcpStream};
use std::sync::Arc;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// TLS in front of a server, in a thread that nobody waits for.
fn front(server: SocketAddr, certificate: &CertifiedKey<KeyPair>) -> u16 {
    front_for(server, certificate, None)
}

/// As [`front`], for clients that show a certificate which this one has signed.
fn front_for(
    server: SocketAddr,
    CertifiedKey { cert, signing_key }: &CertifiedKey<KeyPair>,
    clients: Option<&Issuer>,
) -> u16 {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(issuer) => {
            let mut roots = RootCertStore::empty();
            roots.add(issuer.der().clone()).unwrap();
            let judge = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(judge.build().unwrap())
        }
    };
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
    assert!(said.contains("no secure connection") && said.contains("hint: "), "{said}");
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
fn a_refusal_says_why_and_what_to_do() {
    let kiln = Running::start();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let signed = |name: &str, years: [i32; 2]| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years[0], 1, 1);
        params.not_after = date_time_ymd(years[1], 1, 1);
        let signing_key = KeyPair::generate().unwrap();
        CertifiedKey { cert: params.signed_by(&signing_key, &issuer).unwrap(), signing_key }
    };
    let good = signed("localhost", [2020, 4000]);
    let stranger = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let plain = kiln.address.port();
    let mut log = String::new();
    for (port, options) in [
        (front(kiln.address, &good), "--ca issuer"),
        (front(kiln.address, &good), ""),
        (front(kiln.address, &stranger), "--ca issuer"),
        (front(kiln.address, &signed("localhost", [2020, 2021])), "--ca issuer"),
        (front(kiln.address, &signed("example.org", [2020, 4000])), "--ca issuer"),
        (front_for(kiln.address, &good, Some(&issuer)), "--ca issuer"),
        (front_for(kiln.address, &good, Some(&issuer)), "--ca issuer --cert mine --key key"),
        (plain, "--ca issuer"),
    ] {
        let mut shell = Shell::new(&format!("wss://localhost:{port}/ws"));
        shell.file("issuer", issuer.pem().as_bytes());
        let mine = signed("me", [2020, 4000]);
        shell.file("mine", mine.cert.pem().as_bytes());
        shell.file("key", mine.signing_key.serialize_pem().as_bytes());
        shell.run(format!("call URL kiln.set 20 {options}").trim_end());
        log += &shell.log().replace(&port.to_string(), "PORT");
    }
    // Digests and times differ each time.
    let steady = log.lines().map(|line| match line.split_once(" (SHA-256 ") {
        Some((before, after)) => {
            let why = after.split_once(") ").unwrap().1;
            let why = why.split("Error(").next().unwrap();
            format!("{before} (SHA-256 ..) {}\n", why.split(": verification time").next().unwrap())
        }
        None => format!("{line}\n"),
    });
    insta::assert_snapshot!(steady.collect::<String>());
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
