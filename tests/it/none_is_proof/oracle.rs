//! What a client could see that reads every answer which the draw allows. Where the rules let refshim believe an answer that was
//! drawn as an error (a 404 that a registry states), what is absent by it is not asked for.

use std::time::Duration;

use refshim::testing::config::Depth;
use refshim::testing::oci::{LinkTagKind, tag_scheme};
use tokio::time::Instant;

use crate::none_is_proof::content::{Referrer, Shelf, Since};
use crate::none_is_proof::draw::{Class, Draw, Error, Repository, What};
use crate::support::fake::knobs::{Last, Link, LinkForm, Shown};

/// Answers may be this old (the default of `cache.fresh_for`).
const FRESH_FOR: Duration = Duration::from_secs(30);
/// Ordinary tags up to which `auto` reads behind them (the default of `links.deep_limit`).
const DEEP_LIMIT: usize = 200;

/// What a process of refshim could learn so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    /// When somebody pulled a tag through it that the listing of `app` may lack.
    pub pulled: Option<Instant>,
}

pub struct Oracle<'a> {
    pub draw: &'a Draw,
    pub history: History,
}

impl Oracle<'_> {
    /// Whether a list of the image's referrers must have this one. `stale`: the list says that it is.
    pub fn must_list(&self, shelf: &Shelf, referrer: &Referrer, stale: bool) -> bool {
        let repository = shelf.repository;
        match referrer.since {
            Since::Attached(at) if stale || at.elapsed() <= FRESH_FOR => return false,
            Since::AttachedUnlisted => return false,
            _ => {}
        }
        // A manifest that the registry says it lacks, or gives wrongly.
        if self.meets(repository, Class::Digest, |what| {
            what.states_absence() || what.is_wrong_bytes()
        }) {
            return false;
        }
        let natively = referrer.way.has_subject() && self.native_counts(repository);
        natively || self.by_tag(shelf, referrer, stale)
    }

    /// Whether pages are cut, whatever is asked, and nothing leads on: nobody can tell such a listing from one that gives
    /// everything at once.
    pub fn is_cut_for_all(&self, shelf: &Shelf) -> bool {
        let pages = self.draw.pages();
        let unusable = matches!(pages.last, Last::Ignored | Last::Token | Last::Number);
        let leads_nowhere = unusable || pages.link == Link::NextPage;
        let cut = pages.greatest_n.is_none() && pages.page.is_some_and(|page| shelf.tags.len() > page);
        let no_next = pages.link == Link::None || pages.link_form == LinkForm::OtherRel;
        cut && leads_nowhere && no_next
    }

    /// Whether a whole `tags/list` must have this name.
    pub fn must_name(&self, tag: &str) -> bool {
        let hidden = tag_scheme::parse(tag).is_some_and(|tag| matches!(tag.kind, LinkTagKind::ProposalD { .. }));
        !hidden && self.draw.pages().shown.shows(tag, false)
    }

    /// Whether the registry may say that there is no listing: what refshim itself wrote may be all that is known then.
    pub fn may_list_nothing(&self, repository: Repository) -> bool {
        self.listing_is_absent(repository)
    }

    /// Whether the registry may say, twice if about a tag, that there is nothing to be kept.
    pub fn may_keep_nothing(&self, repository: Repository) -> bool {
        let tags = self.times(repository, Class::OrdinaryTag, What::states_absence);
        self.listing_is_absent(repository) || tags > 1
    }

    fn errors(&self, repository: Repository, class: Class) -> impl Iterator<Item = &Error> {
        let errors = self.draw.errors.iter();
        errors.filter(move |error| error.class == class && error.repository.is_none_or(|of| of == repository))
    }

    fn meets(&self, repository: Repository, class: Class, what: impl Fn(What) -> bool) -> bool {
        self.errors(repository, class).any(|error| what(error.what))
    }

    /// How often such an error is met; `usize::MAX` for always.
    fn times(&self, repository: Repository, class: Class, what: impl Fn(What) -> bool) -> usize {
        let times = self.errors(repository, class).filter(|error| what(error.what));
        times.fold(0, |sum, error| sum.saturating_add(error.times.unwrap_or(usize::MAX)))
    }

    /// Whether the registry's own list is there and may not be taken for missing. That there is no route must be said twice.
    fn native_counts(&self, repository: Repository) -> bool {
        let nothing = self.meets(repository, Class::Native, What::says_nothing);
        let no_route = self.times(repository, Class::Native, What::is_no_route) > 1;
        self.draw.has_native(repository) && !nothing && !no_route
    }

    /// Whether the registry says that there is nothing to list, or may say so.
    fn listing_is_absent(&self, repository: Repository) -> bool {
        let says_so = |class| self.meets(repository, class, What::states_absence);
        says_so(Class::FirstPage) || self.draw.pages().last == Last::Seeks && says_so(Class::NextPage)
    }

    /// Whether the registry's own list stands for a listing that is refused.
    fn listing_is_refused(&self, repository: Repository) -> bool {
        let refused = |class| self.meets(repository, class, What::is_refusal);
        let any = self.draw.knobs.rights.listing.is_some() || refused(Class::FirstPage) || refused(Class::NextPage);
        any && self.draw.has_native(repository)
    }

    fn by_tag(&self, shelf: &Shelf, referrer: &Referrer, stale: bool) -> bool {
        let repository = shelf.repository;
        let instead = self.listing_is_absent(repository) || self.listing_is_refused(repository);
        let cut = self.is_cut_for_all(shelf);
        let listed = !instead && !cut && self.draw.pages().shown.shows(&referrer.tag, false);
        // Where the listing says nothing, or is known to lack names, computed names are asked for; that one is absent need be said
        // once only. Such an error may never be met: then the listing must have the name.
        let shown = !cut && self.draw.pages().shown.shows(&referrer.tag, false);
        let refused = self.draw.knobs.rights.listing.is_some() && instead;
        let asked_for = instead && shown || refused || self.knows_partial(shelf, stale);
        let computed = !listed && referrer.way.is_computable() && asked_for;
        let own = matches!(referrer.since, Since::Pushed);
        if referrer.way.is_deep() {
            return listed && self.reads_deep(shelf);
        }
        let absent = self.times(repository, Class::LinkTag, What::states_absence);
        let absent = absent > if computed { 0 } else { 1 };
        let readable = !absent && !self.meets(repository, Class::LinkTag, What::is_wrong_bytes);
        // Without its subject there is nothing that tells a listing that is empty from one that lacks names.
        let subject_is_absent = self.meets(repository, Class::Subject, What::states_absence);
        let named = !referrer.tag.is_empty() && (listed || computed && !subject_is_absent);
        readable && (named || own)
    }

    /// Whether it can be known that a listing lacks names. A stale list was found before somebody pulled what shows it.
    fn knows_partial(&self, shelf: &Shelf, stale: bool) -> bool {
        match &self.draw.pages().shown {
            Shown::Only { asked_join: false, .. } => {
                let empty = !shelf.tags.iter().any(|tag| self.draw.pages().shown.shows(tag, false));
                let pulled = self.history.pulled.is_some_and(|at| at.elapsed() > FRESH_FOR);
                empty || pulled && !stale && shelf.repository == Repository::App
            }
            _ => false,
        }
    }

    fn reads_deep(&self, shelf: &Shelf) -> bool {
        let ordinary = shelf
            .tags
            .iter()
            .filter(|tag| tag_scheme::parse(tag).is_none() && self.must_name(tag));
        let deep = match self.draw.depth {
            Depth::Names => false,
            Depth::Manifests => true,
            Depth::Auto => ordinary.count() <= DEEP_LIMIT,
        };
        let fails = |class| self.meets(shelf.repository, class, |_| true);
        let undisturbed = !fails(Class::OrdinaryTag) && !fails(Class::Digest) && !fails(Class::Head);
        deep && undisturbed && self.draw.knobs.pull_limit.is_none()
    }
}
