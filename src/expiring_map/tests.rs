use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn what_was_put_is_there_under_its_key_alone_until_it_is_taken() {
    let map = ExpiringMap::<(String, u8), &str>::new(10);
    let key = |number| ("repository".to_owned(), number);
    map.insert(key(1), "first");
    assert_eq!(map.get(&key(1)), Some("first"));
    assert!(map.contains_key(&key(1)));
    assert_eq!(map.get(&key(2)), None);
    assert_eq!(map.clone().remove(&key(1)), Some("first"));
    assert!(!map.contains_key(&key(1)));
    map.insert(key(1), "again");
    map.clear();
    assert_eq!(map.get(&key(1)), None);
}

#[test]
fn only_one_of_many_makes_the_value() {
    let (map, made) = (ExpiringMap::<u8, usize>::new(10), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let got = map.get_or_insert_with(&1, || made.fetch_add(1, Ordering::Relaxed) + 1);
                assert_eq!(got, 1);
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
    assert!(!map.insert_new(&1, 7));
    assert!(map.insert_new(&2, 7));
    assert_eq!((map.get(&1), map.get(&2)), (Some(1), Some(7)));
}

#[test]
fn an_entry_is_changed_as_is_said() {
    let map = ExpiringMap::<u8, u8>::new(10);
    map.change(&1, |known| {
        assert_eq!(known, None);
        EntryChange::Keep
    });
    assert_eq!(map.get(&1), None);
    map.change(&1, |_| EntryChange::Put(1));
    map.change(&1, |known| {
        known.map_or(EntryChange::Remove, |known| EntryChange::Put(known + 1))
    });
    assert_eq!(map.get(&1), Some(2));
    map.change(&1, |_| EntryChange::Keep);
    assert_eq!(map.get(&1), Some(2));
    map.change(&1, |_| EntryChange::Remove);
    assert_eq!(map.get(&1), None);
}

#[test]
fn no_change_of_many_at_once_is_lost() {
    let map = ExpiringMap::<u8, usize>::new(10);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    map.change(&1, |known| EntryChange::Put(known.unwrap_or_default() + 1));
                }
            });
        }
    });
    assert_eq!(map.get(&1), Some(400));
}

#[test]
fn bounds_hold_by_number_and_by_weight_and_whoever_wants_to_know_is_told() {
    let (evicted, counted) = (Arc::new(AtomicUsize::new(0)), 1000);
    let count = evicted.clone();
    let map = ExpiringMap::builder(10)
        .on_eviction(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .build();
    for number in 0..counted {
        map.insert(number, ());
    }
    map.insert(0, ());
    map.remove(&0);
    let left = map.settled_len();
    assert!(left <= 10, "{left}");
    assert!(evicted.load(Ordering::Relaxed) >= counted - 11);

    let heavy = ExpiringMap::builder(100)
        .weigher(|_: &u32, weight: &u32| *weight)
        .build();
    for number in 0..counted as u32 {
        heavy.insert(number, 30);
    }
    assert!(heavy.settled_len() <= 3);
}

#[test]
fn what_was_used_last_stays() {
    let map = ExpiringMap::builder(2).least_recently_used_first().build();
    for number in 0..100 {
        map.insert(number, ());
        map.settled_len();
    }
    assert!(map.contains_key(&99) && map.contains_key(&98));
}

#[test]
fn entries_end_with_their_time() {
    let moment = Duration::from_millis(1);
    let living = ExpiringMap::builder(10).time_to_live(moment).build();
    let idle = ExpiringMap::builder(10).time_to_idle(moment).build();
    living.insert(1, ());
    idle.insert(1, ());
    while living.get(&1).is_some() || idle.contains_key(&1) {
        std::thread::yield_now();
    }
}
