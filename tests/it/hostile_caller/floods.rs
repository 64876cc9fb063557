//! HTTP/2 used up: streams opened and reset, heads without end, frames that cost little to send. Against the real binary, whose memory
//! is looked at.

use super::fake;
use super::frames::*;
use crate::support::fake::{Fake, Trouble};
use crate::support::wire::Wire;
use crate::support::{Refshim, eventually};

/// For a test build with its tables of symbols; a hundredth of what the floods of these tests could fill.
const PEAK: u64 = 128 << 20;

/// The next frame that comes; `None` at the end.
async fn next(caller: &mut Wire) -> Option<Frame> {
    let mut bytes = caller.try_read(9).await?;
    let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
    bytes.extend(caller.try_read(length as usize).await?);
    frames(&bytes).pop()
}

struct Flooded {
    registry: Fake,
    refshim: Refshim,
}

impl Flooded {
    /// Blobs never come.
    async fn new() -> Self {
        let registry = fake().await;
        registry.trouble(Trouble::Silence, |seen| seen.path.contains("/blobs/"));
        let refshim = Refshim::in_front_of(&registry.url()).await;
        Self { registry, refshim }
    }

    async fn connect(&self) -> Wire {
        Wire::connect(self.refshim.endpoint().authority()).await
    }

    /// What is answered until the connection ends.
    async fn send(&self, frames: &[Vec<u8>]) -> Vec<Frame> {
        let bytes = [hello(), frames.concat()].concat();
        super::frames::frames(&self.connect().await.exchange_bytes(&bytes).await)
    }

    /// Others are served, nothing is left of the flood, and it did not fill the memory.
    async fn is_well(&self, name: &str) {
        self.refshim.endpoint().h2c().get("/v3/").await.expect_status(200);
        eventually(name, async || {
            (self.refshim.metric("requests_in_flight").await? == 0.0).then_some(())
        })
        .await;
        let peak = self.refshim.peak_memory();
        assert!(peak < PEAK, "{name}: {peak} bytes");
    }
}

fn is_calmed(name: &str, frames: &[Frame]) {
    let last = frames.iter().rev().find(|frame| frame.kind == GOAWAY);
    assert_eq!(last.and_then(Frame::error), Some(ENHANCE_YOUR_CALM), "{name}");
}

#[tokio::test]
async fn who_floods_is_told_to_calm_down_and_left() {
    let flooded = Flooded::new().await;
    let resets = |path: &str| -> Vec<Vec<u8>> {
        let streams = (0..10_000).map(|n| 2 * n + 1);
        let cancel = |stream| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        streams
            .map(|stream| [get(stream, path), cancel(stream)].concat())
            .collect()
    };
    let begun = frame(HEADERS, END_STREAM, 1, &head("GET", "/v3/"));
    let more = |payload: &[u8], times| [vec![begun.clone()], vec![frame(CONTINUATION, 0, 1, payload); times]].concat();
    let large = [field("a", &"b".repeat(120)).as_slice(); 130].concat();
    let posted = frame(HEADERS, END_HEADERS, 1, &head("POST", "/v2/a/blobs/uploads/"));
    let nothing = [vec![posted], vec![frame(DATA, 0, 1, &[]); 50_000]].concat();
    // One field that is put into the table, and named over and over.
    let named = [field("a", &"b".repeat(120)), vec![0x40, 1, b'a', 100]].concat();
    let named = [head("GET", "/v3/"), named, vec![b'b'; 100], vec![0xbe; 12_000]].concat();
    for (name, frames) in [
        ("rapid reset", resets("/v2/a/blobs/x")),
        ("rapid reset of what is answered at once", resets("/v3/")),
        ("continuations", more(&large, 500)),
        ("small continuations", more(&field("a", "b"), 50_000)),
        ("empty continuations", more(&[], 50_000)),
        ("empty data", nothing),
        (
            "one field many times",
            vec![frame(HEADERS, END_STREAM | END_HEADERS, 1, &named)],
        ),
    ] {
        is_calmed(name, &flooded.send(&frames).await);
        flooded.is_well(name).await;
    }
    assert_eq!(flooded.registry.requests_elsewhere().len(), 0);
}

/// They are answered or passed over, one after the other; nobody else waits for it.
#[tokio::test]
async fn frames_that_mean_nothing_pile_up_nowhere() {
    let flooded = Flooded::new().await;
    for (name, one) in [
        ("pings", frame(PING, 0, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        ("unknown frames", frame(77, 0, 1, &[0; 100])),
    ] {
        // Never reads: what is answered must not gather.
        let mut caller = flooded.connect().await;
        caller.write_some(&[hello(), one.repeat(100_000)].concat()).await;
        flooded.is_well(name).await;
    }
}

#[tokio::test]
async fn streams_over_the_limit_are_refused() {
    let flooded = Flooded::new().await;
    let mut caller = flooded.connect().await;
    let all: Vec<u8> = (0..300).flat_map(|n| get(2 * n + 1, "/v2/a/blobs/x")).collect();
    caller.write_bytes(&[hello(), all].concat()).await;
    let asked = async || {
        let asked = flooded.registry.count(|seen| seen.path.contains("/blobs/"));
        (asked >= 100).then_some(asked)
    };
    assert_eq!(eventually("as many as may be are asked", asked).await, 100);
    // Another connection has its own.
    flooded.refshim.endpoint().h2c().get("/v3/").await.expect_status(200);
    let mut refused = 0;
    while refused < 200 {
        let frame = next(&mut caller).await.expect("the connection goes on");
        refused += usize::from(frame.error() == Some(REFUSED_STREAM));
    }
    drop(caller);
    flooded.is_well("streams").await;
    assert_eq!(flooded.registry.count(|seen| seen.path.contains("/blobs/")), 100);
}

/// Requests that HTTP/1.1 could not even say.
#[tokio::test]
async fn malformed_requests_are_reset() {
    let flooded = Flooded::new().await;
    let with = |name: &str, value: &str| [head("GET", "/v2/a/blobs/x"), field(name, value)].concat();
    let body = |lengths: &[&str], data: &[u8]| {
        let fields: Vec<Vec<u8>> = lengths.iter().map(|length| field("content-length", length)).collect();
        let head = [head("POST", "/v2/a/blobs/uploads/"), fields.concat()].concat();
        [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, END_STREAM, 1, data)].concat()
    };
    let request = |block: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, 1, block);
    let no_path = [
        field(":method", "GET"),
        field(":scheme", "http"),
        field(":authority", "x"),
    ]
    .concat();
    for (name, sent) in [
        ("transfer-encoding", request(&with("transfer-encoding", "chunked"))),
        ("connection", request(&with("connection", "close"))),
        ("two lengths", body(&["4", "5"], b"abcd")),
        ("more than its length", body(&["4"], b"abcdefgh")),
        ("less than its length", body(&["9"], b"abcd")),
        ("no path", request(&no_path)),
        ("a path with a space", request(&head("GET", "/v2/a/blobs/x HTTP/1.1"))),
        ("a path without a slash", request(&head("GET", "v2/a/blobs/x"))),
        (
            "an absolute path",
            request(&head("GET", "http://elsewhere.example/v2/a/blobs/x")),
        ),
        ("an upper-case name", request(&with("A", "b"))),
        ("a line end in a value", request(&with("a", "b\r\nc: d"))),
    ] {
        let mut caller = flooded.connect().await;
        caller.write_bytes(&[hello(), sent].concat()).await;
        let error = loop {
            let frame = next(&mut caller).await.expect("an error");
            assert_ne!(frame.kind, HEADERS, "{name} was answered");
            if let Some(error) = frame.error() {
                break error;
            }
        };
        // PROTOCOL_ERROR
        assert_eq!(error, 1, "{name}");
        drop(caller);
        flooded.is_well(name).await;
        let whole = flooded
            .registry
            .take()
            .into_iter()
            .find(|line| line.starts_with("GET") && !line.ends_with("/v2/"));
        assert_eq!(whole, None, "{name}");
    }
}

/// A caller whose window is shut leaves nothing in memory but what is counted, and is left in the end.
#[tokio::test]
async fn a_shut_window_does_not_hold_a_connection_for_ever() {
    let registry = fake().await;
    let image = registry.image("a", "v1", "image");
    let limits = "[limits]\nheader_timeout = '200ms'\nidle_timeout = '100ms'\nanswer_timeout = '1s'\n";
    let times = format!(
        "[[upstream]]\nurl = '{}'\nfirst_byte_timeout = '1s'\nidle_timeout = '1s'\n",
        registry.url()
    );
    let refshim = Refshim::bare().config(&(limits.to_owned() + &times)).start().await;
    // SETTINGS_INITIAL_WINDOW_SIZE
    let shut = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let mut caller = Wire::connect(refshim.endpoint().authority()).await;
    let asked = get(1, &format!("/v2/a/manifests/{}", image.digest));
    caller.write_bytes(&[hello(), shut, asked].concat()).await;
    let mut answer = Vec::new();
    while let Some(frame) = next(&mut caller).await {
        // It is there, and says so.
        if frame.kind == PING && frame.flags & ACK == 0 {
            caller
                .write_some(&super::frames::frame(PING, ACK, 0, &frame.payload))
                .await;
        }
        answer.push(frame.kind);
    }
    assert!(answer.contains(&HEADERS) && !answer.contains(&DATA), "{answer:?}");
    let idle = async || (refshim.metric("requests_in_flight").await? == 0.0).then_some(());
    eventually("nothing is left of it", idle).await;
}
