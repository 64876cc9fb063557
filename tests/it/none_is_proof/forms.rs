//! Every kind of registry that is known, in health: each question is answered, from the first after a start on, and costs what
//! `docs/upstreams.md` says.

use std::process::Command;

use serde_json::json;

use crate::none_is_proof::content::TYPE;
use crate::support::content::{IMAGE, INDEX, artifact, bare_image, index};
use crate::support::fake::knobs::{Auth, Knobs, Last, Link, Native, Order, Referrers, Shown, TagPages, TooMany};
use crate::support::fake::{Fake, profiles};
use crate::support::process::{self, Process};
use crate::support::{CountingProxy, Endpoint, Program, Pushed, Registry, eventually};

/// The repository that has everything.
pub const APP: &str = "team/app";
/// One with blobs, and without a manifest.
pub const NEW: &str = "team/new";
pub const UNKNOWN: &str = "team/unknown";
/// Tags of `APP` that refer to nothing.
const ORDINARY: usize = 120;

pub struct Form {
    pub name: &'static str,
    kind: Kind,
}

enum Kind {
    Fake(Box<Knobs>),
    Distribution(Program),
    /// The server of go-containerregistry.
    Crane,
}

pub fn all() -> Vec<Form> {
    let mut forms = vec![
        Form {
            name: "Distribution 2.8.2 (real)",
            kind: Kind::Distribution(Program::V2),
        },
        Form {
            name: "Distribution 3.1 (real)",
            kind: Kind::Distribution(Program::V3),
        },
        Form {
            name: "`crane registry serve` (real)",
            kind: Kind::Crane,
        },
    ];
    let fakes = [
        ("Distribution 3.0.0", profiles::distribution_3_0_0()),
        ("Distribution 3.1.0", profiles::distribution_3_1(TooMany::Invalid)),
        ("GHCR, 404 for `/referrers`", profiles::ghcr()),
        ("GHCR, 303 to a web page", ghcr_with_web_page()),
        ("ECR before 2024-06", profiles::ecr()),
        ("ECR", native(profiles::ecr())),
        ("Docker Hub", docker_hub()),
        ("Quay", profiles::quay(false)),
        ("Quay, older", profiles::quay(true)),
        ("GitLab", profiles::gitlab()),
        ("Google Artifact Registry, before 2026", profiles::gar()),
        ("Gitea", profiles::gitea()),
        ("Harbor", profiles::harbor()),
        ("Harbor, proxy project", harbor_proxy()),
        ("zot", zot()),
        ("Azure Container Registry", native(profiles::acr())),
        ("Artifactory", native(profiles::artifactory())),
        ("Artifactory, repository without the API", profiles::artifactory()),
        ("Nexus", native(profiles::nexus())),
        ("Nexus, repository without the API", profiles::nexus()),
    ];
    forms.extend(fakes.map(|(name, knobs)| Form {
        name,
        kind: Kind::Fake(Box::new(knobs)),
    }));
    forms
}

fn native(knobs: Knobs) -> Knobs {
    Knobs {
        referrers: Referrers::Native(Native::default()),
        ..knobs
    }
}

fn ghcr_with_web_page() -> Knobs {
    Knobs {
        referrers: Referrers::WebPage,
        ..profiles::ghcr()
    }
}

fn docker_hub() -> Knobs {
    Knobs {
        pull_limit: Some(100),
        ..profiles::tags(TagPages {
            order: Order::Bytewise,
            page: Some(100),
            greatest_n: Some(1000),
            last: Last::Seeks,
            link: Link::Relative,
            ..TagPages::default()
        })
    }
}

/// Lists what it was asked for, and at first only the image.
fn harbor_proxy() -> Knobs {
    let shown = Shown::Only {
        names: ["v1".to_owned()].into(),
        asked_join: true,
    };
    profiles::tags(TagPages {
        shown,
        ..TagPages::default()
    })
}

fn zot() -> Knobs {
    Knobs {
        referrers: Referrers::Native(Native {
            unknown_is_empty_404: true,
            ..Native::default()
        }),
        ..profiles::zot()
    }
}

/// A registry that runs, filled.
pub struct Standing {
    origin: Origin,
    pub signed: Pushed,
    pub unsigned: Pushed,
    auth: Auth,
}

enum Origin {
    Fake(Fake),
    Real { link: CountingProxy, _running: Running },
}

/// Ends when it is dropped.
enum Running {
    Distribution(#[expect(dead_code, reason = "held, so that it runs")] Box<Registry>),
    Crane(#[expect(dead_code, reason = "held, so that it runs")] Process),
}

impl Form {
    /// Whether its listing is known to lack names, so that only some entries can be expected.
    pub fn is_partial(&self) -> bool {
        self.name.contains("proxy")
    }

    pub async fn stand(&self) -> Standing {
        match &self.kind {
            Kind::Fake(knobs) => {
                let fake = Fake::start(Knobs::clone(knobs)).await;
                let stock = Stock::new(!knobs.referrers_tag_is_subject);
                for name in [APP, NEW] {
                    fake.blob(name, "{}");
                }
                for (tag, manifest) in &stock.manifests {
                    fake.put_pushed(APP, tag, manifest);
                }
                stock.standing(Origin::Fake(fake), knobs.auth.clone())
            }
            Kind::Distribution(program) => {
                let registry = Registry::start(*program).await;
                real(&registry.url(), Running::Distribution(Box::new(registry))).await
            }
            Kind::Crane => {
                let (url, crane) = start_crane().await;
                real(&url, Running::Crane(crane)).await
            }
        }
    }
}

/// Fills a program that runs at `url`, and counts what it is asked from then on.
async fn real(url: &str, running: Running) -> Standing {
    let stock = Stock::new(true);
    stock.push(&Endpoint::new(url)).await;
    let link = CountingProxy::in_front_of(url).await;
    stock.standing(
        Origin::Real {
            link,
            _running: running,
        },
        Auth::None,
    )
}

/// On a port of its own choice, told in its log.
async fn start_crane() -> (String, Process) {
    let log = tempfile::NamedTempFile::new().expect("a log file");
    let mut command = Command::new(process::find("crane"));
    command.args(["registry", "serve", "--address", "127.0.0.1:0"]);
    let crane = Process::start("crane", command, log.path());
    let port = eventually("crane says its port", async || {
        let text = crane.output();
        let port = text
            .split("port ")
            .nth(1)?
            .split(|c: char| !c.is_ascii_digit())
            .next()?;
        port.parse::<u16>().ok()
    });
    let port = port.await;
    (format!("http://127.0.0.1:{port}"), crane)
}

/// What every registry is given.
struct Stock {
    /// With their tags; the empty tag stands for the digest.
    manifests: Vec<(String, Pushed)>,
    signed: Pushed,
    unsigned: Pushed,
}

impl Stock {
    /// A signature by cosign's tag and an SBOM, by the referrers tag or, where that is taken, by one of Proposal D.
    fn new(referrers_tag: bool) -> Self {
        let image = |title: &str| Pushed::of(IMAGE, &bare_image(title));
        let (signed, unsigned) = (image("signed"), image("unsigned"));
        let signature = image("signature");
        let sbom = Pushed::of(IMAGE, &artifact(&signed, TYPE, "sbom"));
        let link = match referrers_tag {
            true => (
                signed.referrers_tag(),
                Pushed::of(INDEX, &index([sbom.annotated(json!({}))])),
            ),
            false => (sbom.proposal_d_tag(&signed, "sbom"), sbom.clone()),
        };
        let mut manifests: Vec<_> = (0..ORDINARY / 2)
            .map(|n| (format!("t{n:03}"), unsigned.clone()))
            .collect();
        manifests.extend([
            ("v1".to_owned(), signed.clone()),
            (format!("{}.sig", signed.referrers_tag()), signature),
            (String::new(), sbom),
            link,
        ]);
        manifests.extend((ORDINARY / 2..ORDINARY).map(|n| (format!("t{n:03}"), unsigned.clone())));
        Self {
            manifests,
            signed,
            unsigned,
        }
    }

    async fn push(&self, endpoint: &Endpoint) {
        for name in [APP, NEW] {
            endpoint.push_blob(name, "{}").await;
        }
        for (tag, manifest) in &self.manifests {
            endpoint.put_bytes(APP, tag, manifest).await.expect_status(201);
        }
    }

    fn standing(self, origin: Origin, auth: Auth) -> Standing {
        Standing {
            origin,
            signed: self.signed,
            unsigned: self.unsigned,
            auth,
        }
    }
}

impl Standing {
    pub fn url(&self) -> String {
        match &self.origin {
            Origin::Fake(fake) => fake.url(),
            Origin::Real { link, .. } => link.url().to_owned(),
        }
    }

    /// The requests since the last time.
    pub fn take(&self) -> Vec<String> {
        match &self.origin {
            Origin::Fake(fake) => fake.take(),
            Origin::Real { link, .. } => link.take(),
        }
    }

    /// With the right to read `repository`.
    pub fn allowed(&self, endpoint: Endpoint, repository: &str) -> Endpoint {
        match &self.auth {
            Auth::None => endpoint,
            Auth::Bearer(_) => endpoint.authorization(&Fake::bearer(repository, "pull")),
            Auth::Aws { password, .. } => endpoint.basic("AWS", password),
        }
    }
}
