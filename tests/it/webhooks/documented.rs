//! The receiver in docs/events.md, run.

use std::process::Command;

use super::receiver::KEY;
use super::{telling, webhook_at};
use crate::support::eventually;
use crate::support::fake::{Fake, Knobs};
use crate::support::process::{Process, find, free_port};

const OTHER_KEY: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

/// The program, at another port.
fn receiver(folder: &std::path::Path, key: &str) -> (Process, String) {
    let text = include_str!("../../../docs/events.md");
    let (_, rest) = text.split_once("```python\n").expect("a program in Python");
    let (program, _) = rest.split_once("```").expect("its end");
    let port = free_port();
    let file = folder.join("receiver.py");
    std::fs::write(&file, program.replace("8080", &port.to_string())).unwrap();
    let mut python = Command::new(find("python3"));
    python.arg(&file).env("WEBHOOK_SECRET", key);
    let process = Process::start("receiver.py", python, &folder.join("log"));
    (process, format!("http://127.0.0.1:{port}"))
}

#[tokio::test]
async fn the_documented_receiver_believes_what_is_signed_with_its_key_alone() {
    let fake = Fake::start(Knobs::default()).await;
    let (folder, stranger) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, url) = receiver(folder.path(), KEY);
    let (other, other_url) = receiver(stranger.path(), OTHER_KEY);
    let tables = webhook_at(&url, "name = 'ours'") + &webhook_at(&other_url, "name = 'other'");
    let proxy = telling(&fake.url(), &tables).start().await;
    let image = proxy.endpoint().push_image("app", "v1", "one").await;
    proxy
        .endpoint()
        .push_artifact("app", &image, "application/vnd.acme", "sbom")
        .await;
    let printed = format!("io.refshim.referrer.linked.v1 app@{}", image.digest);
    eventually("it is printed", async || ours.output().contains(&printed).then_some(())).await;
    eventually("it is refused", async || {
        other
            .output()
            .contains("POST /hook?token=in-the-url HTTP/1.1\" 401")
            .then_some(())
    })
    .await;
    assert!(!other.output().contains(&printed));
}
