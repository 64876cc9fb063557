//! Both ends of a connection, byte for byte: for what an HTTP library would tidy up or hide.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::wait::within;

/// A server that does what the test says.
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    pub async fn bind() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback port");
        Self { listener }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.authority())
    }

    pub fn authority(&self) -> String {
        self.listener.local_addr().expect("a bound address").to_string()
    }

    pub async fn accept(&self) -> Wire {
        let (stream, _) = within("a connection comes", self.listener.accept())
            .await
            .expect("accepts");
        Wire { stream }
    }
}

/// One end of a connection.
pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    pub async fn connect(authority: &str) -> Self {
        let stream = TcpStream::connect(authority).await.expect("connects");
        Self { stream }
    }

    pub async fn write(&mut self, text: &str) {
        self.stream
            .write_all(text.as_bytes())
            .await
            .expect("the other end takes it");
    }

    /// Everything up to the empty line, without it.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") {
                match self.stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&head)),
                }
            }
        };
        within("a head comes", read).await;
        head.truncate(head.len() - 4);
        String::from_utf8(head).expect("a printable head")
    }

    /// Reads exactly `length` bytes.
    pub async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        within("bytes come", self.stream.read_exact(&mut bytes))
            .await
            .expect("enough bytes");
        bytes
    }

    /// All that comes until the other end closes, whether orderly or not.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = async {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = self.stream.read(&mut part).await {
                bytes.extend_from_slice(&part[..length]);
            }
        };
        within("the connection ends", read).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Writes `length` bytes of nothing in particular.
    pub async fn pour(&mut self, length: u64) {
        let source = &mut tokio::io::repeat(b'x').take(length);
        let poured = within("bytes are taken", tokio::io::copy(source, &mut self.stream)).await;
        assert_eq!(poured.ok(), Some(length));
    }

    /// Reads `length` bytes and keeps none.
    pub async fn drain(&mut self, length: u64) {
        let sink = &mut tokio::io::sink();
        let part = &mut (&mut self.stream).take(length);
        let drained = within("bytes come", tokio::io::copy(part, sink)).await;
        assert_eq!(drained.ok(), Some(length));
    }

    /// Writes until the other end is gone.
    pub async fn write_until_closed(&mut self) {
        let block = [b'x'; 64 * 1024];
        within("the connection ends", async {
            while self.stream.write_all(&block).await.is_ok() {}
        })
        .await;
    }
}
