//! Who gets permits, and how many.

use std::collections::VecDeque;

use super::*;

fn asker(repository: u64, credential: u64) -> Asker {
    Asker { repository, credential }
}

fn is_granted(permit: &mut Permit) -> bool {
    if permit
        .granted
        .as_mut()
        .is_some_and(|granted| granted.try_recv().is_ok())
    {
        permit.granted = None;
    }
    permit.granted.is_none()
}

fn join(queue: &Arc<SearchQueue>, asker: Asker, count: usize) -> Vec<Permit> {
    (0..count).map(|_| queue.join(asker).unwrap()).collect()
}

fn granted(permits: &mut [Permit]) -> usize {
    permits.iter_mut().map(is_granted).filter(|granted| *granted).count()
}

#[test]
fn repositories_that_hang_leave_permits_for_others() {
    let queue = SearchQueue::new(16, 1000);
    for (repository, expected) in [(1, 8), (2, 4), (3, 1), (4, 1)] {
        let mut permits = join(&queue, asker(repository, 0), 40);
        assert_eq!(granted(&mut permits), expected, "repository {repository}");
        std::mem::forget(permits);
    }
    assert!(is_granted(&mut queue.join(asker(5, 0)).unwrap()), "a healthy one");
}

#[test]
fn eight_repositories_that_hang_leave_permits_for_two_that_do_not() {
    for at_once in [false, true] {
        let queue = SearchQueue::new(32, 1000);
        let blocker = at_once.then(|| join(&queue, asker(0, 0), 40));
        let hanging: Vec<_> = (1..=8).map(|number| join(&queue, asker(number, 0), 40)).collect();
        drop(blocker);
        for healthy in [9, 10] {
            let mut first = queue.join(asker(healthy, 0)).unwrap();
            assert!(is_granted(&mut first), "{at_once} {healthy}");
            std::mem::forget(first);
        }
        drop(hanging);
    }
}

#[test]
fn a_credential_does_not_wait_for_another_that_fills_the_repository() {
    let queue = SearchQueue::new(16, 1000);
    let _hanging = join(&queue, asker(1, 1), 40);
    assert!(is_granted(&mut queue.join(asker(1, 2)).unwrap()));
}

#[test]
fn the_next_permit_goes_to_whose_repository_and_credential_hold_the_fewest() {
    let queue = SearchQueue::new(8, 1000);
    let mut busy = join(&queue, asker(1, 1), 9);
    let mut other = join(&queue, asker(2, 1), 9);
    let mut third = join(&queue, asker(3, 1), 9);
    assert_eq!(
        (granted(&mut busy), granted(&mut other), granted(&mut third)),
        (4, 2, 1)
    );
    let mut newcomer = join(&queue, asker(3, 2), 1);
    busy.remove(0);
    assert_eq!(granted(&mut newcomer), 0, "a quarter is kept for other repositories");
    busy.remove(0);
    assert_eq!(
        (granted(&mut newcomer), granted(&mut third)),
        (1, 1),
        "its credential holds none"
    );
    busy.remove(0);
    assert_eq!(
        (granted(&mut busy), granted(&mut other)),
        (2, 2),
        "now the first repository holds the fewest"
    );
}

#[test]
fn one_who_leaves_the_queue_is_forgotten_and_gives_back_what_was_granted() {
    let queue = SearchQueue::new(2, 1000);
    let mut first = join(&queue, asker(1, 1), 3);
    assert_eq!(granted(&mut first), 1);
    // One that waits goes, then the one that was granted.
    first.remove(1);
    first.remove(0);
    assert_eq!(granted(&mut first), 1);
    drop(first);
    let state = queue.lock();
    assert!(state.lines.is_empty() && state.repositories.is_empty() && state.credentials.is_empty());
    assert_eq!((state.all.places, state.all.permits), (0, 0));
}

/// Each asks for sixteen pages at once; they are answered in the order in which they are asked for.
#[test]
fn twenty_large_repositories_are_served_alike_and_another_waits_for_one_page_of_each_at_most() {
    const REPOSITORIES: u64 = 20;
    let queue = SearchQueue::new(32, usize::MAX);
    let repositories = (0..REPOSITORIES).flat_map(|number| std::iter::repeat_n(number, 16));
    let join = |number| (number, queue.join(asker(number, 0)).unwrap());
    let mut waiting: Vec<_> = repositories.chain([REPOSITORIES]).map(join).collect();
    let (mut asked, mut answered) = (VecDeque::new(), Vec::new());
    while !waiting.is_empty() || !asked.is_empty() {
        asked.extend(waiting.extract_if(.., |(_, permit)| is_granted(permit)));
        let (number, permit) = asked.pop_front().expect("somebody is served");
        answered.push(number);
        drop(permit);
    }
    let newcomer = answered.iter().position(|number| *number == REPOSITORIES);
    assert!(
        newcomer.is_some_and(|before| before <= 32 + REPOSITORIES as usize),
        "{answered:?}"
    );
    // Half of the pages later nobody is far behind.
    let served = |number| answered[..160].iter().filter(|other| **other == number).count();
    let fewest = (0..REPOSITORIES).map(served).min();
    assert!(fewest >= Some(160 / 20 / 2), "{answered:?}");
}

#[test]
fn nobody_fills_the_queue_alone() {
    let queue = SearchQueue::new(1, 100);
    let fill = |repository: fn(u64) -> u64, credential: u64| {
        let joined: Vec<_> = (0..200)
            .map_while(|n| queue.join(asker(repository(n), credential)).ok())
            .collect();
        joined
    };
    let one_repository = fill(|_| 1, 1);
    assert_eq!(one_repository.len(), 50);
    let many_repositories = fill(|n| 1000 + n, 1);
    assert_eq!(many_repositories.len(), 25, "with those before, three quarters");
    assert!(queue.check_place(asker(7, 1)).is_err());
    assert!(queue.check_place(asker(7, 2)).is_ok());
}
