//! What memory says of content against a model that is too simple to be wrong: the log of what the registry said, to whom, and
//! of what it was asked. Whatever happens in whatever order, memory answers a caller only where the registry itself gave that
//! very digest to somebody within `fresh_for`, has not withheld it since, and gave this caller a manifest within `access_for`
//! and before its token ended.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::cache::Bounds;
use crate::config::UpstreamConfig;
use crate::oci::Reference;
use crate::referrers::{Given, ServedHeaders};
use crate::registry::RawManifest;

/// Two manifests and a blob.
const CONTENTS: [&[u8]; 3] = [b"{\"a\":1}", b"{\"b\":2}", b"a blob"];
const BLOB: usize = 2;
/// Nobody, a token that says nothing of its end, and one that ends.
const CALLERS: usize = 3;
const NOBODY: usize = 0;
const EXPIRING: usize = 2;
/// When the last caller's token ends, in seconds from the start.
const TOKEN_END: u64 = 100;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The registry gives a manifest or a blob to a caller. A blob is always given by its digest.
    Gives {
        content: usize,
        caller: usize,
        by_tag: bool,
    },
    /// It says to a HEAD, or to a condition, that it is there.
    Confirms {
        content: usize,
        caller: usize,
    },
    /// It does not give it to a caller.
    Withholds {
        content: usize,
        caller: usize,
    },
    Lists {
        caller: usize,
    },
    /// It refuses a caller.
    Refuses {
        caller: usize,
    },
    Delete {
        content: usize,
    },
    Pass {
        seconds: u64,
    },
    Ask {
        content: usize,
        caller: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (content, caller) = (0..CONTENTS.len(), 0..CALLERS);
    let both = (content.clone(), caller.clone());
    prop_oneof![
        4 => (content.clone(), caller.clone(), any::<bool>())
            .prop_map(|(content, caller, by_tag)| Step::Gives { content, caller, by_tag }),
        2 => both.clone().prop_map(|(content, caller)| Step::Confirms { content, caller }),
        1 => both.clone().prop_map(|(content, caller)| Step::Withholds { content, caller }),
        2 => caller.clone().prop_map(|caller| Step::Lists { caller }),
        1 => caller.prop_map(|caller| Step::Refuses { caller }),
        1 => content.prop_map(|content| Step::Delete { content }),
        2 => (1..40u64).prop_map(|seconds| Step::Pass { seconds }),
        6 => both.prop_map(|(content, caller)| Step::Ask { content, caller }),
    ]
}

struct World {
    resolver: Resolver,
    repository: RepositoryName,
    callers: [Caller; CALLERS],
    now: u64,
    /// When the registry last said of a digest that it is there, where it has not withheld it since.
    given: [Option<u64>; CONTENTS.len()],
    /// When it last gave a caller a manifest, where it has not refused it since.
    allowed: [Option<u64>; CALLERS],
    fresh_for: u64,
    access_for: u64,
}

/// Nobody listens there, and nothing here asks. It is made once, because it reads the system's certificate authorities.
static UPSTREAM: LazyLock<Arc<Upstream>> = LazyLock::new(|| {
    let config = UpstreamConfig::new("http://127.0.0.1:9".parse().unwrap());
    Arc::new(Upstream::new(&config, &LimitsConfig::default()).unwrap())
});

fn callers(began: Duration) -> [Caller; CALLERS] {
    let end = (began + Duration::from_secs(TOKEN_END)).as_secs_f64();
    let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{end}}}"#));
    let with = |authorization: &str| Caller::with(HeaderValue::from_str(authorization).ok());
    [
        Caller::anonymous(),
        with("Bearer one"),
        with(&format!("Bearer x.{claims}.y")),
    ]
}

fn digest(index: usize) -> Digest {
    Digest::sha256(CONTENTS[index])
}

impl World {
    fn new() -> Self {
        let (freshness, limits) = (CacheConfig::default(), LimitsConfig::default());
        let bounds = Bounds {
            manifests: 1 << 20,
            lists: 1 << 20,
        };
        let cache = Arc::new(Cache::new(bounds));
        Self {
            callers: callers(cache.now()),
            resolver: Resolver::new(UPSTREAM.clone(), cache, &LinksConfig::default(), &freshness, &limits),
            repository: RepositoryName::parse("r").unwrap(),
            now: 0,
            given: Default::default(),
            allowed: Default::default(),
            fresh_for: freshness.fresh_for.as_secs(),
            access_for: freshness.access_for.as_secs(),
        }
    }

    fn may_read(&self, who: usize) -> bool {
        self.within(self.allowed[who], self.access_for) && (who != EXPIRING || self.now < TOKEN_END)
    }

    fn within(&self, since: Option<u64>, window: u64) -> bool {
        since.is_some_and(|since| self.now - since < window)
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Gives {
                content,
                caller,
                by_tag,
            } => self.gives(content, caller, by_tag).await,
            Step::Confirms { content, caller: who } => self.confirms(content, who).await,
            Step::Withholds { content, caller: who } => self.withholds(content, who).await,
            Step::Lists { caller: who } => {
                let context = self.resolver.outside(&self.repository, &self.callers[who]);
                self.resolver.inner.access.allow_listing(&context);
            }
            Step::Refuses { caller: who } => {
                self.resolver.refuse(&self.repository, &self.callers[who]).await;
                self.allowed[who] = None;
            }
            Step::Delete { content: BLOB } => {
                self.resolver.forget_blob(&self.repository, &digest(BLOB)).await;
                self.given[BLOB] = None;
            }
            Step::Delete { content } => {
                let reference = Reference::Digest(digest(content));
                self.resolver.wrote(&self.repository, Some(&reference)).await;
                self.given[content] = None;
            }
            Step::Pass { seconds } => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                self.now += seconds;
            }
            Step::Ask { content, caller: who } => self.ask(content, who).await,
        }
    }

    async fn gives(&mut self, content: usize, who: usize, by_tag: bool) {
        self.resolver.allow(&self.repository, &self.callers[who]).await;
        self.allowed[who] = Some(self.now);
        let bytes = Bytes::from_static(CONTENTS[content]);
        let headers = ServedHeaders::default();
        if content == BLOB {
            self.resolver.allow_blobs(&self.repository, &self.callers[who]);
            self.resolver
                .remember_blob(&self.repository, &digest(BLOB), bytes, headers)
                .await;
            self.given[BLOB] = Some(self.now);
            return;
        }
        let raw = RawManifest {
            digest: digest(content),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            bytes,
        };
        let given = if by_tag { Given::ByTag } else { Given::ByDigest };
        let headers = || headers;
        assert!(
            self.resolver.learn_given(&self.repository, raw, given, headers).await,
            "other bytes than promised"
        );
        if !by_tag {
            self.given[content] = Some(self.now);
        }
    }

    async fn confirms(&mut self, content: usize, who: usize) {
        let (repository, digest) = (&self.repository, digest(content));
        match content {
            BLOB => self.resolver.confirm_blob(repository, &digest).await,
            _ => {
                let caller = &self.callers[who];
                self.resolver.confirm_manifest(repository, &digest, caller).await;
            }
        }
        self.given[content] = Some(self.now);
    }

    async fn withholds(&mut self, content: usize, who: usize) {
        let (repository, digest, caller) = (&self.repository, digest(content), &self.callers[who]);
        match content {
            BLOB => self.resolver.withheld_blob(repository, &digest, caller).await,
            _ => self.resolver.withheld(repository, &digest, caller).await,
        }
        if self.may_read(who) {
            self.given[content] = None;
        }
    }

    /// The bytes that memory gives, and whether it gives them as current.
    async fn known(&self, content: usize, who: usize) -> Option<(Bytes, bool)> {
        let (repository, digest, caller) = (&self.repository, digest(content), &self.callers[who]);
        if content == BLOB {
            let known = self.resolver.known_blob(repository, &digest, caller).await?;
            return Some((known.content, known.is_current));
        }
        let known = self.resolver.known_manifest(repository, &digest, caller).await?;
        Some((known.content.bytes.clone(), known.is_current))
    }

    async fn ask(&self, content: usize, who: usize) {
        let Some((bytes, is_current)) = self.known(content, who).await else {
            return;
        };
        let is_there = self.within(self.given[content], self.fresh_for);
        assert_eq!(bytes, CONTENTS[content]);
        assert!(
            !is_current || (self.may_read(who) && is_there),
            "memory says more than the registry did"
        );
        assert!(
            self.may_read(who) || who == NOBODY,
            "stale content for a caller of whom no right is known"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn memory_never_says_more_than_the_registry_did(steps in proptest::collection::vec(step(), 1..60)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.take(step).await;
            }
        });
    }
}

/// It does remember: what was given by its digest is given again to whoever may read.
#[tokio::test(start_paused = true)]
async fn what_was_given_is_current_for_its_time_and_no_longer() {
    for content in [0, BLOB] {
        let mut world = World::new();
        let is_current = async |world: &World| world.known(content, 1).await.is_some_and(|known| known.1);
        world.gives(content, 1, false).await;
        assert!(is_current(&world).await);
        let seconds = world.fresh_for;
        world.take(Step::Pass { seconds }).await;
        assert!(!is_current(&world).await);
        if content != BLOB {
            world.gives(content, 1, true).await;
            assert!(!is_current(&world).await, "a tag is no word for its digest");
        }
        world.take(Step::Confirms { content, caller: 1 }).await;
        assert!(is_current(&world).await);
    }
}
