//! A listing is asked for again once, whoever asks: several questions, or what renews it ahead.

use std::time::Duration;

use refshim::testing::config::Depth;

use super::{begins_a_listing, lists, registry};
use crate::support::fake::Fake;
use crate::support::{CountingProxy, Gate, Local, Pushed, advance, eventually};

/// Pages of the listing, the last one read to its end, and two pages once more.
const REFRESH: usize = 7 + 2;
const HOUR: Duration = Duration::from_secs(3600);

/// The registry, of which the listing was walked, and refshim in front of it.
struct Setup {
    _fake: Fake,
    images: Vec<Pushed>,
    link: CountingProxy,
    refshim: Local,
}

impl Setup {
    /// refshim asks for the 7 pages, and 10 requests more, within `fresh_for` seconds at `background_rate`.
    async fn new(background_rate: u32, fresh_for: u64) -> Self {
        let (fake, images) = registry().await;
        let link = CountingProxy::in_front_of(&fake.url()).await;
        let refshim = Local::configured(link.url(), |config| {
            config.links.depth = Depth::Names;
            config.links.patience = HOUR;
            config.cache.fresh_for = Duration::from_secs(fresh_for);
            config.upstreams[0].background_rate = background_rate;
            config.upstreams[0].first_byte_timeout = HOUR;
        })
        .await;
        for image in &images[..4] {
            refshim.endpoint().referrers("app", &image.digest).await;
        }
        link.take();
        Self {
            _fake: fake,
            images,
            link,
            refshim,
        }
    }

    /// One page is not answered until the gate opens.
    fn hold_a_page(&self) -> Gate {
        self.link.hold(|seen| seen.path.contains("last=v29"))
    }

    /// All pages but the last one, which is asked for after them.
    async fn pages_are_asked_for(&self) {
        eventually("all pages but the last are asked for", async || {
            (self.link.count(lists) >= 6).then_some(())
        })
        .await;
    }

    /// Waits until so many callers wait for answers.
    async fn callers(&self, count: i64) {
        eventually("callers wait", async || {
            (self.refshim.metrics().in_flight.get() == count).then_some(())
        })
        .await;
    }

    fn assert_one_refresh(&self) {
        assert_eq!(self.link.count(lists), REFRESH, "{:#?}", self.link.take());
        assert!(self.link.count(begins_a_listing) <= 2);
    }
}

#[tokio::test]
async fn a_question_joins_what_is_being_renewed_ahead() {
    let setup = Setup::new(1, 100).await;
    let gate = setup.hold_a_page();
    advance(90).await;
    setup.link.saw("it is being renewed", lists).await;
    advance(20).await;
    setup.pages_are_asked_for().await;
    let (endpoint, digest) = (setup.refshim.endpoint(), setup.images[5].digest.clone());
    let question = tokio::spawn(async move { endpoint.referrers("app", &digest).await });
    setup.callers(1).await;
    gate.open();
    assert!(question.await.unwrap().is_empty());
    setup.assert_one_refresh();
}

/// Those whose time is short hang up before the pages have come: what they began is not begun again by each of them.
#[tokio::test]
async fn a_refresh_goes_on_when_whoever_waited_has_hung_up() {
    let setup = Setup::new(0, 100).await;
    let gate = setup.hold_a_page();
    advance(101).await;
    for image in &setup.images[4..7] {
        let (endpoint, digest) = (setup.refshim.endpoint(), image.digest.clone());
        let question = tokio::spawn(async move { endpoint.referrers("app", &digest).await });
        setup.callers(1).await;
        setup.pages_are_asked_for().await;
        question.abort();
        setup.callers(0).await;
    }
    gate.open();
    let endpoint = setup.refshim.endpoint();
    assert!(endpoint.referrers("app", &setup.images[8].digest).await.is_empty());
    setup.assert_one_refresh();
}

/// What would come too late would cost requests and save none.
#[tokio::test]
async fn a_listing_for_which_the_background_rate_does_not_suffice_is_not_renewed_ahead() {
    let setup = Setup::new(1, 16).await;
    advance(60).await;
    for _ in 0..10 {
        setup.refshim.endpoint().get("/v2/").await.expect_status(200);
    }
    assert_eq!(setup.link.count(lists), 0, "{:#?}", setup.link.take());
}
