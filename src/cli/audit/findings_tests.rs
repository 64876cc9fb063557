use super::*;
use crate::oci::Descriptor;

const KIND: EvidenceKind = EvidenceKind::Signature;

fn referrer(kinds: &[EvidenceKind], since: Option<i128>, content: ReferrerContent) -> AuditedReferrer {
    AuditedReferrer {
        referrer: Referrer {
            descriptor: Descriptor::new("application/x", Digest::sha256(b"referrer"), 1),
            created: since,
            sources: [LinkSource::CosignTag].into(),
            objects: None,
            adopted: None,
        },
        evidence: StatedEvidence {
            kinds: kinds.iter().copied().collect(),
            since,
            ..StatedEvidence::default()
        },
        content,
        only_refshim: Some(true),
    }
}

fn subject(referrers: Vec<AuditedReferrer>) -> SubjectAudit {
    SubjectAudit {
        digest: Digest::sha256(b"subject"),
        referrers,
        problem: None,
    }
}

fn having(kinds: &[EvidenceKind]) -> SubjectAudit {
    subject(vec![referrer(kinds, None, ReferrerContent::Whole)])
}

fn unknown() -> SubjectAudit {
    SubjectAudit {
        problem: Some("the registry failed".to_owned()),
        ..subject(Vec::new())
    }
}

#[test]
fn what_is_not_known_is_never_missing_and_what_is_broken_is_never_there() {
    let of = |subject: &SubjectAudit| subject.summary(KIND).presence;
    assert_eq!(of(&having(&[KIND])), Presence::Yes);
    assert_eq!(of(&having(&[EvidenceKind::Sbom])), Presence::No);
    assert_eq!(of(&unknown()), Presence::Unknown);
    let one = |content| subject(vec![referrer(&[KIND], None, content)]);
    assert_eq!(
        of(&one(ReferrerContent::Broken(
            LinkFaultKind::BlobGone,
            "a blob is gone".into()
        ))),
        Presence::No
    );
    let unread = ReferrerContent::Unknown("the registry failed".into());
    assert_eq!(of(&one(unread)), Presence::Unknown);
    let mut unclear = having(&[]);
    unclear.referrers[0].evidence.is_unclear = true;
    assert_eq!(of(&unclear), Presence::Unknown);
    // What was found stays found, whatever else could not be read.
    let mut partly = having(&[KIND]);
    partly.problem = Some("the registry failed".into());
    assert_eq!(of(&partly), Presence::Yes);
}

#[test]
fn the_earliest_stated_date_counts() {
    let whole = |since| referrer(&[KIND], since, ReferrerContent::Whole);
    let dated = subject(vec![whole(None), whole(Some(7)), whole(Some(5))]);
    assert_eq!(dated.summary(KIND).since, Some(5));
    assert_eq!(subject(vec![whole(None)]).summary(KIND).since, None);
}

fn image(own: SubjectAudit, platforms: Vec<SubjectAudit>) -> ImageFindings {
    let platforms = platforms.into_iter().map(|subject| PlatformAudit {
        name: "linux/amd64".to_owned(),
        subject,
    });
    ImageFindings {
        media_type: "application/x".to_owned(),
        own,
        platforms: platforms.collect(),
    }
}

#[test]
fn an_index_is_signed_itself_and_described_by_its_platforms() {
    use EvidenceKind::{Sbom, Signature};
    use Presence::{No, Unknown, Yes};
    let both = [Signature, Sbom];
    let cases = [
        // What refers to the index, and to its platforms; signature and SBOM of the image; the same of each platform.
        (having(&both), vec![having(&[]), having(&[])], [Yes, Yes], [No, No]),
        (having(&[]), vec![having(&both), having(&both)], [No, Yes], [No, Yes]),
        (
            having(&both),
            vec![having(&both), having(&both)],
            [Yes, Yes],
            [Yes, Yes],
        ),
        (having(&[]), vec![having(&both), having(&[])], [No, No], [No, No]),
        (
            having(&[]),
            vec![having(&both), unknown()],
            [No, Unknown],
            [No, Unknown],
        ),
        (
            having(&both),
            vec![having(&both), unknown()],
            [Yes, Yes],
            [Unknown, Unknown],
        ),
        (unknown(), vec![having(&both)], [Unknown, Yes], [Unknown, Yes]),
        (having(&both), vec![], [Yes, Yes], [Yes, Yes]),
    ];
    for (number, (own, platforms, image_has, each_has)) in cases.into_iter().enumerate() {
        let image = image(own, platforms);
        let of = |each| [Signature, Sbom].map(|kind| image.summary(kind, each).presence);
        assert_eq!((of(false), of(true)), (image_has, each_has), "case {number}");
    }
}

#[test]
fn platforms_have_it_since_the_last_of_them_has() {
    let dated = |since| subject(vec![referrer(&[EvidenceKind::Sbom], since, ReferrerContent::Whole)]);
    let all = image(having(&[]), vec![dated(Some(5)), dated(Some(7))]);
    assert_eq!(all.summary(EvidenceKind::Sbom, false).since, Some(7));
    let undated = image(having(&[]), vec![dated(Some(5)), dated(None)]);
    assert_eq!(undated.summary(EvidenceKind::Sbom, false).since, None);
}
