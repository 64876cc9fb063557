//! What may go wrong between refshim and its upstream, on demand.

use bytes::Bytes;
use tokio::sync::watch;

/// What happens to a request instead of being passed on.
#[derive(Clone)]
pub enum Fault {
    /// The connection closes without an answer.
    Close,
    /// This is answered; the upstream never sees the request.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    /// It is passed on; the connection closes instead of an answer.
    Lose,
    /// It is passed on; the connection breaks after so many bytes of the answer's body.
    CutBody(usize),
    /// It is passed on once the gate opens.
    Hold(Gate),
    /// It is passed on, and its answer waits until the gate opens.
    HoldAnswer(Gate),
}

impl Fault {
    pub fn status(status: u16) -> Self {
        Self::answer(status, &[], "")
    }

    pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        Self::Answer {
            status,
            headers: headers.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }
}

/// Holds requests until it is opened.
#[derive(Clone)]
pub struct Gate {
    open: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

impl Gate {
    pub fn closed() -> Self {
        Self {
            open: watch::channel(false).0,
            arrived: watch::channel(0).0,
        }
    }

    /// Lets all through, now and later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Back when `count` requests have come as far as this gate.
    pub async fn reached_by(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let reached = arrived.wait_for(|&n| n >= count);
        super::within("requests reach the gate", reached)
            .await
            .expect("the gate lives");
    }

    pub(super) async fn pass(&self) {
        self.arrived.send_modify(|n| *n += 1);
        // Fails only when the gate is gone, which no longer holds anybody.
        let _ = self.open.subscribe().wait_for(|&open| open).await;
    }
}
