//! Who waits for which work, and what ends it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[tokio::test(start_paused = true)]
async fn concurrent_questions_are_one_piece_of_work() {
    let flights = SingleFlight::new(Duration::from_secs(9));
    let runs = Arc::new(AtomicUsize::new(0));
    let work = || {
        let runs = runs.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            runs.fetch_add(1, Ordering::Relaxed)
        }
    };
    let (a, b) = tokio::join!(flights.run("k", work()), flights.run("k", work()));
    assert_eq!((a.value, b.value, a.leader, b.leader), (Some(0), Some(0), true, false));
    assert_eq!(flights.run("k", work()).await.value, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_leader_who_hangs_up_harms_no_follower() {
    let flights = Arc::new(SingleFlight::new(Duration::from_secs(9)));
    let slow = |n: u8| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        n
    };
    let leader = tokio::spawn({
        let flights = flights.clone();
        async move { flights.run("k", slow(1)).await }
    });
    tokio::task::yield_now().await;
    let follower = flights.run("k", slow(2));
    leader.abort();
    assert_eq!(follower.await.value, Some(1));
}

#[tokio::test(start_paused = true)]
async fn work_past_its_deadline_or_that_panics_is_no_value() {
    let flights: SingleFlight<&str, u8> = SingleFlight::new(Duration::from_secs(1));
    assert_eq!(flights.run("late", std::future::pending()).await.value, None);
    assert_eq!(
        flights.run("bad", async { panic!("expected by the test") }).await.value,
        None
    );
    assert_eq!(flights.run("late", async { 3 }).await.value, Some(3));
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

async fn until_dropped(dropped: &AtomicUsize) {
    while dropped.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn work_ends_with_the_last_who_waits_for_it() {
    let flights = SingleFlight::new(Duration::from_secs(3600));
    let dropped = Arc::new(AtomicUsize::new(0));
    let work = || {
        let guard = Dropped(dropped.clone());
        async move {
            let _guard = guard;
            std::future::pending::<u8>().await
        }
    };
    {
        let mut leader = Box::pin(flights.run("k", work()));
        assert!(futures_util::poll!(&mut leader).is_pending());
        let mut follower = Box::pin(flights.run("k", std::future::pending()));
        assert!(futures_util::poll!(&mut follower).is_pending());
        tokio::task::yield_now().await;
        drop(leader);
        tokio::task::yield_now().await;
        assert_eq!(dropped.load(Ordering::Relaxed), 0, "somebody still waits");
    }
    until_dropped(&dropped).await;
    assert_eq!(flights.run("k", async { 3 }).await.value, Some(3));
}

#[tokio::test(start_paused = true)]
async fn work_in_the_background_goes_on_when_who_joined_it_has_gone() {
    let flights = SingleFlight::new(Duration::from_secs(9));
    let done = Arc::new(AtomicUsize::new(0));
    let guard = Dropped(done.clone());
    let work = async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(guard);
        1_u8
    };
    let begun: Result<(), ()> = flights.try_start("k", || Ok(work));
    begun.unwrap();
    let mut joined = Box::pin(flights.run("k", std::future::pending()));
    assert!(futures_util::poll!(&mut joined).is_pending());
    drop(joined);
    assert_eq!(flights.run("k", std::future::pending()).await.value, Some(1));
    until_dropped(&done).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_begins_nothing_and_who_joins_is_not_refused() {
    let flights: SingleFlight<&str, u8> = SingleFlight::new(Duration::from_secs(9));
    let refuse = || Err::<std::future::Pending<u8>, _>("busy");
    assert_eq!(
        flights.try_run("k", Ends::WithLastWaiter, refuse).await.unwrap_err(),
        "busy"
    );
    assert!(lock(&flights.running).flights.is_empty());
    let slow = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        7
    };
    let (leader, joined) = tokio::join!(
        flights.run("k", slow),
        flights.try_run("k", Ends::WithLastWaiter, refuse)
    );
    assert_eq!((leader.value, joined.unwrap().value), (Some(7), Some(7)));
}
