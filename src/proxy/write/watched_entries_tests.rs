//! When entries are looked for, and how many at most.

use super::*;
use crate::oci::SubjectKey;
use crate::registry::Caller;

fn entry(name: &str, was_listed: bool) -> WatchedEntry {
    let subject = SubjectKey::of(&Digest::sha256(name.as_bytes()));
    let tag = TagToUpdate {
        repository: RepositoryName::parse("app").unwrap(),
        tag: Tag::parse(subject.as_str()).unwrap(),
        subject,
        caller: Caller::anonymous(),
    };
    WatchedEntry::new(tag, Digest::sha256(name.as_bytes()), was_listed)
}

/// Seconds after the push at which an entry is due that is always found.
fn looks(mut entry: WatchedEntry) -> Vec<u64> {
    let mut seconds = Vec::new();
    while let Some(due) = entry.due() {
        seconds.push((due - entry.since).as_secs());
        entry.next += 1;
    }
    seconds
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_looked_for_three_times_and_at_once_where_it_was_not_listed() {
    assert_eq!(looks(entry("a", true)), [2, 10, 60]);
    assert_eq!(looks(entry("a", false)), [0, 2, 10, 60]);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_due_is_taken() {
    let mut queue = WatchQueue::default();
    assert!(queue.push(entry("listed", true)) && queue.push(entry("missing", false)));
    let taken = queue.take_due(Instant::now());
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].digest, Digest::sha256(b"missing"));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(queue.take_due(Instant::now()).len(), 1);
    assert_eq!(queue.looked_at, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_looked_at_keeps_its_room() {
    let mut queue = WatchQueue::default();
    for number in 0..MOST_WATCHED {
        assert!(queue.push(entry(&number.to_string(), true)));
    }
    assert!(!queue.push(entry("one more", true)));
    tokio::time::advance(Duration::from_secs(2)).await;
    let mut taken = queue.take_due(Instant::now());
    assert_eq!(taken.len(), MOST_WATCHED);
    assert!(!queue.push(entry("one more", true)), "those come back");
    queue.looked_at -= taken.len();
    assert!(queue.push(taken.remove(0)));
}

#[tokio::test(start_paused = true)]
async fn entries_of_one_tag_and_credential_are_looked_for_together() {
    let (mut one, other) = (entry("a", true), entry("b", true));
    let same = one.clone();
    one.digest = other.digest.clone();
    let mut groups: Vec<usize> = by_tag(vec![one, other, same])
        .iter()
        .map(|(_, entries)| entries.len())
        .collect();
    groups.sort();
    assert_eq!(groups, [1, 2]);
}

#[test]
fn what_is_dropped_again_and_again_is_looked_for_less_often_and_at_last_left_alone() {
    assert_eq!(LOOKS[after_restoring(1)], Duration::from_secs(2));
    assert_eq!(LOOKS[after_restoring(RESTORED_SOON)], Duration::from_secs(2));
    assert_eq!(LOOKS[after_restoring(RESTORED_SOON + 1)], Duration::from_secs(60));
    assert_eq!(LOOKS.get(after_restoring(MOST_RESTORED)), None);
}
