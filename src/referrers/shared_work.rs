//! Who leads and who follows: callers who ask the same at once share one piece of work, done with the credential of whoever asked
//! first. What of its answer is worth anything to the others is decided here and nowhere else:
//!
//! | the leader's answer | to a caller with the same credential | to every other |
//! |---|---|---|
//! | something found | taken | taken where it is proven that the registry tells this caller no more |
//! | a refusal, an absence, what was partly withheld | taken | asks again: what the leader may not read, this caller perhaps may |
//! | a limit or pause of the registry's | taken while its own searches are held back, else asks again | the same |
//! | a referrers API that is gone | taken | asks again: perhaps it never answered the leader |
//! | any other failure | taken | taken: the registry fails, whoever asks |
//!
//! Whoever asks again leads next, or follows whoever does. After a few such leaders each asks alone.

use std::hash::Hash;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::context::RepositoryContext;
use super::error::ResolveError;
use crate::cache::{Ends, SingleFlight};
use crate::metrics::for_current_request;
use crate::registry::{Answer, Credential, Upstream, UpstreamError};

/// How often those who wait for what turns out to be somebody else's have the next of them ask, before each asks alone.
const LEADERS: usize = 4;

/// Whose an answer is that somebody was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerScope {
    /// Everybody's who asks the same.
    Everybody,
    /// That of whoever is told no more by the registry.
    ToldNoMore,
    /// That of the credential which it was given to.
    Credential,
    /// That of whoever is held back by the registry itself.
    HeldBack,
}

impl AnswerScope {
    pub fn of_failure(error: &UpstreamError) -> Self {
        match error {
            UpstreamError::Limited { .. } | UpstreamError::Paused { .. } => Self::HeldBack,
            UpstreamError::ReferrersApiGone(_) => Self::Credential,
            _ => Self::Everybody,
        }
    }

    pub fn of_error(error: &ResolveError) -> Self {
        match error {
            ResolveError::Refused(_) => Self::Credential,
            ResolveError::Upstream(error) => Self::of_failure(error),
        }
    }

    /// `found`: whose it is where something was found.
    pub fn of_answer<T>(answer: &Result<Answer<T>, UpstreamError>, found: impl FnOnce(&T) -> Self) -> Self {
        match answer {
            Ok(Answer::Found(value)) => found(value),
            Ok(Answer::Refused(_) | Answer::Absent) => Self::Credential,
            Err(error) => Self::of_failure(error),
        }
    }
}

/// What a caller does with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FollowerVerdict {
    Take,
    /// Take it where it is proven that the registry tells this caller no more.
    Check,
    /// Ask again.
    Again,
}

/// Who led the work that brought an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LedBy {
    /// This caller.
    Itself,
    /// Another with the same credential.
    SameCredential,
    Another,
}

impl LedBy {
    /// The policy, see the module documentation.
    pub fn verdict(self, scope: AnswerScope, upstream: &Upstream, context: &RepositoryContext) -> FollowerVerdict {
        match (self, scope) {
            (Self::Itself, _) | (_, AnswerScope::Everybody) => FollowerVerdict::Take,
            (Self::SameCredential, AnswerScope::ToldNoMore | AnswerScope::Credential) => FollowerVerdict::Take,
            (Self::Another, AnswerScope::ToldNoMore) => FollowerVerdict::Check,
            (Self::Another, AnswerScope::Credential) => FollowerVerdict::Again,
            // What is no search is never held back, and would only be limited again.
            (Self::SameCredential, AnswerScope::HeldBack) if !context.caller.searches() => FollowerVerdict::Take,
            (_, AnswerScope::HeldBack) => match upstream.reads().holds_back(&context.repository, &context.caller) {
                true => FollowerVerdict::Take,
                false => FollowerVerdict::Again,
            },
        }
    }
}

/// Work under way, by what is asked. An answer goes with the credential of whoever led.
pub(super) struct SharedWork<K, V> {
    single_flight: SingleFlight<K, (Credential, V)>,
    /// The answer of work that missed its deadline or died.
    lost: fn() -> V,
}

impl<K, V> SharedWork<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub fn new(deadline: Duration, lost: fn() -> V) -> Self {
        Self {
            single_flight: SingleFlight::new(deadline),
            lost,
        }
    }

    pub fn is_under_way(&self, key: &K) -> bool {
        self.single_flight.is_under_way(key)
    }

    /// Follows or leads once. `begin` is called only where nobody leads, and may refuse to begin.
    pub async fn join<F>(
        &self,
        key: K,
        context: &RepositoryContext,
        ends: Ends,
        begin: impl FnOnce() -> Result<F, UpstreamError>,
    ) -> Result<(V, LedBy), UpstreamError>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let begin = || Ok::<_, UpstreamError>(attributed(context, begin()?));
        let outcome = self.single_flight.try_run(key, ends, begin).await?;
        let Some((asked, value)) = outcome.value else {
            let led_by = if outcome.leader { LedBy::Itself } else { LedBy::Another };
            return Ok(((self.lost)(), led_by));
        };
        let led_by = match outcome.leader {
            true => LedBy::Itself,
            false if asked == context.caller.credential() => LedBy::SameCredential,
            false => LedBy::Another,
        };
        Ok((value, led_by))
    }

    /// Leads in the background, unless somebody leads already.
    pub fn start<F>(
        &self,
        key: K,
        context: &RepositoryContext,
        begin: impl FnOnce() -> Result<F, UpstreamError>,
    ) -> Result<(), UpstreamError>
    where
        F: Future<Output = V> + Send + 'static,
    {
        self.single_flight.try_start(key, || Ok(attributed(context, begin()?)))
    }

    /// Follows or leads until there is an answer that this caller may take. `check` says whether the registry tells this caller no
    /// more, where `scope` makes that the question. `None`: the caller has to ask alone.
    pub async fn share<'a, F>(
        &self,
        (key, upstream, context, ends): (K, &Upstream, &RepositoryContext, Ends),
        begin: impl Fn() -> Result<F, UpstreamError>,
        scope: fn(&V) -> AnswerScope,
        check: impl Fn(V) -> BoxFuture<'a, Result<bool, UpstreamError>>,
    ) -> Result<Option<V>, UpstreamError>
    where
        F: Future<Output = V> + Send + 'static,
    {
        for _ in 0..LEADERS {
            let (value, led_by) = self.join(key.clone(), context, ends, &begin).await?;
            let is_taken = match led_by.verdict(scope(&value), upstream, context) {
                FollowerVerdict::Take => true,
                FollowerVerdict::Check => check(value.clone()).await?,
                FollowerVerdict::Again => false,
            };
            if is_taken {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// The work, with the credential that it is done with.
fn attributed<V, F>(
    context: &RepositoryContext,
    work: F,
) -> impl Future<Output = (Credential, V)> + Send + 'static + use<V, F>
where
    F: Future<Output = V> + Send + 'static,
{
    let asked = context.caller.credential();
    let work = for_current_request(work);
    async move { (asked, work.await) }
}

#[cfg(test)]
mod tests;
