//! Keeps credentials that expire: new ones are fetched ahead of that, once for all callers, who go on with the old ones meanwhile.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::{Credentials, CredentialsError};

/// How long one fetch may take: the cloud's metadata service may have to be asked, and asked again.
const DEADLINE: Duration = Duration::from_secs(20);
/// Credentials are renewed this long before their end, or after half their life where that is later.
const AHEAD: Duration = Duration::from_secs(60 * 60);
/// Longer lives are cut to this, so that the end can always be computed.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The pause after a failed attempt to renew credentials that still serve; and credentials younger than this are kept although a
/// registry refuses them.
const PAUSE: Duration = Duration::from_secs(30);

/// Credentials, and how much longer they are good for.
#[derive(Clone)]
pub(super) struct ExpiringCredentials {
    pub credentials: Credentials,
    pub lives: Duration,
}

type Fetching = Pin<Box<dyn Future<Output = Result<ExpiringCredentials, CredentialsError>> + Send>>;

pub(super) struct RefreshingCredentials {
    fetch: Box<dyn Fn() -> Fetching + Send + Sync>,
    held: Mutex<Option<CachedPassword>>,
    /// Held while new credentials are fetched.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct CachedPassword {
    credentials: Credentials,
    fetched: Instant,
    renew: Instant,
    until: Instant,
}

impl RefreshingCredentials {
    pub fn new(fetch: impl Fn() -> Fetching + Send + Sync + 'static) -> Self {
        Self {
            fetch: Box::new(fetch),
            held: Mutex::default(),
            fetching: Arc::default(),
        }
    }

    pub async fn get(self: &Arc<Self>) -> Result<Credentials, CredentialsError> {
        if let Some(credentials) = self.usable() {
            return Ok(credentials);
        }
        let _fetching = self.fetching.lock().await;
        match self.usable() {
            Some(credentials) => Ok(credentials),
            None => self.fetch().await,
        }
    }

    /// Drops credentials that a registry refused, unless they were fetched less than [`PAUSE`] ago.
    pub fn forget(&self) {
        self.held().take_if(|held| held.fetched.elapsed() >= PAUSE);
    }

    /// The credentials that are held, until they end. When it is time, a task renews them meanwhile.
    fn usable(self: &Arc<Self>) -> Option<Credentials> {
        let now = Instant::now();
        let held = self.held().clone().filter(|held| now < held.until)?;
        if held.renew <= now
            && let Ok(fetching) = self.fetching.clone().try_lock_owned()
        {
            let refreshing = self.clone();
            tokio::spawn(async move {
                if let Err(error) = refreshing.fetch().await {
                    tracing::warn!(%error, "fetching new credentials failed; the old ones serve until they end");
                    if let Some(held) = refreshing.held().as_mut() {
                        held.renew = Instant::now() + PAUSE;
                    }
                }
                drop(fetching);
            });
        }
        Some(held.credentials)
    }

    async fn fetch(&self) -> Result<Credentials, CredentialsError> {
        let fetched = tokio::time::timeout(DEADLINE, (self.fetch)()).await;
        let late = |_| CredentialsError::Ecr(format!("no answer within {} s", DEADLINE.as_secs()));
        let ExpiringCredentials { credentials, lives } = fetched.map_err(late)??;
        let lives = lives.min(LONGEST);
        let now = Instant::now();
        *self.held() = Some(CachedPassword {
            credentials: credentials.clone(),
            fetched: now,
            renew: now + lives.saturating_sub(AHEAD).max(lives / 2),
            until: now + lives,
        });
        Ok(credentials)
    }

    fn held(&self) -> MutexGuard<'_, Option<CachedPassword>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Hands out `1`, `2`, … that last twelve hours, each after a second, unless it is told to fail.
    #[derive(Default)]
    struct Mint {
        made: AtomicUsize,
        broken: AtomicBool,
    }

    impl Mint {
        fn refreshing(self: &Arc<Self>) -> Arc<RefreshingCredentials> {
            let mint = self.clone();
            Arc::new(RefreshingCredentials::new(move || {
                let mint = mint.clone();
                Box::pin(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let number = mint.made.fetch_add(1, Ordering::Relaxed) + 1;
                    if mint.broken.load(Ordering::Relaxed) {
                        return Err(CredentialsError::Ecr("broken".to_owned()));
                    }
                    Ok(ExpiringCredentials {
                        credentials: Credentials::Password {
                            user: "AWS".to_owned(),
                            password: number.to_string(),
                        },
                        lives: 12 * HOUR,
                    })
                })
            }))
        }

        fn made(&self) -> usize {
            self.made.load(Ordering::Relaxed)
        }
    }

    async fn password(refreshing: &Arc<RefreshingCredentials>) -> Option<String> {
        match refreshing.get().await.ok()? {
            Credentials::Password { password, .. } => Some(password),
            Credentials::IdentityToken(_) => None,
        }
    }

    async fn pass(time: Duration) {
        tokio::time::sleep(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_waits_for_one() {
        let mint = Arc::new(Mint::default());
        let refreshing = mint.refreshing();
        let all = futures_util::future::join_all((0..9).map(|_| password(&refreshing))).await;
        assert!(all.iter().all(|found| found.as_deref() == Some("1")), "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_renewed_an_hour_ahead_while_the_old_one_serves() {
        let mint = Arc::new(Mint::default());
        let refreshing = mint.refreshing();
        password(&refreshing).await;
        pass(11 * HOUR - Duration::from_secs(1)).await;
        assert_eq!(password(&refreshing).await.unwrap(), "1");
        pass(Duration::from_secs(2)).await;
        assert_eq!(mint.made(), 1, "it was not time yet");
        let begun = Instant::now();
        assert_eq!(password(&refreshing).await.unwrap(), "1");
        assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits");
        pass(Duration::from_secs(2)).await;
        assert_eq!(password(&refreshing).await.unwrap(), "2");
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_one_serves_to_its_end_while_no_other_is_to_be_had() {
        let mint = Arc::new(Mint::default());
        let refreshing = mint.refreshing();
        password(&refreshing).await;
        mint.broken.store(true, Ordering::Relaxed);
        pass(11 * HOUR).await;
        for _ in 0..10 {
            assert_eq!(password(&refreshing).await.unwrap(), "1");
            pass(Duration::from_secs(2)).await;
        }
        assert_eq!(mint.made(), 2, "a failure is not repeated at once");
        pass(HOUR).await;
        assert_eq!(password(&refreshing).await, None);
        mint.broken.store(false, Ordering::Relaxed);
        assert!(password(&refreshing).await.is_some());
    }

    #[tokio::test]
    async fn one_without_end_is_kept() {
        let refreshing = Arc::new(RefreshingCredentials::new(|| {
            Box::pin(async {
                Ok(ExpiringCredentials {
                    credentials: Credentials::IdentityToken("endless".to_owned()),
                    lives: Duration::MAX,
                })
            })
        }));
        assert!(refreshing.get().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_one_is_replaced_but_not_over_and_over() {
        let mint = Arc::new(Mint::default());
        let refreshing = mint.refreshing();
        password(&refreshing).await;
        refreshing.forget();
        assert_eq!(password(&refreshing).await.unwrap(), "1");
        pass(PAUSE).await;
        refreshing.forget();
        assert_eq!(password(&refreshing).await.unwrap(), "2");
    }
}
