//! What callers who may do everything write and delete, through refshim and past it, and what is known of it afterwards.

use std::collections::BTreeSet;

use http::Method;
use rand::rngs::StdRng;

use super::faults::REFUSAL;
use super::world::{Known, World, is_failure};
use crate::support::content::{IMAGE, artifact};
use crate::support::{Endpoint, Pushed};

impl World {
    pub async fn push(&self, endpoint: &Endpoint, subject: usize, name: &str) {
        let artifact = Pushed::of(IMAGE, &artifact(&self.subjects[subject], "application/vnd.test", name));
        self.known[subject].lock().unwrap().open.insert(artifact.digest.clone());
        let path = format!("/v2/app/manifests/{}", artifact.digest);
        let headers = [("content-type", IMAGE)];
        let put = endpoint.try_send(Method::PUT, &path, &headers, artifact.bytes.clone());
        let put = put.await.ok().filter(|reply| !is_failure(reply));
        self.end(subject, &artifact.digest, |known| match put {
            Some(_) => &mut known.sure,
            None => &mut known.unsure,
        });
        let Some(reply) = put else {
            return self.failed().await;
        };
        assert_eq!(reply.status, 201, "a push: {reply:?}");
        self.pushed();
    }

    /// One that is there, whose deletion begins now.
    fn begin_to_delete(&self, subject: usize, random: &mut StdRng) -> Option<String> {
        let digest = self.any(subject, random)?;
        let mut known = self.known[subject].lock().unwrap();
        if !known.sure.remove(&digest) {
            return None;
        }
        known.open.insert(digest.clone());
        Some(digest)
    }

    /// What was begun with an artifact has ended: it is in that set now.
    fn end(&self, subject: usize, digest: &str, set: impl FnOnce(&mut Known) -> &mut BTreeSet<String>) {
        let mut known = self.known[subject].lock().unwrap();
        known.open.remove(digest);
        set(&mut known).insert(digest.to_owned());
    }

    pub async fn delete(&self, endpoint: &Endpoint, subject: usize, random: &mut StdRng) {
        let Some(digest) = self.begin_to_delete(subject, random) else {
            return;
        };
        let reply = endpoint.delete(&format!("/v2/app/manifests/{digest}")).await;
        match reply.status {
            202 => {
                self.end(subject, &digest, |known| &mut known.gone);
                self.count(|counts| counts.deleted += 1);
            }
            // Refused: it is as it was.
            403 => {
                assert!(reply.text().contains(REFUSAL), "a deletion: {reply:?}");
                self.end(subject, &digest, |known| &mut known.sure);
                self.count(|counts| counts.kept += 1);
            }
            _ => {
                // It was there: only a repeated deletion finds nothing.
                assert!(is_failure(&reply), "a deletion: {reply:?}");
                self.end(subject, &digest, |known| &mut known.unsure);
                self.failed().await;
            }
        }
    }

    /// Deletes what may be there or not, as a client does whose first request failed.
    pub async fn repeat(&self, endpoint: &Endpoint, subject: usize) {
        let digest = {
            let mut known = self.known[subject].lock().unwrap();
            let Some(digest) = known.unsure.pop_first() else {
                return;
            };
            known.open.insert(digest.clone());
            digest
        };
        let reply = endpoint.delete(&format!("/v2/app/manifests/{digest}")).await;
        let status = reply.status;
        assert!(
            matches!(status, 202 | 403 | 404) || is_failure(&reply),
            "a deletion: {reply:?}"
        );
        self.end(subject, &digest, |known| match status {
            202 => &mut known.gone,
            404 => &mut known.absent,
            _ => &mut known.unsure,
        });
        self.count(|counts| counts.repeated += usize::from(matches!(status, 202 | 404)));
    }

    /// Deletes straight at the registry, of which refshim learns when it asks.
    pub async fn vanish(&self, subject: usize, random: &mut StdRng) {
        let Some(digest) = self.begin_to_delete(subject, random) else {
            return;
        };
        let path = format!("/v2/app/manifests/{digest}");
        // The registry may be collecting its garbage.
        let deleted = self.straight.try_send(Method::DELETE, &path, &[], Vec::new()).await;
        self.end(subject, &digest, |known| &mut known.unsure);
        if deleted.is_ok_and(|reply| reply.status == 202) {
            self.count(|counts| counts.vanished += 1);
        }
    }
}
