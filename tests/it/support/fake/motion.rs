//! Names that come, go and move while a listing is read.

use refshim::testing::demo::DemoRegistry;
use refshim::testing::oci::{Reference, RepositoryName, Tag};

/// What happens to a repository's tags. Numbers are counted modulo the tags that are there, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagChange {
    /// One more tag, for what the oldest one names.
    Comes,
    /// One that is nobody's: of those whose names begin with `t`.
    Goes(usize),
    /// One is deleted and pushed again: it is the newest then.
    Moves(usize),
    /// The same, of the tag after which the page that is asked for begins.
    CursorMoves,
    /// That tag goes, where it is nobody's.
    CursorGoes,
}

/// A change, and how many pages of tags are given before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Motion {
    pub after: usize,
    pub change: TagChange,
}

/// The motions of one repository.
#[derive(Default)]
pub struct Motions {
    repository: String,
    pending: Vec<Motion>,
    pages: usize,
    /// How many there were.
    pub made: usize,
}

impl Motions {
    pub fn of(repository: &str, pending: Vec<Motion>) -> Self {
        Self {
            repository: repository.to_owned(),
            pending,
            ..Self::default()
        }
    }

    /// A page of tags is about to be given, of those after `last`.
    pub fn page(&mut self, registry: &DemoRegistry, name: &RepositoryName, last: Option<&str>) {
        if self.repository != name.as_str() {
            return;
        }
        let pages = self.pages;
        self.pages += 1;
        let last = last.and_then(|last| Tag::parse(last).ok());
        let last = last.filter(|last| registry.store().manifest(name, &Reference::Tag(last.clone())).is_some());
        let is_of_cursor = |change| matches!(change, TagChange::CursorMoves | TagChange::CursorGoes);
        let is_due = |motion: &mut Motion| motion.after <= pages && (last.is_some() || !is_of_cursor(motion.change));
        let due: Vec<_> = self.pending.extract_if(.., is_due).collect();
        for motion in due {
            self.made += 1;
            make(motion.change, self.made, registry, name, last.as_ref());
        }
    }
}

fn make(change: TagChange, number: usize, registry: &DemoRegistry, name: &RepositoryName, last: Option<&Tag>) {
    let mut store = registry.store();
    let tags = store.tags(name).unwrap_or_default();
    let Some(oldest) = tags.first() else { return };
    let (from, to) = match change {
        TagChange::Comes => {
            let new = format!("{}-came-{number}", ["a", "t0007", "z"][number % 3]);
            (oldest.clone(), Some(Tag::parse(&new).expect("a tag")))
        }
        TagChange::Goes(index) => {
            let nobodys: Vec<&Tag> = tags.iter().filter(|tag| tag.as_str().starts_with('t')).collect();
            let Some(count) = std::num::NonZero::new(nobodys.len()) else {
                return;
            };
            (nobodys[index % count].clone(), None)
        }
        TagChange::Moves(index) => {
            let tag = tags[index % tags.len()].clone();
            (tag.clone(), Some(tag))
        }
        TagChange::CursorMoves | TagChange::CursorGoes => {
            let Some(tag) = last.filter(|tag| tags.contains(tag)) else {
                return;
            };
            let goes = change == TagChange::CursorGoes && tag.as_str().starts_with('t');
            (tag.clone(), (!goes).then(|| tag.clone()))
        }
    };
    let manifest = store
        .manifest(name, &Reference::Tag(from.clone()))
        .expect("what a tag names");
    let (media_type, bytes) = (manifest.media_type.clone(), manifest.bytes.clone());
    if !matches!(change, TagChange::Comes) {
        store.delete_tag(name, &from);
    }
    if let Some(to) = to {
        let put = store.put_manifest(name, &Reference::Tag(to), &media_type, bytes);
        put.expect("it was there before");
    }
}
