//! When searches are held back, and whose.

use tokio::time::advance;

use super::*;

const ALICE: u64 = 1;
const BOB: u64 = 2;

/// The credential, asking about the first repository.
fn of(credential: u64) -> Asker {
    about(1, credential)
}

fn about(repository: u64, credential: u64) -> Asker {
    Asker { repository, credential }
}

fn limited(status: StatusCode, wait: Option<u64>) -> ReadFailure {
    ReadFailure {
        error: UpstreamError::Limited {
            status,
            retry_after: wait,
        },
        wait: wait.map(Duration::from_secs),
    }
}

fn down() -> UpstreamError {
    UpstreamError::Connect("refused".into())
}

async fn wait_of(backoff: &Backoff, caller: Asker) -> Option<u64> {
    match backoff.pass(caller).await {
        Ok(()) => None,
        Err(UpstreamError::Paused { seconds, .. }) => Some(seconds),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_repository_says_to_one_credential_holds_back_nobody_else() {
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
        let backoff = Backoff::new(false);
        backoff.asked(of(ALICE), &limited(status, Some(300)));
        assert_eq!(wait_of(&backoff, of(ALICE)).await, Some(300));
        assert_eq!(wait_of(&backoff, of(BOB)).await, None, "{status}: another credential");
        assert_eq!(
            wait_of(&backoff, about(2, ALICE)).await,
            None,
            "{status}: another repository"
        );
        advance(Duration::from_secs(300)).await;
        assert_eq!(wait_of(&backoff, of(ALICE)).await, None);
        assert_eq!(BackoffOutcome::ALL.map(|held| backoff.counts().get(held).get()), [0, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_several_repositories_say_is_the_credentials_or_the_upstreams() {
    for (status, everybodys) in [
        (StatusCode::TOO_MANY_REQUESTS, None),
        (StatusCode::SERVICE_UNAVAILABLE, Some(60)),
    ] {
        let backoff = Backoff::new(false);
        for repository in [1, 2] {
            backoff.asked(about(repository, ALICE), &limited(status, Some(60)));
        }
        assert_eq!(wait_of(&backoff, about(9, ALICE)).await, None, "two");
        backoff.asked(about(3, ALICE), &limited(status, Some(60)));
        assert_eq!(wait_of(&backoff, about(9, ALICE)).await, Some(60));
        assert_eq!(
            wait_of(&backoff, about(9, BOB)).await,
            None,
            "{status}: all of one credential"
        );
        backoff.asked(about(4, BOB), &limited(status, Some(60)));
        assert_eq!(wait_of(&backoff, about(9, 3)).await, everybodys);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_answers_shows_that_the_upstream_does_not_fail_as_a_whole() {
    let backoff = Backoff::new(false);
    for repository in [1, 2, 3] {
        backoff.failed(about(repository, ALICE), &down(), Instant::now());
        backoff.asked(
            about(repository, BOB),
            &limited(StatusCode::SERVICE_UNAVAILABLE, Some(300)),
        );
    }
    assert!(backoff.holds_back(about(9, 3)));
    backoff.answered(about(8, BOB));
    assert!(!backoff.holds_back(about(9, 3)) && !backoff.holds_back(about(9, BOB)));
    assert!(backoff.holds_back(about(1, BOB)), "what it said of this one stays");
}

#[tokio::test(start_paused = true)]
async fn who_joined_somebody_elses_search_is_told_of_its_pause() {
    let backoff = Backoff::new(false);
    backoff.asked(of(ALICE), &limited(StatusCode::TOO_MANY_REQUESTS, Some(4)));
    let told = backoff.anybody_held_back(of(BOB)).await;
    assert!(matches!(told, UpstreamError::Paused { seconds: 4, .. }));
    let mut elsewhere = std::pin::pin!(backoff.anybody_held_back(about(2, BOB)));
    assert!(futures_util::poll!(&mut elsewhere).is_pending());
}

#[tokio::test(start_paused = true)]
async fn with_refshims_own_credentials_all_callers_are_one() {
    let backoff = Backoff::new(true);
    backoff.asked(of(ALICE), &limited(StatusCode::TOO_MANY_REQUESTS, Some(60)));
    assert_eq!(wait_of(&backoff, of(BOB)).await, Some(60));
}

#[tokio::test(start_paused = true)]
async fn no_wait_is_for_ever_and_a_short_one_is_waited_out() {
    let backoff = Backoff::new(false);
    backoff.asked(of(ALICE), &limited(StatusCode::TOO_MANY_REQUESTS, Some(u64::MAX)));
    assert_eq!(wait_of(&backoff, of(ALICE)).await, Some(600));
    backoff.asked(of(BOB), &limited(StatusCode::TOO_MANY_REQUESTS, Some(4)));
    let begun = Instant::now();
    assert_eq!(wait_of(&backoff, of(BOB)).await, None);
    assert_eq!(begun.elapsed().as_secs(), 4);
    assert_eq!(BackoffOutcome::ALL.map(|held| backoff.counts().get(held).get()), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn who_need_not_wait_is_told_at_once_of_a_short_pause_too() {
    let backoff = Backoff::new(false);
    let (alice, bob) = (of(ALICE), of(BOB));
    let mut waiting = std::pin::pin!(backoff.held_back(alice));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let moment = ReadFailure {
        wait: Some(MOMENT),
        ..limited(StatusCode::TOO_MANY_REQUESTS, None)
    };
    backoff.asked(alice, &moment);
    assert!(futures_util::poll!(&mut waiting).is_pending(), "soon over");
    backoff.asked(alice, &limited(StatusCode::TOO_MANY_REQUESTS, Some(4)));
    assert!(matches!(waiting.await, UpstreamError::Paused { seconds: 4, .. }));
    assert!(matches!(backoff.held_back(alice).await, UpstreamError::Paused { .. }));
    let mut other = std::pin::pin!(backoff.held_back(bob));
    assert!(futures_util::poll!(&mut other).is_pending());
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_while_everything_fails_and_end_with_a_success() {
    let backoff = Backoff::new(false);
    let mut longest = Duration::ZERO;
    for failure in 1..=20_u32 {
        let repository = u64::from(failure % 3);
        backoff.failed(about(repository, ALICE), &down(), Instant::now());
        advance(Duration::from_nanos(1)).await;
        // Fails together with the first, which only shows that it is not alone.
        backoff.failed(about(repository, BOB), &down(), Instant::now() - Duration::from_secs(1));
        let pause = backoff.current(about(9, 3)).map(|pause| pause.until - Instant::now());
        assert_eq!(pause.is_some(), failure > FREE_FAILURES, "{failure}");
        longest = longest.max(pause.unwrap_or_default());
        // Until the next request begins.
        advance(LONGEST).await;
    }
    assert!(longest >= LONGEST / 2 && longest <= LONGEST, "{longest:?}");
    backoff.succeeded(of(ALICE));
    backoff.failed(of(ALICE), &down(), Instant::now());
    assert!(!backoff.holds_back(of(ALICE)));
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_one_alone_holds_back_nobody_else() {
    let backoff = Backoff::new(false);
    for _ in 0..=FREE_FAILURES {
        backoff.failed(of(ALICE), &down(), Instant::now());
        advance(Duration::from_nanos(1)).await;
    }
    assert!(backoff.holds_back(of(ALICE)) && !backoff.holds_back(of(BOB)));
    assert!(!backoff.holds_back(about(2, ALICE)));
}

#[tokio::test(start_paused = true)]
async fn a_success_ends_a_pause_at_once_but_not_what_was_asked_for() {
    let (backoff, caller) = (Backoff::new(false), of(ALICE));
    for _ in 0..=FREE_FAILURES {
        backoff.failed(caller, &down(), Instant::now());
        advance(Duration::from_nanos(1)).await;
    }
    assert!(backoff.holds_back(caller));
    backoff.succeeded(caller);
    assert!(!backoff.holds_back(caller));
    backoff.asked(caller, &limited(StatusCode::TOO_MANY_REQUESTS, Some(60)));
    backoff.succeeded(caller);
    assert!(backoff.holds_back(caller));
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail_together_are_one_failure() {
    let (backoff, caller, begun) = (Backoff::new(false), of(ALICE), Instant::now());
    advance(Duration::from_secs(1)).await;
    for _ in 0..100 {
        backoff.failed(caller, &down(), begun);
    }
    assert!(!backoff.holds_back(caller));
}

#[tokio::test(start_paused = true)]
async fn a_limit_without_a_time_is_one_at_once_and_other_errors_are_none() {
    let (backoff, caller) = (Backoff::new(false), of(ALICE));
    for _ in 0..9 {
        backoff.failed(caller, &UpstreamError::Invalid("HTML".into()), Instant::now());
    }
    assert!(!backoff.holds_back(caller));
    let limit = limited(StatusCode::TOO_MANY_REQUESTS, None);
    backoff.failed(caller, &limit.error, Instant::now());
    assert!(backoff.holds_back(caller) && !backoff.holds_back(of(BOB)));
}
