//! Callers whom the registry lets do less than others. Through refshim none of them sees more than straight, and whatever the
//! caches hold for others, none is told that there is less than it would find.

use base64::Engine as _;
use http::Method;
use rand::RngExt as _;
use rand::rngs::StdRng;
use refshim::testing::oci::Digest;

use super::world::{World, is_failure, named};
use crate::support::content::{ANY, IMAGE, artifact};
use crate::support::{Endpoint, Fault, Pushed, Refshim, Reply, Seen};

/// Requests of one such caller, one after the other.
const IN_A_ROW: usize = 3;
const PASSWORD: &str = "through the looking-glass";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// May list tags and nothing else.
    Lister,
    /// May read what it can name, and not list.
    Puller,
    /// Is refused all of the repository.
    Denied,
    /// To this one the repository does not exist.
    Hidden,
}

impl Limited {
    pub const ALL: [Self; 4] = [Self::Lister, Self::Puller, Self::Denied, Self::Hidden];

    /// User and password, which the registry knows.
    pub fn user(self) -> (&'static str, &'static str) {
        let name = match self {
            Self::Lister => "lister",
            Self::Puller => "puller",
            Self::Denied => "denied",
            Self::Hidden => "hidden",
        };
        (name, PASSWORD)
    }

    fn authorization(self) -> String {
        let (user, password) = self.user();
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        format!("Basic {pair}")
    }

    pub fn is_refused(self, seen: &Seen) -> bool {
        let is_read = seen.method == Method::GET || seen.method == Method::HEAD;
        let is_listing = seen.path.contains("/tags/list");
        let may = match self {
            Self::Lister => is_read && is_listing,
            Self::Puller => is_read && !is_listing,
            Self::Denied | Self::Hidden => false,
        };
        seen.authorization() == Some(&self.authorization()) && seen.path.starts_with("/v2/app/") && !may
    }

    /// How the registry refuses this caller.
    pub fn refusal(self) -> Fault {
        let (code, message) = match self {
            Self::Hidden => ("NAME_UNKNOWN", "repository name not known to registry"),
            _ => ("DENIED", "requested access to the resource is denied"),
        };
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        Fault::answer(self.refused_with(), &[("content-type", "application/json")], &body)
    }

    fn refused_with(self) -> u16 {
        match self {
            Self::Hidden => 404,
            _ => 403,
        }
    }
}

impl World {
    /// One of the callers who may do less asks for some things, or tries to write: what one answer proves must not open another.
    pub async fn limited(&self, replica: &Refshim, subject: usize, random: &mut StdRng) {
        let who = Limited::ALL[random.random_range(0..Limited::ALL.len())];
        let endpoint = replica.endpoint().authorization(&who.authorization());
        for _ in 0..IN_A_ROW {
            match random.random_range(0..6) {
                0 => {
                    let path = format!("/v2/app/referrers/{}", self.subjects[subject].digest);
                    self.list_limited(who, &endpoint, subject, &path).await;
                }
                1 => {
                    let path = self.another_form(subject, random);
                    self.list_limited(who, &endpoint, subject, &path).await;
                }
                2 => self.list_tags(who, &endpoint).await,
                3 => self.pull_limited(who, &endpoint, subject, random).await,
                4 => self.push_refused(who, &endpoint, subject, random).await,
                _ => self.delete_refused(who, &endpoint, subject, random).await,
            }
        }
    }

    /// The reply, unless the registry failed.
    async fn answered(&self, endpoint: &Endpoint, method: Method, path: &str, body: &Pushed) -> Option<Reply> {
        let headers = [("accept", ANY), ("content-type", IMAGE)];
        let bytes = match method {
            Method::PUT => body.bytes.clone(),
            _ => Default::default(),
        };
        let reply = endpoint.try_send(method, path, &headers, bytes).await.ok();
        let reply = reply.filter(|reply| !is_failure(reply));
        match reply {
            Some(_) => self.count(|counts| counts.limited += 1),
            None => self.failed().await,
        }
        reply
    }

    async fn got(&self, endpoint: &Endpoint, path: &str) -> Option<Reply> {
        self.answered(endpoint, Method::GET, path, &self.subjects[0]).await
    }

    /// Who may read what it can name, and has no listing, is refused or told everything.
    async fn list_limited(&self, who: Limited, endpoint: &Endpoint, subject: usize, path: &str) {
        let before = self.snapshot(subject);
        let Some(reply) = self.got(endpoint, path).await else {
            return;
        };
        let shown = named(&reply.text());
        let is_tag = path.ends_with(&self.subjects[subject].referrers_tag());
        if who == Limited::Puller && (reply.status == 200 || reply.status == 404 && is_tag) {
            return self.expect_all(subject, &before, &shown, &reply);
        }
        assert!(before.sure.is_disjoint(&shown), "{who:?} sees {reply:?}");
        // As to whoever asks for what does not exist.
        let is_none = who == Limited::Hidden && reply.status == 200;
        assert!(
            is_none || reply.status == who.refused_with(),
            "{who:?}: {path}: {reply:?}"
        );
    }

    async fn list_tags(&self, who: Limited, endpoint: &Endpoint) {
        let Some(reply) = self.got(endpoint, "/v2/app/tags/list").await else {
            return;
        };
        if who == Limited::Lister {
            let mut tags: Vec<_> = (0..self.subjects.len()).map(|number| format!("v{number}")).collect();
            tags.sort();
            // Besides those, what was pushed left referrers tags.
            let mut listed: Vec<String> = serde_json::from_value(reply.json()["tags"].clone()).unwrap();
            listed.retain(|tag| !self.subjects.iter().any(|subject| *tag == subject.referrers_tag()));
            assert_eq!((reply.status, listed), (200, tags));
        } else {
            assert_eq!(reply.status, who.refused_with(), "{who:?} lists tags: {reply:?}");
        }
    }

    async fn pull_limited(&self, who: Limited, endpoint: &Endpoint, subject: usize, random: &mut StdRng) {
        let image = self.subjects[subject].digest.clone();
        let artifact = self.any(subject, random).unwrap_or_else(|| image.clone());
        let blob = Digest::sha256(b"{}").to_string();
        let (kind, digest, is_artifact) = match random.random_range(0..3) {
            0 => ("manifests", image, false),
            1 => ("manifests", artifact, true),
            _ => ("blobs", blob, false),
        };
        let path = format!("/v2/app/{kind}/{digest}");
        let Some(reply) = self.got(endpoint, &path).await else {
            return;
        };
        if who != Limited::Puller {
            assert_eq!(reply.status, who.refused_with(), "{who:?}: {path}: {reply:?}");
        } else {
            // Artifacts alone are deleted.
            assert!(reply.status == 200 || is_artifact, "{path}: {reply:?}");
            self.expect_content(subject, &digest, &reply);
        }
    }

    /// What the registry refused is nowhere listed, neither now nor later.
    async fn push_refused(&self, who: Limited, endpoint: &Endpoint, subject: usize, random: &mut StdRng) {
        let name = format!("{who:?} {}", random.random::<u64>());
        let artifact = Pushed::of(IMAGE, &artifact(&self.subjects[subject], "application/vnd.test", &name));
        self.known[subject].lock().unwrap().gone.insert(artifact.digest.clone());
        let path = format!("/v2/app/manifests/{}", artifact.digest);
        if let Some(reply) = self.answered(endpoint, Method::PUT, &path, &artifact).await {
            assert_eq!(reply.status, who.refused_with(), "{who:?} pushes: {reply:?}");
        }
    }

    /// What was not deleted stays listed.
    async fn delete_refused(&self, who: Limited, endpoint: &Endpoint, subject: usize, random: &mut StdRng) {
        let Some(digest) = self.any(subject, random) else {
            return;
        };
        let path = format!("/v2/app/manifests/{digest}");
        let replied = self
            .answered(endpoint, Method::DELETE, &path, &self.subjects[subject])
            .await;
        if let Some(reply) = replied {
            assert_eq!(reply.status, who.refused_with(), "{who:?} deletes: {reply:?}");
        }
    }
}
