//! Draws from numbers: the same seed gives the same draw.

use std::collections::BTreeSet;

use http::StatusCode;
use refshim::testing::config::Depth;

use crate::none_is_proof::draw::{Class, Draw, Error, Repository, Step, Way, What};
use crate::support::fake::knobs::{
    AbsentCodes, Heads, Knobs, Last, Link, LinkForm, Moved, Native, Order, Pushes, Referrers, Rights, Shown, TagPages,
    TooMany,
};
use crate::support::fake::motion::{Motion, TagChange};

/// SplitMix64: small, and the same on every machine and with every version of everything.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

const COSIGN: [Way; 3] = [Way::Cosign("sig"), Way::Cosign("att"), Way::Cosign("sbom")];
const WAYS: [Way; 9] = [
    COSIGN[0],
    COSIGN[1],
    COSIGN[2],
    Way::ReferrersTag,
    Way::ProposalD,
    Way::Subject,
    Way::Annotation,
    Way::BuildKit,
    Way::Native,
];

pub fn draw(seed: u64) -> Draw {
    let mut dice = Dice::new(seed);
    let in_motion = dice.one_in(3);
    let mut pages = pages(&mut dice);
    if let Some(pages) = pages.as_mut().filter(|_| in_motion) {
        // So many that they are asked for at once.
        pages.page = dice.pick(&[Some(7), Some(20)]);
        pages.greatest_n = pages.greatest_n.and(pages.page);
    }
    let filler = match in_motion {
        true => dice.pick(&[20, 60, 110, 250]),
        false => dice.pick(&[0, 0, 0, 1, 3, 20, 110, 250, 1100]),
    };
    // Nobody waits for a thousand pages.
    let on_a_page = pages
        .as_ref()
        .and_then(|pages| pages.greatest_n.or(pages.page))
        .unwrap_or(usize::MAX);
    let filler = filler.min(on_a_page.saturating_mul(30));
    let mut knobs = Knobs {
        tags: pages,
        referrers: referrers(&mut dice),
        heads: heads(&mut dice),
        rights: rights(&mut dice),
        absent: absent(&mut dice),
        pull_limit: dice.one_in(15).then(|| dice.pick(&[10, 60, 100])),
        moved: if dice.one_in(15) {
            dice.pick(&[Moved::Listings, Moved::Reads])
        } else {
            Moved::Nothing
        },
        pushes: Pushes {
            says_subject: dice.one_in(2),
            ..Pushes::default()
        },
        ..Knobs::default()
    };
    if dice.one_in(4) {
        knobs
            .referrers_in
            .insert(Repository::Other.name(), referrers(&mut dice));
    }
    let errors = dice.pick(&[0, 0, 1, 1, 1, 2]);
    Draw {
        depth: dice.pick(&[Depth::Auto, Depth::Auto, Depth::Names, Depth::Manifests]),
        retries: dice.pick(&[0, 0, 0, 1]),
        filler,
        lags: dice.one_in(4),
        app: ways(&mut dice, 4),
        other: ways(&mut dice, 2),
        errors: (0..errors).map(|_| error(&mut dice)).collect(),
        motions: if in_motion { motions(&mut dice) } else { Vec::new() },
        steps: steps(&mut dice),
        knobs,
    }
}

fn pages(dice: &mut Dice) -> Option<TagPages> {
    if dice.one_in(8) {
        return None;
    }
    // One in two is a registry that somebody wrote; the others are whatever may be.
    let (order, last) = match dice.below(4) {
        0 => (
            dice.pick(&[Order::OldestFirst, Order::NewestFirst]),
            Last::Place {
                unknown_starts: dice.one_in(2),
            },
        ),
        1 => (Order::Scrambled, dice.pick(&[Last::Token, Last::Number, Last::Ignored])),
        2 => (
            Order::Bytewise,
            dice.pick(&[Last::Seeks, Last::Seeks, Last::SeeksOrStartsOver]),
        ),
        _ => (
            dice.pick(&[Order::Bytewise, Order::Collated]),
            dice.pick(&[
                Last::Seeks,
                Last::SkipsOne,
                Last::MustExist,
                Last::Ignored,
                Last::Number,
            ]),
        ),
    };
    let links = [
        Link::Relative,
        Link::Relative,
        Link::Absolute,
        Link::None,
        Link::None,
        Link::NextPage,
    ];
    let odd = [Link::Loop, Link::Elsewhere, Link::Internal];
    let greatest_n = dice.pick(&[None, Some(37), Some(100), Some(100), Some(1000), Some(usize::MAX)]);
    Some(TagPages {
        order,
        page: dice.pick(&[None, Some(7), Some(50), Some(100), Some(1000)]),
        greatest_n,
        too_many: match greatest_n {
            Some(1000) => dice.pick(&[TooMany::Clamped, TooMany::Unsupported, TooMany::Invalid]),
            _ => TooMany::Clamped,
        },
        last,
        tokens_expire: dice.one_in(2),
        link: if dice.one_in(12) {
            dice.pick(&odd)
        } else {
            dice.pick(&links)
        },
        link_form: if dice.one_in(3) {
            dice.pick(&LinkForm::ALL)
        } else {
            LinkForm::Proper
        },
        shown: shown(dice),
        always_links: dice.one_in(8),
        null: dice.one_in(2),
        media_type: dice.pick(&[
            "application/json",
            "application/json; charset=utf-8",
            "text/plain; charset=utf-8",
        ]),
    })
}

fn shown(dice: &mut Dice) -> Shown {
    if !dice.one_in(8) {
        return Shown::All;
    }
    let names: [&[&str]; 3] = [&[], &["v1"], &["v1", "t0000", "t0001", "deep-0"]];
    let names: BTreeSet<String> = dice.pick(&names).iter().map(|&name| name.to_owned()).collect();
    Shown::Only {
        names,
        asked_join: dice.one_in(2),
    }
}

fn referrers(dice: &mut Dice) -> Referrers {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let says = |status: u16, media_type, body| Referrers::Says {
        status: StatusCode::from_u16(status).expect("a status"),
        media_type,
        body,
    };
    let unsupported = r#"{"errors":[{"code":"UNSUPPORTED","message":"no"}]}"#;
    match dice.below(17) {
        0..=2 => Referrers::PageNotFound,
        3 => Referrers::ManifestUnknown,
        4 => Referrers::WebPage,
        5 => Referrers::LoginPage,
        6 => says(404, "text/html", "<html>not found</html>"),
        7 => says(403, "text/html", "<html>forbidden</html>"),
        8 => says(405, "application/json", unsupported),
        9 => says(501, "application/json", unsupported),
        10 => Referrers::Native(Native {
            media_type: dice.pick(&[
                "application/json",
                "application/vnd.oci.image.index.v1+json; charset=utf-8",
            ]),
            ..Native::default()
        }),
        11 => Referrers::Native(Native {
            refuses_unknown: true,
            ..Native::default()
        }),
        12 => Referrers::Native(Native {
            unknown_is_empty_404: true,
            ..Native::default()
        }),
        13 => Referrers::Native(Native {
            page: Some(1),
            ..Native::default()
        }),
        _ => Referrers::Native(Native {
            media_type: INDEX,
            ..Native::default()
        }),
    }
}

fn heads(dice: &mut Dice) -> Heads {
    if !dice.one_in(4) {
        return Heads::Served;
    }
    let statuses = [401, 403, 404, 405, 501].map(Heads::Answers);
    dice.pick(&[&[Heads::WithoutDigest][..], &statuses].concat())
}

fn rights(dice: &mut Dice) -> Rights {
    Rights {
        listing: dice.one_in(12).then(|| dice.pick(&[401, 403])),
        ..Rights::default()
    }
}

fn absent(dice: &mut Dice) -> AbsentCodes {
    if !dice.one_in(6) {
        return AbsentCodes::default();
    }
    AbsentCodes {
        repository: dice.pick(&["NAME_UNKNOWN", "NOT_FOUND", "UNKNOWN"]),
        tag: dice.pick(&["MANIFEST_UNKNOWN", "TAG_EXPIRED", "NAME_UNKNOWN", "NOT_FOUND", "DENIED"]),
        manifest: dice.pick(&["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND", "UNKNOWN"]),
    }
}

/// At least one, each of cosign's once at most: they have one tag each.
fn ways(dice: &mut Dice, most: usize) -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    for _ in 0..1 + dice.below(most) {
        let way = dice.pick(&WAYS);
        if !COSIGN.contains(&way) || !ways.contains(&way) {
            ways.push(way);
        }
    }
    ways
}

fn error(dice: &mut Dice) -> Error {
    let codes = [
        "DENIED",
        "UNAUTHORIZED",
        "TOOMANYREQUESTS",
        "UNAVAILABLE",
        "UNKNOWN",
        "BLOB_UNKNOWN",
        "NAME_UNKNOWN",
    ];
    let codes = [&codes[..], &["MANIFEST_UNKNOWN", "NOT_FOUND"]].concat();
    let what = match dice.below(12) {
        0 => What::Oci(dice.pick(&[500, 502, 504]), "UNKNOWN"),
        1 => What::Oci(503, "UNAVAILABLE"),
        2 => What::Oci(429, "TOOMANYREQUESTS"),
        3..=4 => What::Oci(404, dice.pick(&codes)),
        5 => dice.pick(&[
            What::Text404,
            What::Empty404,
            What::Html(404),
            What::Html(403),
            What::Html(200),
        ]),
        6 => dice.pick(&[
            What::Oci(401, "UNAUTHORIZED"),
            What::Oci(403, "DENIED"),
            What::Oci(400, "DENIED"),
        ]),
        7 => dice.pick(&[
            What::Oci(400, "UNSUPPORTED"),
            What::Oci(405, "UNSUPPORTED"),
            What::Oci(501, "UNSUPPORTED"),
        ]),
        8 => dice.pick(&[What::WebPage, What::NoContent, What::Under(203), What::Under(206)]),
        9 => dice.pick(&[What::Cut, What::Close]),
        10 => dice.pick(&[What::Gzip, What::Garbage]),
        _ => dice.pick(&[What::Later, What::Oci(400, "MANIFEST_INVALID"), What::Html(502)]),
    };
    let class = dice.pick(&[
        Class::FirstPage,
        Class::FirstPage,
        Class::NextPage,
        Class::NextPage,
        Class::Native,
        Class::Native,
        Class::Native,
        Class::LinkTag,
        Class::LinkTag,
        Class::OrdinaryTag,
        Class::Subject,
        Class::Digest,
        Class::Head,
    ]);
    // A registry that cuts pages without a word and states of `last`, by which it goes on, that it knows no such question, lies about
    // itself: who believes its statements takes the first page for all.
    let is_lie = matches!((class, &what), (Class::NextPage, What::Oci(400, "UNSUPPORTED")));
    let what = if is_lie {
        What::Oci(400, "MANIFEST_INVALID")
    } else {
        what
    };
    Error {
        class,
        repository: dice.pick(&[None, Some(Repository::App), Some(Repository::Other)]),
        what,
        spared: dice.pick(&[0, 0, 0, 1, 2, 3]),
        times: dice.pick(&[Some(1), Some(1), Some(1), Some(2), Some(4), None, None]),
    }
}

/// Most of them while the first listing is read or read again.
fn motions(dice: &mut Dice) -> Vec<Motion> {
    let count = 1 + dice.below(8);
    let among = dice.pick(&[10, 40, 40, 120]);
    let mut motion = || Motion {
        after: dice.below(among),
        change: match dice.below(8) {
            0 => TagChange::Comes,
            1 => TagChange::Goes(dice.below(1000)),
            2..=4 => TagChange::CursorMoves,
            5 => TagChange::CursorGoes,
            _ => TagChange::Moves(dice.below(1000)),
        },
    };
    (0..count).map(|_| motion()).collect()
}

/// Always ends with questions about all images, now and when nothing is fresh any more.
fn steps(dice: &mut Dice) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..dice.below(6) {
        steps.push(match dice.below(23) {
            0..=1 => Step::AskMadeUp,
            2 => Step::AskZeros,
            3 => Step::AskNowhere,
            4..=6 => Step::Ask(Repository::Other),
            7..=9 => Step::Ask(Repository::App),
            10 => Step::Pull,
            11 => Step::Head,
            12 => Step::Push(Repository::App),
            13 => Step::Push(Repository::New),
            14 => Step::Attach(dice.pick(&[Way::ProposalD, Way::Native])),
            15..=16 => Step::Wait(dice.pick(&[5, 31, 31, 700])),
            17 => Step::Restart,
            18 => Step::ListTags(dice.pick(&[None, Some(3), Some(1000), Some(5000)])),
            19 => Step::AskAtOnce,
            20 => Step::AskByTag(dice.pick(&Repository::ALL)),
            21 => Step::AskByTag(Repository::App),
            _ => Step::KeepList,
        });
    }
    steps.extend(Repository::ALL.map(Step::Ask));
    steps.push(Step::ListTags(dice.pick(&[
        None,
        None,
        Some(100),
        Some(1000),
        Some(10_000),
    ])));
    steps.push(Step::Wait(31));
    steps.extend(Repository::ALL.map(Step::Ask));
    steps
}
