//! Both ends of a connection, byte for byte: for what an HTTP library would tidy up or hide.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

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

    /// For somebody who will not read: the system takes as little as it can on its behalf.
    pub async fn connect_narrow(authority: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = socket.connect(authority.parse().expect("an address")).await;
        Self {
            stream: stream.expect("connects"),
        }
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

    /// The same, or `None` where the other end closes without one.
    pub async fn try_head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.stream.read_u8().await.ok()?);
            }
            Some(())
        };
        within("a head or an end comes", read).await?;
        Some(String::from_utf8_lossy(&head).into_owned())
    }

    /// Writes what the other end takes of `bytes`, and reads until it closes. Both at once: it may answer before it has all.
    pub async fn exchange(&mut self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(&self.exchange_bytes(bytes).await).into_owned()
    }

    pub async fn exchange_bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (reader, mut writer) = self.stream.split();
        let write = async {
            // It may close in the middle; what it answers is what counts.
            let _ = writer.write_all(bytes).await;
        };
        let (answer, ()) = within("an exchange ends", async { tokio::join!(all(reader), write) }).await;
        answer
    }

    pub async fn write_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the other end takes it");
    }

    /// Writes until the other end takes no more for now, or is gone, or has all.
    pub async fn write_some(&mut self, mut bytes: &[u8]) {
        const PAUSE: Duration = Duration::from_millis(200);
        while let Ok(Ok(written @ 1..)) = tokio::time::timeout(PAUSE, self.stream.write(bytes)).await {
            bytes = &bytes[written..];
        }
    }

    /// Reads exactly `length` bytes.
    pub async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        within("bytes come", self.stream.read_exact(&mut bytes))
            .await
            .expect("enough bytes");
        bytes
    }

    /// The same; `None` where the other end closes before.
    pub async fn try_read(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        within("bytes or an end come", self.stream.read_exact(&mut bytes))
            .await
            .ok()?;
        Some(bytes)
    }

    /// All that comes until the other end closes, whether orderly or not.
    pub async fn rest(&mut self) -> String {
        String::from_utf8_lossy(&self.rest_bytes().await).into_owned()
    }

    pub async fn rest_bytes(&mut self) -> Vec<u8> {
        within("the connection ends", all(&mut self.stream)).await
    }

    /// Reads until the other end closes. `None` where that is orderly, else how it broke.
    pub async fn end(&mut self) -> Option<std::io::ErrorKind> {
        let sink = &mut tokio::io::sink();
        let read = within("the connection ends", tokio::io::copy(&mut self.stream, sink)).await;
        read.err().map(|error| error.kind())
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

async fn all(mut reader: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = reader.read(&mut part).await {
        bytes.extend_from_slice(&part[..length]);
    }
    bytes
}
