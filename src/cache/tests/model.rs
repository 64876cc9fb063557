//! The cache against a model that is too simple to be wrong: a log of what was written and what was put when.
//!
//! Two replicas share a second tier. Whatever they are asked in whatever order, an answer is one that was put for this very
//! thing, as old as it says, and not made wrong by a write that came after its question began.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
const SCOPES: [&str; 2] = ["one", "two"];
const SLOTS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thing {
    kind: Kind,
    repository_key: usize,
    name: usize,
}

#[derive(Clone, Debug)]
enum Step {
    /// A question begins: what is known to be written is remembered in the slot.
    Begin {
        replica: usize,
        slot: usize,
    },
    /// It ends, having learned something.
    Put {
        slot: usize,
        thing: Thing,
    },
    Get {
        replica: usize,
        thing: Thing,
    },
    /// Names a tag and a manifest, or everything.
    Write {
        replica: usize,
        repository_key: usize,
        name: Option<usize>,
    },
    Remove {
        replica: usize,
        thing: Thing,
    },
    Pass {
        seconds: u64,
    },
}

fn thing() -> impl Strategy<Value = Thing> {
    let kind = prop_oneof![
        Just(Kind::Manifest),
        Just(Kind::Tag),
        Just(Kind::Answer),
        Just(Kind::TagList)
    ];
    (kind, 0..SCOPES.len(), 0..NAMES.len()).prop_map(|(kind, repository_key, name)| Thing {
        kind,
        repository_key,
        // There is one list of tags.
        name: if kind == Kind::TagList { 0 } else { name },
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..2usize, 0..SLOTS).prop_map(|(replica, slot)| Step::Begin { replica, slot }),
        3 => (0..SLOTS, thing()).prop_map(|(slot, thing)| Step::Put { slot, thing }),
        4 => (0..2usize, thing()).prop_map(|(replica, thing)| Step::Get { replica, thing }),
        1 => (0..2usize, 0..SCOPES.len(), proptest::option::weighted(0.8, 0..NAMES.len()))
            .prop_map(|(replica, repository_key, name)| Step::Write { replica, repository_key, name }),
        1 => (0..2usize, thing()).prop_map(|(replica, thing)| Step::Remove { replica, thing }),
        1 => (1..90u64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// A write as the log keeps it.
struct Written {
    repository_key: usize,
    name: Option<usize>,
}

/// A value as the log keeps it.
struct Kept {
    thing: Thing,
    value: String,
    /// How many writes there were when its question began.
    after: usize,
    at: u64,
}

struct World {
    replicas: [Cache; 2],
    table: Arc<Table>,
    questions: [Option<Question>; SLOTS],
    written: Vec<Written>,
    kept: Vec<Kept>,
    now: u64,
}

struct Question {
    replica: usize,
    epochs: [Epoch; SCOPES.len()],
    after: usize,
}

fn scope_of(index: usize) -> RepositoryKey {
    RepositoryKey::new("http://u/", SCOPES[index])
}

fn key(thing: Thing, epoch: &Epoch) -> Key {
    let (repository_key, name) = (scope_of(thing.repository_key), NAMES[thing.name]);
    match thing.kind {
        Kind::Manifest => Key::manifest(&repository_key, epoch, name),
        Kind::Tag => Key::tag(&repository_key, epoch, name),
        Kind::Answer => Key::answer(&repository_key, epoch, name),
        _ => Key::tag_list(&repository_key, epoch),
    }
}

impl World {
    fn new() -> Self {
        let (one, other, table) = replicas();
        Self {
            replicas: [one, other],
            table,
            questions: Default::default(),
            written: Vec::new(),
            kept: Vec::new(),
            now: 0,
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Begin { replica, slot } => {
                let cache = &self.replicas[replica];
                let epochs = [cache.epoch(&scope_of(0)).await, cache.epoch(&scope_of(1)).await];
                let after = self.written.len();
                self.questions[slot] = Some(Question { replica, epochs, after });
            }
            Step::Put { slot, thing } => self.put(slot, thing).await,
            Step::Get { replica, thing } => self.get(replica, thing).await,
            Step::Write {
                replica,
                repository_key,
                name,
            } => {
                let touched = match name {
                    Some(name) => vec![
                        Invalidation::Tag(NAMES[name].into()),
                        Invalidation::Manifest(NAMES[name].into()),
                    ],
                    None => vec![Invalidation::Everything],
                };
                self.replicas[replica].wrote(&scope_of(repository_key), touched).await;
                self.written.push(Written { repository_key, name });
            }
            Step::Remove { replica, thing } => {
                let cache = &self.replicas[replica];
                let epoch = cache.epoch(&scope_of(thing.repository_key)).await;
                cache.remove(&key(thing, &epoch)).await;
            }
            Step::Pass { seconds } => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                self.now += seconds;
            }
        }
    }

    async fn put(&mut self, slot: usize, thing: Thing) {
        let Some(question) = &self.questions[slot] else {
            return;
        };
        let value = format!("value {}", self.kept.len());
        let key = key(thing, &question.epochs[thing.repository_key]);
        put(&self.replicas[question.replica], &self.table, &key, &value).await;
        let (after, at) = (question.after, self.now);
        self.kept.push(Kept {
            thing,
            value,
            after,
            at,
        });
    }

    async fn get(&self, replica: usize, thing: Thing) {
        let cache = &self.replicas[replica];
        let epoch = cache.epoch(&scope_of(thing.repository_key)).await;
        let Some(found) = cache.get::<String>(&key(thing, &epoch)).await else {
            return;
        };
        let kept = self.kept.iter().find(|kept| kept.value == *found.value);
        let kept = kept.expect("what is found was put");
        assert_eq!(kept.thing, thing, "found under another's key");
        // Each replica has a clock of its own, started a moment apart.
        let age = Duration::from_secs(self.now - kept.at);
        assert!(found.age.abs_diff(age) < CLOCK_SKEW / 5, "{:?}, not {age:?}", found.age);
        let since = self.written[kept.after..].iter();
        let mut since = since
            .filter(|written| written.repository_key == thing.repository_key)
            .peekable();
        match thing.kind {
            Kind::Answer => assert!(since.peek().is_none(), "a list outlives a write"),
            _ => {
                let since: Vec<_> = since.collect();
                let named = since.iter().any(|written| written.name == Some(thing.name));
                assert!(
                    !named || thing.kind == Kind::TagList,
                    "a write named it after its question began"
                );
                let names = since.iter().filter_map(|written| written.name);
                let tells = |name: usize| found.written_since.iter().any(|tag| **tag == *NAMES[name]);
                let told = thing.kind != Kind::TagList || names.into_iter().all(tells);
                assert!(told || !found.verified, "a tag that was written since is not told");
                let verified = since.iter().all(|written| written.name.is_some());
                assert!(verified || !found.verified, "vouched for across a write of anything");
            }
        }
    }
}

/// Runs `work` on a clock that only the steps move.
fn paused(work: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_no_answer_is_older_than_a_write(steps in proptest::collection::vec(step(), 1..60)) {
        paused(async {
            let mut world = World::new();
            for step in steps {
                world.take(step).await;
            }
        });
    }

    /// Without others' writes in between, what was learned last is what is found: the cache does remember.
    #[test]
    fn what_was_put_last_is_found(things in proptest::collection::vec(thing(), 1..20)) {
        paused(async {
            let mut world = World::new();
            for (number, thing) in things.iter().enumerate() {
                world.take(Step::Begin { replica: number % 2, slot: 0 }).await;
                world.put(0, *thing).await;
                let last = world.kept.last().unwrap().value.clone();
                let epoch = world.replicas[number % 2].epoch(&scope_of(thing.repository_key)).await;
                let found = world.replicas[number % 2].get::<String>(&key(*thing, &epoch)).await.unwrap();
                assert_eq!((found.value.as_str(), found.verified), (last.as_str(), true));
            }
        });
    }
}
