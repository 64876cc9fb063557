//! Link tags, whose name says what they link: Proposal D, cosign, the OCI 1.1 referrers tag.

use super::digest::{Digest, is_lower_hex};
use super::name::{MAX_TAG, Tag, may_be_in_a_tag};
use super::subject_key::SubjectKey;

/// `<hash>` is at most this many characters (Proposal D).
pub const HASH_LENGTH: usize = 16;
/// The `<type>` in an envelope's tag.
pub const ENVELOPE_KIND: &str = "envelope";

/// The parts of a link tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTag {
    pub subject: SubjectKey,
    pub kind: LinkTagKind,
}

impl LinkTag {
    /// Whether it keeps an envelope of the manifest that it names, instead of linking something to it.
    pub fn is_envelope(&self) -> bool {
        matches!(&self.kind, LinkTagKind::ProposalD { kind, .. } if kind == ENVELOPE_KIND)
    }
}

/// Which scheme a link tag follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkTagKind {
    /// `<alg>-<ref>.<hash>.<type>`
    ProposalD {
        /// The beginning of the referrer's own digest.
        hash: String,
        /// The short type.
        kind: String,
    },
    /// `<alg>-<hex>.sig`, `.att`, `.sbom`
    Cosign(CosignKind),
    /// `<alg>-<ref>`
    Referrers,
}

/// cosign's three suffixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CosignKind {
    Signature,
    Attestation,
    Sbom,
}

impl CosignKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Signature, Self::Attestation, Self::Sbom];

    /// What a tag of this kind ends in.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Signature => "sig",
            Self::Attestation => "att",
            Self::Sbom => "sbom",
        }
    }

    /// Parses a suffix such as `sig`, which is also the `<type>` of such an artifact's Proposal D tag.
    pub fn parse(suffix: &str) -> Option<Self> {
        match suffix {
            "sig" => Some(Self::Signature),
            "att" => Some(Self::Attestation),
            "sbom" => Some(Self::Sbom),
            _ => None,
        }
    }

    /// The kind of an entry with this artifact type.
    pub fn of_artifact_type(artifact_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.artifact_type() == artifact_type)
    }

    /// The artifact type under which such an artifact is listed, because its own config has the media type of a runnable image.
    pub fn artifact_type(self) -> &'static str {
        match self {
            Self::Signature => "application/vnd.dev.cosign.artifact.sig.v1+json",
            Self::Attestation => "application/vnd.dev.cosign.artifact.att.v1+json",
            Self::Sbom => "application/vnd.dev.cosign.artifact.sbom.v1+json",
        }
    }
}

/// Parses a tag. `None` for ordinary tags, also those that only begin like a link tag.
pub fn parse(tag: &str) -> Option<LinkTag> {
    if tag.len() > MAX_TAG {
        return None;
    }
    let (head, rest) = match tag.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (tag, None),
    };
    Some(LinkTag {
        subject: SubjectKey::parse(head)?,
        kind: kind_of(rest)?,
    })
}

/// Parses a tag of the subject `key`. Works also for algorithms that [`parse`] does not know and therefore takes for part of an ordinary tag.
pub fn parse_of(key: &SubjectKey, tag: &str) -> Option<LinkTag> {
    if let Some(link) = parse(tag) {
        return (link.subject == *key).then_some(link);
    }
    let rest = match tag.strip_prefix(key.as_str())? {
        "" => None,
        rest => Some(rest.strip_prefix('.')?),
    };
    Some(LinkTag {
        subject: key.clone(),
        kind: kind_of(rest)?,
    })
}

/// Determines the scheme from the text after the first dot, if there is one.
fn kind_of(rest: Option<&str>) -> Option<LinkTagKind> {
    match rest {
        None => Some(LinkTagKind::Referrers),
        Some(rest) => match rest.split_once('.') {
            None => CosignKind::parse(rest).map(LinkTagKind::Cosign),
            Some((hash, kind)) => proposal_d(hash, kind),
        },
    }
}

fn proposal_d(hash: &str, kind: &str) -> Option<LinkTagKind> {
    let well_formed = (1..=HASH_LENGTH).contains(&hash.len())
        && is_lower_hex(hash)
        && !kind.is_empty()
        && kind.bytes().all(may_be_in_a_tag);
    well_formed.then(|| LinkTagKind::ProposalD {
        hash: hash.to_owned(),
        kind: kind.to_owned(),
    })
}

/// `<alg>-<ref>.<first 16 digits of the own hash>.<type>`; the type is cut to fit.
pub fn proposal_d_tag(subject: &Digest, own: &Digest, kind: &str) -> Option<Tag> {
    let hash: String = own.encoded().chars().take(HASH_LENGTH).collect();
    let mut text = format!("{}.{hash}.", SubjectKey::of(subject));
    let room = MAX_TAG.saturating_sub(text.len());
    text.extend(kind.chars().take(room));
    Tag::parse(&text).ok()
}

/// Whether both are Proposal D tags with the same subject and hash; the type does not matter.
pub fn is_same_link(one: &Tag, other: &Tag) -> bool {
    let whole = |tag: &Tag| match parse(tag.as_str())? {
        LinkTag {
            subject,
            kind: LinkTagKind::ProposalD { hash, .. },
        } if hash.len() == HASH_LENGTH => Some((subject, hash)),
        _ => None,
    };
    one == other || whole(one).is_some_and(|link| whole(other) == Some(link))
}

/// The OCI 1.1 referrers tag of a digest.
pub fn referrers_tag(subject: &Digest) -> Option<Tag> {
    Tag::parse(SubjectKey::of(subject).as_str()).ok()
}

/// The tag of the envelope that stores the manifest `own`. It can be computed from the digest that a client asks for.
pub fn envelope_tag(own: &Digest) -> Option<Tag> {
    proposal_d_tag(own, own, ENVELOPE_KIND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn tells_the_three_schemes_apart() {
        let kind = |suffix: &str| parse(&format!("sha256-{HEX}{suffix}")).map(|t| t.kind);
        assert_eq!(kind(""), Some(LinkTagKind::Referrers));
        assert_eq!(kind(".sig"), Some(LinkTagKind::Cosign(CosignKind::Signature)));
        assert_eq!(kind(".sbom"), Some(LinkTagKind::Cosign(CosignKind::Sbom)));
        let expected = LinkTagKind::ProposalD {
            hash: "abc1".into(),
            kind: "a.b-c".into(),
        };
        assert_eq!(kind(".abc1.a.b-c"), Some(expected));
    }

    #[test]
    fn ordinary_tags_that_look_like_links_are_none() {
        for tag in [
            "sha256-abc",
            "latest",
            "sha256-",
            &format!("sha256-{HEX}.zip"),
            &format!("sha256-{HEX}.sig.x"),
            &format!("sha256-{HEX}.abc."),
            &format!("sha256-{HEX}.0123456789abcdef0.sig"),
            &format!("sha256-{HEX}0"),
            &format!("sha256-{}", HEX.to_uppercase()),
            &format!("release-{HEX}"),
        ] {
            assert_eq!(parse(tag), None, "{tag}");
        }
    }

    #[test]
    fn the_type_makes_no_other_link() {
        let tag = |suffix: &str| Tag::parse(&format!("sha256-{HEX}.{suffix}")).unwrap();
        let one = tag("0123456789abcdef.sig");
        assert!(is_same_link(&one, &one) && is_same_link(&one, &tag("0123456789abcdef.x.y")));
        // Of a shorter hash there may be several.
        for other in ["0123456789abcdee.sig", "0123456789abcde.sig", "sig"] {
            assert!(!is_same_link(&one, &tag(other)), "{other}");
        }
        assert!(!is_same_link(&tag("0123.a"), &tag("0123.b")));
    }

    #[test]
    fn tags_of_a_known_subject_are_read_whatever_its_algorithm() {
        let key = SubjectKey::of(&Digest::parse("md5:d41d8cd98f00b204e9800998ecf8427e").unwrap());
        let tag = format!("{key}.0123456789abcdef.sig");
        assert_eq!(parse(&tag), None);
        assert!(matches!(
            parse_of(&key, &tag),
            Some(LinkTag {
                kind: LinkTagKind::ProposalD { .. },
                ..
            })
        ));
        assert_eq!(parse_of(&key, &format!("{key}x.0123456789abcdef.sig")), None);
        assert_eq!(parse_of(&key, &format!("sha256-{HEX}.sig")), None);
    }

    #[test]
    fn sha512_is_cut_and_read_back_as_a_key() {
        let subject = Digest::parse(&format!("sha512:{HEX}{HEX}")).unwrap();
        let own = Digest::sha256(b"x");
        let tag = proposal_d_tag(&subject, &own, &"t".repeat(200)).unwrap();
        assert_eq!(tag.as_str().len(), MAX_TAG);
        let key = parse(tag.as_str()).unwrap().subject;
        assert_eq!(key, SubjectKey::of(&subject));
        assert_eq!(key.digest(), None);
        assert_eq!(SubjectKey::of(&own).digest(), Some(own));
    }
}
