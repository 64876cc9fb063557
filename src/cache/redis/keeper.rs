//! The task that keeps the connection: opens it, tells the other replicas of writes, and opens another when it breaks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::PubSubStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::connect::{ConnectError, Connected, Connector};
use super::layout::Layout;
use super::link::{Link, Live, Trouble};
use super::pending::{Pending, Told};
use super::writes::{self, News};
use crate::cache::epoch::Epochs;
use crate::cache::key::Scope;

/// Pauses between attempts, and for how long Redis is left alone after a failure.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Repositories told of at once.
const TOLD_AT_ONCE: usize = 256;

pub(super) struct Keeper {
    pub connector: Connector,
    pub link: Arc<Link>,
    pub pending: Arc<Pending>,
    pub layout: Arc<Layout>,
    pub epochs: Arc<Epochs>,
    pub ttl: Duration,
}

impl Keeper {
    /// Never ends.
    pub async fn run(self) {
        let mut pause = SHORTEST_PAUSE;
        let mut after_gap = false;
        for number in 0.. {
            match self.open(number).await {
                Ok((live, news)) => {
                    self.link.open(live.clone(), after_gap);
                    let opened = Instant::now();
                    tracing::info!("the shared cache is there");
                    let mut listener = JoinSet::new();
                    listener.spawn(listen(news, self.epochs.clone(), live.clone()));
                    self.keep(&live).await;
                    if opened.elapsed() > LONGEST_PAUSE {
                        pause = SHORTEST_PAUSE;
                    }
                }
                Err(error) => {
                    if !self.link.is_hopeless() {
                        tracing::warn!(%error, "the shared cache cannot be used; going on from memory");
                    }
                    self.link.give_up_hope();
                    self.pending.wake();
                }
            }
            after_gap = true;
            self.pause(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A connection through which all that was pending has been told, so that nobody reads an epoch that is over.
    async fn open(&self, number: u64) -> Result<(Live, PubSubStream), ConnectError> {
        let Connected { connection, run, news } = self.connector.connect(&self.layout).await?;
        let live = Live::new(connection, run, self.connector.patience, number, &self.link);
        self.tell_all(&live).await?;
        Ok((live, news))
    }

    /// Tells of writes until the connection breaks.
    async fn keep(&self, live: &Live) {
        let mut retry = SHORTEST_PAUSE;
        let mut refused = self.pending.is_any();
        loop {
            tokio::select! {
                () = self.link.broken() => return,
                () = self.pending.added() => {}
                () = tokio::time::sleep(retry), if refused => retry = (retry * 2).min(LONGEST_PAUSE),
            }
            match self.tell_all(live).await {
                Ok(all) => refused = !all,
                Err(_) => {
                    self.link.broken().await;
                    return;
                }
            }
            if !refused {
                retry = SHORTEST_PAUSE;
            }
        }
    }

    /// Tells of everything that is pending. False when Redis would not have all of it.
    async fn tell_all(&self, live: &Live) -> Result<bool, Gone> {
        let mut all = true;
        for told in self.pending.all().chunks(TOLD_AT_ONCE) {
            all &= self.tell(live, told).await?;
        }
        Ok(all)
    }

    async fn tell(&self, live: &Live, told: &[Told]) -> Result<bool, Gone> {
        let news: Vec<News<'_>> = told
            .iter()
            .map(|told| News {
                key: self.layout.writes(&told.scope, live.run()),
                scope: told.scope.to_string(),
                touched: &told.touched,
            })
            .collect();
        let channel = self.layout.channel();
        match writes::announce(live, &channel, &news, self.ttl).await {
            Ok(()) => {
                self.pending.settle(told);
                Ok(true)
            }
            Err(Trouble::Gone) => Err(Gone),
            Err(Trouble::Refused(error)) => {
                self.link.full(&error);
                match writes::withdraw(live, &channel, &news).await {
                    Ok(()) => {}
                    Err(Trouble::Gone) => return Err(Gone),
                    Err(Trouble::Refused(error)) => {
                        live.abandon(&error);
                        return Err(Gone);
                    }
                }
                self.pending.withdraw(told);
                Ok(false)
            }
        }
    }

    /// A write cuts the first pause of an outage short: perhaps it can still be told before it is acknowledged.
    async fn pause(&self, pause: Duration) {
        let pause = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0)));
        if self.link.is_hopeless() {
            return pause.await;
        }
        tokio::select! {
            () = pause => {}
            () = self.pending.added() => {}
        }
    }
}

/// Lets go of what is known of repositories that other replicas wrote to.
async fn listen(mut news: PubSubStream, epochs: Arc<Epochs>, live: Live) {
    while let Some(written) = news.next().await {
        if let Ok(scope) = std::str::from_utf8(written.get_payload_bytes()) {
            epochs.forget(&Scope::from_text(scope));
        }
    }
    live.abandon(&"its connection was closed");
}

/// The connection broke while others were told.
#[derive(Debug, thiserror::Error)]
#[error("it broke while other replicas were told of writes")]
pub(super) struct Gone;
