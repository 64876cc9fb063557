//! Connections of a client to the host that it is made for, against a server that the tests write by hand.

mod idle;
mod responses;
mod uploads;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{EgressConfig, TlsVersion};
use crate::http::body::BoxError;
use crate::http::{collect, connector};
use crate::tls::ServerTrust;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server, and a client that is made for it.
struct Setup {
    listener: TcpListener,
    client: HttpClient,
    origin: String,
}

impl Setup {
    async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let tls = connector::tls(ServerTrust::empty(), TlsVersion::default(), None).unwrap();
        let options = ClientOptions {
            tls: tls.clone(),
            proxies: Arc::new(EgressProxies::new(EgressConfig::default(), false)),
            proxy_tls: tls,
            connect_timeout: Duration::from_secs(3600),
            http2_only: false,
            policy: None,
        };
        let client = HttpClient::new(options, Some(&origin.parse().unwrap()));
        assert!(client.own.is_some());
        Self {
            listener,
            client,
            origin,
        }
    }

    async fn accept(&self) -> Peer {
        Peer(self.listener.accept().await.unwrap().0)
    }

    async fn get(&self, path: &str) -> Result<Response<ResponseBody>, ClientError> {
        let request = Request::get(format!("{}{path}", self.origin));
        self.client
            .request(Sharing::Connection, request.body(Body::empty()).unwrap())
            .await
    }

    /// The text of the response.
    async fn read(&self, path: &str) -> Result<String, BoxError> {
        text(self.get(path).await?).await
    }

    /// A request that `peer` answers with `answer`, and its text.
    async fn exchange(&self, peer: &mut Peer, answer: &[u8]) -> Result<String, BoxError> {
        let served = async {
            peer.head().await;
            peer.write(answer).await;
        };
        tokio::join!(self.read("/"), served).0
    }

    /// The connection that the first request is made on.
    async fn first(&self, answer: &[u8]) -> Peer {
        let served = async {
            let mut peer = self.accept().await;
            peer.head().await;
            peer.write(answer).await;
            peer
        };
        let (text, peer) = tokio::join!(self.read("/"), served);
        assert_eq!(text.unwrap(), "ok");
        peer
    }
}

async fn text(response: Response<ResponseBody>) -> Result<String, BoxError> {
    let bytes = collect::whole(&mut response.into_body(), 1 << 20).await?;
    Ok(String::from_utf8(bytes.unwrap().to_vec()).unwrap())
}

/// The server's side of a connection.
struct Peer(TcpStream);

impl Peer {
    /// Reads the head of a request; empty where the client closes the connection instead.
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(head).unwrap()
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The client asks nothing more on it, and closes it.
    async fn is_left(&mut self) {
        assert_eq!(self.head().await, "");
    }

    /// Whether the client closed it.
    async fn is_closed(&mut self) -> bool {
        self.head().await.is_empty()
    }
}
