//! The same over TLS, with certificates made on the spot.

use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A certificate authority of our own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// A server's side of TLS for `name`.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn twilio(server: &Server, roots: RootCertStore) -> Twilio {
    let mut settings = settings(server.address);
    settings.base_url = format!("https://localhost:{}", server.address.port());
    Twilio::with_roots(&settings, &Effects::real(), roots).unwrap()
}

/// A server that answers everything over TLS as `name`.
async fn secure_server(authority: &Authority, name: &str) -> Server {
    let acceptor = authority.acceptor(name);
    Server::start(move |_, stream, log| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            while let Some(request) = read_request(&mut stream).await {
                log.received(request);
                stream.write_all(&ok_answer(1)).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_trusted_server_is_sent_to() {
    let authority = Authority::new();
    let server = secure_server(&authority, "localhost").await;
    let twilio = twilio(&server, authority.roots());
    assert_eq!(twilio.create(&create_request()).await, sent(1));
    assert_eq!(twilio.create(&create_request()).await, sent(1));
    assert_eq!((server.requests().len(), server.connections()), (2, 1));
}

#[tokio::test]
async fn nobody_else_is_sent_anything() {
    let authority = Authority::new();
    let tls = not_sent(NotSentCause::Tls);
    let untrusted = secure_server(&Authority::new(), "localhost").await;
    let wrong_name = secure_server(&authority, "other.example.com").await;
    let not_tls = Server::answering(|_, _| ok_answer(1)).await;
    let closes = Server::start(|_, _, _| async {}).await;
    for server in [untrusted, wrong_name, not_tls, closes] {
        let outcome = twilio(&server, authority.roots())
            .create(&create_request())
            .await;
        assert_eq!(outcome, tls);
        assert!(server.requests().is_empty());
        // The authorities that browsers trust do not know ours either.
        let mut settings = settings(server.address);
        settings.base_url = format!("https://localhost:{}", server.address.port());
        let public = Twilio::new(&settings, &Effects::real()).unwrap();
        assert_eq!(public.create(&create_request()).await, tls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_without_end_is_given_up() {
    let authority = Authority::new();
    let server = Server::start(|_, mut stream: TcpStream, _| async move {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let start = tokio::time::Instant::now();
    let outcome = twilio(&server, authority.roots())
        .create(&create_request())
        .await;
    assert_eq!(outcome, not_sent(NotSentCause::Tls));
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_cut_answer_is_unknown_over_tls_too() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("localhost");
    let whole = ok_answer(7);
    for cut in (0..whole.len()).step_by(13) {
        for says_goodbye in [true, false] {
            let (acceptor, answer) = (acceptor.clone(), whole[..cut].to_vec());
            let server = Server::start(move |_, stream, log| {
                let (acceptor, answer) = (acceptor.clone(), answer.clone());
                async move {
                    let mut stream = acceptor.accept(stream).await.unwrap();
                    log.received(read_request(&mut stream).await.unwrap());
                    stream.write_all(&answer).await.unwrap();
                    stream.flush().await.unwrap();
                    if says_goodbye {
                        stream.shutdown().await.unwrap();
                    }
                }
            })
            .await;
            let outcome = twilio(&server, authority.roots())
                .create(&create_request())
                .await;
            assert_eq!(outcome, LOST, "{cut} {says_goodbye}");
            assert_eq!((server.requests().len(), server.connections()), (1, 1));
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_needs_a_goodbye_over_tls() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("localhost");
    for (says_goodbye, expected) in [(true, sent(7)), (false, LOST)] {
        let acceptor = acceptor.clone();
        let server = Server::start(move |_, stream, _| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                read_request(&mut stream).await.unwrap();
                let body = message_json(7, "");
                let answer = format!("HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                if says_goodbye {
                    stream.shutdown().await.unwrap();
                }
            }
        })
        .await;
        let outcome = twilio(&server, authority.roots())
            .create(&create_request())
            .await;
        assert_eq!(outcome, expected, "{says_goodbye}");
    }
}
