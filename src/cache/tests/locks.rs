//! Locks that processes share.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_process_after_the_other_holds_a_lock_and_none_waits_for_ever() {
    let (a, b, table) = replicas();
    let repository_key = repository_key();
    let held = a.lock(&repository_key, "tag").await.unwrap();
    assert!(b.lock(&repository_key, "other").await.is_some());
    let waiting = async {
        let lock = b.lock(&repository_key, "tag").await;
        assert!(table.locks.lock().unwrap().contains_key("tag"));
        lock
    };
    let giving_back = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(held);
    };
    let (lock, ()) = tokio::join!(waiting, giving_back);
    let kept = lock.unwrap();
    assert!(
        a.lock(&repository_key, "tag").await.is_none(),
        "after a while it goes on without"
    );
    drop(kept);
    table.closed.store(true, Ordering::Relaxed);
    assert!(a.lock(&repository_key, "tag").await.is_none());
    assert!(Cache::new(BOUNDS).lock(&repository_key, "tag").await.is_none());
}
