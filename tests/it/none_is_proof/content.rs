//! What is in the registry: images, and what refers to them.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::none_is_proof::draw::{BYSTANDER, Draw, Repository, Way};
use crate::support::Pushed;
use crate::support::content::{IMAGE, INDEX, artifact, bare_image, index};
use crate::support::fake::Fake;

pub const TYPE: &str = "application/vnd.acme.sbom.v1+json";

/// Something that refers to the image.
#[derive(Clone, Debug)]
pub struct Referrer {
    pub title: String,
    pub digest: String,
    pub way: Way,
    /// By which it is found; empty where there is none.
    pub tag: String,
    pub since: Since,
}

#[derive(Clone, Copy, Debug)]
pub enum Since {
    Ever,
    /// Put straight into the registry, and listed there from then on.
    Attached(Instant),
    /// Put straight into the registry, whose listings do not show it yet.
    AttachedUnlisted,
    /// Acknowledged by the refshim that still runs.
    Pushed,
}

/// One repository.
pub struct Shelf {
    pub repository: Repository,
    pub image: Pushed,
    pub referrers: Vec<Referrer>,
    /// Every tag from the beginning.
    pub tags: Vec<String>,
    entries: Vec<Value>,
}

impl Shelf {
    pub fn fill(fake: &Fake, draw: &Draw, repository: Repository) -> Self {
        let name = repository.name();
        let half = if repository == Repository::App {
            draw.filler / 2
        } else {
            0
        };
        let mut shelf = Self {
            repository,
            image: Pushed::of(IMAGE, &bare_image(&format!("the image of {name}"))),
            referrers: Vec::new(),
            tags: Vec::new(),
            entries: Vec::new(),
        };
        if repository == Repository::New {
            fake.blob(name, "{}");
            return shelf;
        }
        let bystander = fake.image(name, BYSTANDER, "nobody's subject");
        shelf.tags.push(BYSTANDER.to_owned());
        shelf.fill_up(fake, &bystander, 0..half);
        let image = shelf.image.clone();
        shelf.put(fake, "v1", &image);
        for (number, &way) in draw.ways(repository).iter().enumerate() {
            shelf.refer(fake, &format!("{name} {number}"), number, way, Since::Ever);
        }
        shelf.fill_up(fake, &bystander, half..2 * half);
        shelf
    }

    fn fill_up(&mut self, fake: &Fake, bystander: &Pushed, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.put(fake, &format!("t{number:04}"), bystander);
        }
    }

    fn put(&mut self, fake: &Fake, tag: &str, manifest: &Pushed) {
        fake.put_pushed(self.repository.name(), tag, manifest);
        if !tag.is_empty() {
            self.tags.push(tag.to_owned());
        }
    }

    /// One more referrer, which refshim has acknowledged.
    pub fn acknowledge(&mut self, title: String, digest: String) {
        self.referrers.push(Referrer {
            title,
            digest,
            way: Way::Native,
            tag: String::new(),
            since: Since::Pushed,
        });
    }

    /// One more referrer.
    pub fn refer(&mut self, fake: &Fake, title: &str, number: usize, way: Way, since: Since) {
        let image = self.image.clone();
        let manifest = match way.has_subject() {
            true => artifact(&image, TYPE, title),
            false => bare_image(title),
        };
        let pushed = Pushed::of(IMAGE, &manifest);
        let ordinary = format!("deep-{number}");
        let tag = match way {
            Way::Cosign(suffix) => format!("{}.{suffix}", image.referrers_tag()),
            Way::ReferrersTag => image.referrers_tag(),
            Way::ProposalD => pushed.proposal_d_tag(&image, "sbom"),
            Way::Subject | Way::Annotation | Way::BuildKit => ordinary,
            Way::Native => String::new(),
        };
        self.put(fake, "", &pushed);
        match way {
            Way::ReferrersTag => {
                self.entries.push(pushed.descriptor());
                let list = Pushed::of(INDEX, &index(self.entries.clone()));
                self.put(fake, &tag, &list);
            }
            Way::Annotation => {
                let entry = pushed.annotated(json!({"org.opencontainers.reference": image.digest}));
                self.put(fake, &tag, &Pushed::of(INDEX, &index([entry])));
            }
            Way::BuildKit => {
                let mut entry = pushed.annotated(json!({
                    "vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": image.digest,
                }));
                entry["platform"] = json!({"architecture": "unknown", "os": "unknown"});
                self.put(fake, &tag, &Pushed::of(INDEX, &index([image.descriptor(), entry])));
            }
            _ => self.put(fake, &tag, &pushed),
        }
        self.referrers.push(Referrer {
            title: title.to_owned(),
            digest: pushed.digest,
            way,
            tag,
            since,
        });
    }
}
