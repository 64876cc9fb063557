//! A TCP connection's way through the test, which can be slow, silent or cut.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Every piece is late by this much.
    Slow(Duration),
    /// Nothing goes through, nothing is closed.
    Silent,
    /// Connections are closed, also new ones.
    Cut,
}

pub struct TcpLink {
    authority: String,
    way: watch::Sender<Way>,
    target: watch::Sender<String>,
    accepted: Arc<AtomicUsize>,
    /// Aborted when dropped.
    _server: JoinSet<()>,
}

impl TcpLink {
    /// Listens in front of `authority`, such as `127.0.0.1:6379`.
    pub async fn in_front_of(authority: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback port");
        let link = listener.local_addr().expect("a bound address").to_string();
        let way = watch::Sender::new(Way::Open);
        let accepted = Arc::new(AtomicUsize::new(0));
        let mut server = JoinSet::new();
        let target = watch::Sender::new(authority.to_owned());
        let (ways, count, targets) = (way.clone(), accepted.clone(), target.subscribe());
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let target = targets.borrow().clone();
                if let Ok(onwards) = TcpStream::connect(target).await {
                    connections.spawn(carry(stream, onwards, ways.subscribe()));
                }
            }
        });
        Self {
            authority: link,
            way,
            target,
            accepted,
            _server: server,
        }
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// New connections go there.
    pub fn lead_to(&self, authority: &str) {
        self.target.send_replace(authority.to_owned());
    }

    /// Connections that came so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn carry(near: TcpStream, far: TcpStream, mut way: watch::Receiver<Way>) {
    let ways = way.clone();
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        () = pump(near_read, far_write, ways.clone()) => {}
        () = pump(far_read, near_write, ways) => {}
        // Fails only when the test is over.
        _ = way.wait_for(|way| *way == Way::Cut) => {}
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let now = *way.borrow();
        if let Way::Slow(delay) = now {
            tokio::time::sleep(delay).await;
        }
        let opened = way.wait_for(|way| *way != Way::Silent).await.is_ok();
        if !opened || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
