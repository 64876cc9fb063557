//! What can be different about a registry. The defaults are those of the embedded registry, Distribution 2.8's.

use std::collections::BTreeMap;

use http::StatusCode;

pub use super::quirks::{AbsentCodes, Heads, LinkForm, Moved, Rights, Shown};

/// All knobs of a fake.
#[derive(Clone, Debug, Default)]
pub struct Knobs {
    /// What stands before `/v2`, such as `/artifactory/api/docker/local`.
    pub base: &'static str,
    pub auth: Auth,
    pub tags: Option<TagPages>,
    pub referrers: Referrers,
    /// Repositories whose `/referrers` differs from the others' (Artifactory and Nexus have both kinds behind one host).
    pub referrers_in: BTreeMap<&'static str, Referrers>,
    pub heads: Heads,
    pub rights: Rights,
    pub absent: AbsentCodes,
    pub moved: Moved,
    /// Manifests that may be fetched before the rest is 429; HEADs and listings are free (Docker Hub).
    pub pull_limit: Option<usize>,
    pub pushes: Pushes,
    pub delete: Delete,
    pub uploads: Uploads,
    /// Blobs are fetched from somewhere else.
    pub redirect: Option<Redirect>,
    /// Reading the tag `<alg>-<hex>` returns the subject itself (GitLab).
    pub referrers_tag_is_subject: bool,
}

#[derive(Clone, Debug, Default)]
pub enum Auth {
    #[default]
    None,
    /// A token of `/token` for every repository (GHCR).
    Bearer(Bearer),
    /// Basic, user `AWS` (ECR).
    Aws { password: String, expired: bool },
}

#[derive(Clone, Debug)]
pub struct Bearer {
    pub service: &'static str,
    /// Tokens are given to anybody; otherwise only for this password, whatever the user.
    pub password: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they were pushed.
    OldestFirst,
    NewestFirst,
    Bytewise,
    /// A database's collation: without regard to case or punctuation.
    Collated,
    /// Neither: by the name read backwards.
    Scrambled,
}

/// What `last` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    Ignored,
    /// The names greater than it.
    Seeks,
    /// The same, and all of them where none is greater (go-containerregistry).
    SeeksOrStartsOver,
    /// As `Seeks`, but one more is left out where `last` itself does not exist (Distribution 3.0.0).
    SkipsOne,
    /// Nothing where `last` does not exist (zot).
    MustExist,
    /// The names after that name's place in the list; an unknown one starts at the beginning, or ends the list.
    Place {
        unknown_starts: bool,
    },
    /// It is a token that only a `Link` knows; anything else is refused (ECR).
    Token,
    /// It is a number of tags to leave out (Artifactory).
    Number,
}

/// What a page's `Link` looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    None,
    /// `</v2/…>`
    Relative,
    /// `<http://host/v2/…>`
    Absolute,
    /// `</v2/…>` where the registry stands behind a prefix (Artifactory).
    WithoutBase,
    /// Absolute, with a path that the registry itself refuses (Nexus).
    Internal,
    /// `next_page=<token>` instead of `last` (older Quay).
    NextPage,
    /// To the same page, again and again.
    Loop,
    /// To a made-up page, again and again.
    Endless,
    /// To another host.
    Elsewhere,
}

/// What becomes of an `n` above the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    Clamped,
    /// ECR: `UNSUPPORTED`, in words of its own.
    Unsupported,
    /// Distribution 3.1.0: `PAGINATION_NUMBER_INVALID`.
    Invalid,
}

/// How tags are listed.
#[derive(Clone, Debug)]
pub struct TagPages {
    pub order: Order,
    /// Tags on a page that nobody gave an `n` for. `None`: all.
    pub page: Option<usize>,
    /// `None`: `n` is ignored.
    pub greatest_n: Option<usize>,
    pub too_many: TooMany,
    pub last: Last,
    /// Whether [`Last::Token`] is refused when a tag came, went or moved since.
    pub tokens_expire: bool,
    pub link: Link,
    pub link_form: LinkForm,
    pub shown: Shown,
    /// Every page that is not empty links to another one (old Gitea).
    pub always_links: bool,
    /// A page without tags says `null` rather than `[]`.
    pub null: bool,
    pub media_type: &'static str,
}

impl Default for TagPages {
    fn default() -> Self {
        Self {
            order: Order::Bytewise,
            page: None,
            greatest_n: Some(usize::MAX),
            too_many: TooMany::Clamped,
            last: Last::Seeks,
            tokens_expire: false,
            link: Link::Relative,
            link_form: LinkForm::Proper,
            shown: Shown::All,
            always_links: false,
            null: true,
            media_type: "application/json; charset=utf-8",
        }
    }
}

/// What `/referrers/<digest>` answers.
#[derive(Clone, Debug, Default)]
pub enum Referrers {
    /// 404, `text/plain`.
    #[default]
    PageNotFound,
    /// 404 `MANIFEST_UNKNOWN` (GHCR, mode A).
    ManifestUnknown,
    /// 303 to a page of the web site, which answers 429 in HTML (GHCR, mode B).
    WebPage,
    /// 307 to a login page on another host: 200, HTML (GAR).
    LoginPage,
    Says {
        status: StatusCode,
        media_type: &'static str,
        body: &'static str,
    },
    Native(Native),
}

#[derive(Clone, Debug)]
pub struct Native {
    pub media_type: &'static str,
    /// An unknown subject is refused (Quay) instead of having an empty list.
    pub refuses_unknown: bool,
    /// An unknown repository is 404 without a word, and so is a digest of another algorithm than sha256 (zot).
    pub unknown_is_empty_404: bool,
    /// Entries on a page. `None`: all.
    pub page: Option<usize>,
}

impl Default for Native {
    fn default() -> Self {
        Self {
            media_type: "application/vnd.oci.image.index.v1+json",
            refuses_unknown: false,
            unknown_is_empty_404: false,
            page: None,
        }
    }
}

/// How manifests may be pushed.
#[derive(Clone, Debug, Default)]
pub struct Pushes {
    /// 405 `UNSUPPORTED` for a manifest with one of these members, at any depth (ECR).
    pub refused_members: Vec<&'static str>,
    /// 400 `TAG_INVALID` for a tag that exists, even with the same content (ECR).
    pub immutable_tags: bool,
    /// A manifest of any type is taken (the registries of the proposals' authors).
    pub takes_any_type: bool,
    /// 415 rather than 400 for an unknown type (zot).
    pub unknown_type_is_415: bool,
    /// `OCI-Subject` is answered, whether there is a list or not.
    pub says_subject: bool,
    /// 400 for an index under a referrers tag (Quay).
    pub refuses_referrers_tag: bool,
    /// `If-Match` and `If-None-Match` of a push are checked.
    pub conditions: Conditions,
    /// A push by digest writes the tags of its `tag` parameters, and `OCI-Tag` states them (distribution-spec 1.1+dev).
    pub takes_tag_parameters: bool,
}

/// What becomes of a push under conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conditions {
    #[default]
    Ignored,
    /// 412 where the tag has moved, or is there.
    Checked,
    /// 412 always: the `ETag` that clients see is another's, say a gateway's.
    Fail,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delete {
    /// By digest, tags included.
    #[default]
    Digest,
    /// By tag alone, too (Distribution 3).
    TagToo,
    /// By tag, too: with its manifest, and all tags of that.
    ManifestWithTag,
    /// By digest, and by that alone it is gone then: its tags still give it.
    DigestAlone,
    /// 405 `UNSUPPORTED` (GHCR).
    Unsupported,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Uploads {
    /// `Location` is relative and says `blobs/upload/`, and only that works (GHCR).
    pub singular: bool,
    /// `Range` stays where the first chunk ended (ECR).
    pub sticky_range: bool,
    /// `Location` is absolute and has no port (behind a proxy that hands on the host alone).
    pub portless: bool,
    /// Mounts are answered with a new upload (ECR, at times).
    pub no_mounts: bool,
}

/// Where blobs really are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// 307 to a signed URL on another host, which refuses HEAD (403) and `Authorization` (400).
    SignedElsewhere,
    /// 302, relative, to a path outside `/v2/` (GAR).
    Downloads,
}
