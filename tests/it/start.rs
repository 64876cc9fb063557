//! Promise: at its start refshim says what is wrong with its registries, and goes on; it is ready when one of them is; and SIGHUP has it
//! read again what it can, and never ends it.

use crate::support::fake::knobs::{Auth, Knobs};
use crate::support::fake::{Fake, Trouble};
use crate::support::{Refshim, eventually};

/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn a_dead_registry_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("cache");
    let refshim = Refshim::builder(NOWHERE)
        .env("REFSHIM_CACHE__DIR", directory.to_str().unwrap())
        .start()
        .await;
    let said = "upstream 'default' is not ready: the registry cannot be reached";
    assert!(refshim.output().contains(said), "{}", refshim.output());
    refshim.admin().get("/healthz").await.expect_status(200);
    let reason = refshim.admin().get("/readyz").await.expect_status(503).text();
    assert!(
        reason.starts_with("upstream 'default': the registry cannot be reached"),
        "{reason}"
    );
    let why = "the cache that outlives the process gives nothing before that";
    assert!(
        reason.contains(why),
        "what is on disk does not make it ready, and it says why: {reason}"
    );
}

#[tokio::test]
async fn what_is_no_registry_is_said_and_not_ready() {
    let fake = Fake::start(Knobs::default()).await;
    fake.trouble(Trouble::html(200), |_| true);
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let said = "what answers there is no registry (HTTP 200 for /v2/, text/html): check upstream.url";
    assert!(refshim.output().contains(said), "{}", refshim.output());
    let reason = refshim.admin().get("/readyz").await.expect_status(503).text();
    assert_eq!(reason, format!("upstream 'default': {said}\n"));
}

#[tokio::test]
async fn credentials_that_are_refused_are_said_at_once() {
    let knobs = |password: &str| Knobs {
        auth: Auth::Aws {
            password: password.to_owned(),
            expired: false,
        },
        ..Knobs::default()
    };
    for (password, refused) in [("hush-hush", false), ("other", true)] {
        let fake = Fake::start(knobs(password)).await;
        let refshim = Refshim::builder(&fake.url())
            .env("REFSHIM_UPSTREAM__0__CREDENTIALS__KIND", "static")
            .env("REFSHIM_UPSTREAM__0__CREDENTIALS__USERNAME", "robot")
            .env("REFSHIM_UPSTREAM__0__CREDENTIALS__PASSWORD", "hush-hush")
            .start()
            .await;
        let output = refshim.output();
        let said = output.contains("upstream 'default' refuses refshim's own credentials");
        assert_eq!(said, refused, "{output}");
        assert!(!output.contains("hush-hush"), "{output}");
        refshim.admin().get("/readyz").await.expect_status(200);
    }
}

#[tokio::test]
async fn one_dead_registry_of_several_is_named_and_blocks_nobody() {
    let fake = Fake::start(Knobs::default()).await;
    let config = format!(
        "[[upstream]]\nname = 'one'\nurl = '{}'\n[[upstream]]\nname = 'two'\nurl = '{NOWHERE}'\nprefix = 'two'\n",
        fake.url()
    );
    let refshim = Refshim::bare().config(&config).start().await;
    let told = refshim.admin().get("/readyz").await.expect_status(200).text();
    let beginning = "ready, but not for all:\nupstream 'two': the registry cannot be reached";
    assert!(told.starts_with(beginning), "{told}");
}

#[cfg(not(feature = "otel"))]
#[tokio::test]
async fn a_collector_that_this_build_cannot_reach_is_said() {
    let fake = Fake::start(Knobs::default()).await;
    let refshim = Refshim::builder(&fake.url())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
        .start()
        .await;
    let said = "OTEL_EXPORTER_OTLP_ENDPOINT has no effect: this build has no OpenTelemetry";
    assert!(refshim.output().contains(said), "{}", refshim.output());
}

#[tokio::test]
async fn a_hangup_reads_again_what_can_be_read_again_and_never_ends_it() {
    let fake = Fake::start(Knobs::default()).await;
    let config = |level: &str, ui: bool| {
        format!(
            "[log]\nlevel = '{level}'\n[server]\nui = {ui}\n[[upstream]]\nurl = '{}'\n",
            fake.url()
        )
    };
    let refshim = Refshim::bare().config(&config("info", false)).start().await;
    let said = async |text: &str| {
        eventually(text, async || refshim.output().contains(text).then_some(())).await;
    };
    refshim.rewrite_config(&config("debug", true));
    refshim.hang_up();
    said("the log's level is another now").await;
    said("changes in [server] take effect after a restart").await;
    refshim.endpoint().get("/v2/").await.expect_status(200);
    assert!(refshim.output().contains("DEBUG"), "{}", refshim.output());

    refshim.rewrite_config("[log]\nlevel = 'loud'\n");
    refshim.hang_up();
    said("the configuration cannot be used, and stays as it was: log.level: 'loud' is not a log level").await;
    refshim.endpoint().get("/v2/").await.expect_status(200);
}

#[tokio::test]
async fn a_hangup_reads_credentials_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "old").unwrap();
    let fake = Fake::start(Knobs {
        auth: Auth::Aws {
            password: "new".to_owned(),
            expired: false,
        },
        ..Knobs::default()
    })
    .await;
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_UPSTREAM__0__CREDENTIALS__KIND", "static")
        .env("REFSHIM_UPSTREAM__0__CREDENTIALS__USERNAME", "robot")
        .env(
            "REFSHIM_UPSTREAM__0__CREDENTIALS__PASSWORD_FILE",
            file.to_str().unwrap(),
        )
        .start()
        .await;
    fake.image("app", "v1", "image");
    let ask = async || refshim.endpoint().manifest("app", "v1").await.status;
    assert_ne!(ask().await, 200);
    std::fs::write(&file, "new").unwrap();
    refshim.hang_up();
    eventually("the new password is used", async || (ask().await == 200).then_some(())).await;
}
