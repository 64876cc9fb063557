//! One random registry, what is in it, what goes wrong with it, and what is asked of refshim in front of it. All of it is data.

use std::fmt::{Debug, Display, Formatter, Result};

use http::StatusCode;
use refshim::testing::config::Depth;

use crate::support::fake::knobs::{Knobs, Last, Link, LinkForm, Moved, Order, Referrers, Shown, TagPages};
use crate::support::fake::motion::Motion;
use crate::support::fake::{Trouble, quirks::Heads};

/// Questions are about an image in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repository {
    App,
    Other,
    /// There is none before refshim pushes into it.
    New,
}

impl Repository {
    pub const ALL: [Self; 3] = [Self::App, Self::Other, Self::New];

    pub fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Other => "other",
            Self::New => "new",
        }
    }
}

/// How a referrer's link is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `.sig`, `.att` or `.sbom`: a manifest without `subject`.
    Cosign(&'static str),
    /// An entry of the referrers tag.
    ReferrersTag,
    ProposalD,
    /// `subject`, under an ordinary tag.
    Subject,
    /// An annotation in an index under an ordinary tag.
    Annotation,
    /// An attestation beside the image, in an index under an ordinary tag.
    BuildKit,
    /// `subject`, under no tag.
    Native,
}

impl Way {
    /// Whether the referrers API of a registry lists it.
    pub fn has_subject(self) -> bool {
        matches!(
            self,
            Self::ReferrersTag | Self::ProposalD | Self::Subject | Self::Native
        )
    }

    /// Whether its tag's name follows from the subject's digest.
    pub fn is_computable(self) -> bool {
        matches!(self, Self::Cosign(_) | Self::ReferrersTag)
    }

    /// Whether it is found by reading behind ordinary tags only.
    pub fn is_deep(self) -> bool {
        matches!(self, Self::Subject | Self::Annotation | Self::BuildKit)
    }
}

/// Which requests an error is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `tags/list` from the beginning, or from wherever.
    FirstPage,
    NextPage,
    /// The registry's own list.
    Native,
    /// GETs of a tag `sha256-…`.
    LinkTag,
    /// GETs of any other tag.
    OrdinaryTag,
    /// GETs of the manifest that is asked about.
    Subject,
    /// GETs of any other manifest by digest.
    Digest,
    /// HEADs of manifests.
    Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An OCI error body with this code.
    Oci(u16, &'static str),
    /// 503 with `Retry-After: 1`.
    Later,
    Text404,
    Empty404,
    Html(u16),
    /// 302 to a page of the web site.
    WebPage,
    NoContent,
    /// The true answer as 203 or 206.
    Under(u16),
    Cut,
    Close,
    Gzip,
    /// `{}` instead of the true body.
    Garbage,
}

impl What {
    pub fn trouble(self) -> Trouble {
        match self {
            Self::Oci(status, code) => Trouble::oci(status, code, "drawn"),
            Self::Later => Trouble::answer(503, &[("retry-after", "1")], ""),
            Self::Text404 => Trouble::answer(404, &[("content-type", "text/plain")], "404 page not found\n"),
            Self::Empty404 => Trouble::answer(404, &[], ""),
            Self::Html(status) => Trouble::html(status),
            Self::WebPage => Trouble::answer(302, &[("location", "/login")], ""),
            Self::NoContent => Trouble::answer(204, &[], ""),
            Self::Under(status) => Trouble::Status(StatusCode::from_u16(status).expect("a status")),
            Self::Cut => Trouble::Cut(5),
            Self::Close => Trouble::Close,
            Self::Gzip => Trouble::Gzip,
            Self::Garbage => Trouble::Body("{}".into()),
        }
    }

    /// Whether it states that something is absent.
    pub fn states_absence(self) -> bool {
        match self {
            Self::Oci(404, code) => {
                matches!(
                    code,
                    "NAME_UNKNOWN" | "MANIFEST_UNKNOWN" | "BLOB_UNKNOWN" | "NOT_FOUND" | "TAG_EXPIRED"
                )
            }
            _ => false,
        }
    }

    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Oci(401 | 403, _) | Self::Html(401 | 403) | Self::Oci(400, "DENIED" | "UNAUTHORIZED")
        )
    }

    /// On the registry's own list: that there is nothing, or no such subject.
    pub fn says_nothing(self) -> bool {
        let code = matches!(
            self,
            Self::Oci(404, "NAME_UNKNOWN" | "MANIFEST_UNKNOWN" | "NOT_FOUND") | Self::Oci(400, "MANIFEST_INVALID")
        );
        code || self == Self::Empty404
    }

    /// On the registry's own list: that there is no such list.
    pub fn is_no_route(self) -> bool {
        matches!(
            self,
            Self::Text404 | Self::Html(403 | 404) | Self::WebPage | Self::Oci(405 | 501, _) | Self::Html(405 | 501)
        )
    }

    /// Other bytes than were asked for: a client that checks digests has nothing.
    pub fn is_wrong_bytes(self) -> bool {
        matches!(self, Self::Gzip | Self::Garbage)
    }
}

#[derive(Clone, Debug)]
pub struct Error {
    pub class: Class,
    /// `None`: of any.
    pub repository: Option<Repository>,
    pub what: What,
    /// Requests of the class that are spared first.
    pub spared: usize,
    /// How many meet it. `None`: all from then on.
    pub times: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Ask(Repository),
    /// The same question twice, and another, all at once.
    AskAtOnce,
    /// By GET of the referrers tag, as BuildKit does.
    AskByTag(Repository),
    /// About a digest that nobody ever had.
    AskMadeUp,
    /// About the digest of zeros, with which clients ping.
    AskZeros,
    /// In a repository that does not exist.
    AskNowhere,
    /// GET or HEAD of an ordinary tag.
    Pull,
    Head,
    /// All of `tags/list`, in pages of so many.
    ListTags(Option<usize>),
    /// An artifact with `subject`, through refshim; into the new repository its subject first.
    Push(Repository),
    /// An artifact straight into the registry.
    Attach(Way),
    /// Seconds.
    Wait(u64),
    Restart,
    /// `gc --keep-list`, straight at the registry.
    KeepList,
}

#[derive(Clone, Debug)]
pub struct Draw {
    pub knobs: Knobs,
    pub depth: Depth,
    pub retries: u32,
    /// Ordinary tags of `app` that have nothing to do with anything.
    pub filler: usize,
    /// Listings show new tags only after the next [`Step::Wait`].
    pub lags: bool,
    pub app: Vec<Way>,
    pub other: Vec<Way>,
    pub errors: Vec<Error>,
    /// Of the tags of `app`.
    pub motions: Vec<Motion>,
    pub steps: Vec<Step>,
}

/// An ordinary tag of something that is nobody's subject.
pub const BYSTANDER: &str = "w1";

impl Draw {
    pub fn ways(&self, repository: Repository) -> &[Way] {
        match repository {
            Repository::App => &self.app,
            Repository::Other => &self.other,
            Repository::New => &[],
        }
    }

    pub fn pages(&self) -> TagPages {
        // The embedded registry's own.
        let all_at_once = TagPages {
            greatest_n: None,
            last: Last::Ignored,
            link: Link::None,
            ..TagPages::default()
        };
        self.knobs.tags.clone().unwrap_or(all_at_once)
    }

    pub fn native(&self, repository: Repository) -> &Referrers {
        let everywhere = &self.knobs.referrers;
        self.knobs.referrers_in.get(repository.name()).unwrap_or(everywhere)
    }

    pub fn has_native(&self, repository: Repository) -> bool {
        matches!(self.native(repository), Referrers::Native(_))
    }

    /// Whether the registry behaves: then there must be an answer.
    pub fn is_healthy(&self) -> bool {
        let pages = self.pages();
        let leads_astray = matches!(
            pages.link,
            Link::Loop | Link::Elsewhere | Link::Internal | Link::Endless
        );
        let all_at_once = pages.page.is_none() && pages.greatest_n.is_none() && !pages.always_links && !leads_astray;
        let linked = match pages.link {
            // Always a next page, and the first one behind the last: that goes round in circles.
            Link::Relative | Link::Absolute if pages.last == Last::SeeksOrStartsOver => !pages.always_links,
            Link::Relative | Link::Absolute => pages.last != Last::Ignored,
            Link::NextPage => true,
            _ => false,
        };
        let form = matches!(
            pages.link_form,
            LinkForm::Proper | LinkForm::Unquoted | LinkForm::AfterPrevious
        );
        // What goes on after the last name can be asked for by it.
        let asked = pages.link == Link::None
            && pages.order == Order::Bytewise
            && matches!(pages.last, Last::Seeks | Last::SeeksOrStartsOver);
        let absent = self.knobs.absent;
        let codes = [absent.repository, absent.tag, absent.manifest];
        let stated = codes.iter().all(|code| What::Oci(404, code).states_absence());
        let native = Repository::ALL.iter().all(|&repository| self.has_native(repository));
        self.errors.is_empty()
            && self.motions.is_empty()
            && (all_at_once || linked && form || asked)
            && stated
            // `gc` reads all tags, and nobody may pull any more.
            && self.knobs.pull_limit.is_none_or(|limit| limit >= 50 && !self.steps.contains(&Step::KeepList))
            // Then each ordinary tag is a pull, as the configuration wants it.
            && (self.knobs.pull_limit.is_none() || self.depth != Depth::Manifests)
            && (self.knobs.rights.listing.is_none() || native)
            && (self.depth != Depth::Manifests || self.filler <= 150)
            && !matches!(pages.shown, Shown::Except(_))
            // What another host refuses, it does not refuse the caller.
            && (self.knobs.moved != Moved::Reads || !matches!(self.knobs.heads, Heads::Answers(_)))
    }
}

/// What differs from a registry without any knob turned, a line each.
impl Display for Draw {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (knobs, plain) = (&self.knobs, Knobs::default());
        let mut line = |name: &str, value: &dyn Debug, usual: &dyn Debug| {
            let (value, usual) = (format!("{value:?}"), format!("{usual:?}"));
            match value == usual {
                true => Ok(()),
                false => writeln!(f, "    {name}: {value}"),
            }
        };
        line("tags", &knobs.tags, &plain.tags)?;
        line("referrers", &knobs.referrers, &plain.referrers)?;
        line("referrers_in", &knobs.referrers_in, &plain.referrers_in)?;
        line("heads", &knobs.heads, &plain.heads)?;
        line("rights", &knobs.rights, &plain.rights)?;
        line("absent", &knobs.absent, &plain.absent)?;
        line("moved", &knobs.moved, &plain.moved)?;
        line("pull_limit", &knobs.pull_limit, &plain.pull_limit)?;
        line("says_subject", &knobs.pushes.says_subject, &false)?;
        line("depth", &self.depth, &Depth::Auto)?;
        line("retries", &self.retries, &0)?;
        line("filler", &self.filler, &0)?;
        line("lags", &self.lags, &false)?;
        line("app", &self.app, &"")?;
        line("other", &self.other, &"")?;
        line("errors", &self.errors, &"")?;
        line("motions", &self.motions, &[(); 0])?;
        line("steps", &self.steps, &"")
    }
}
