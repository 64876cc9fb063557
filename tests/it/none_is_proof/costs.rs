//! What questions cost each form of registry, measured, and the table of it in the documents.

use std::fmt::Write as _;
use std::time::Duration;

use refshim::testing::config::Depth;

use crate::none_is_proof::forms::{self, APP, Form, NEW, Standing, UNKNOWN};
use crate::support::{Local, advance};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/upstreams.md");
const BEGIN: &str = "<!-- measured by tests/none_is_proof: begin -->\n";
const END: &str = "<!-- measured by tests/none_is_proof: end -->\n";
/// The most that the first question after a start may cost besides a request for each referrer: the registry's own list, twice
/// where it says that there is none; the listing's pages (2), how it ends and whether it seeks (2); the subject, by HEAD and GET,
/// and its two tags that a listing may lack (4).
const FIRST: usize = 10;
/// The most that a question costs when nothing is fresh any more, besides a HEAD for each tag that may have moved: the registry's
/// own list, twice; the listing, with a seek and its proof (3); a subject that is not there, by HEAD and GET (2).
const AGAIN: usize = 7;

#[derive(Clone, Copy)]
enum Question {
    Signed,
    Unsigned,
    MadeUp,
    Zeros,
    New,
    Unknown,
}

const QUESTIONS: [Question; 6] = [
    Question::Signed,
    Question::Unsigned,
    Question::MadeUp,
    Question::Zeros,
    Question::New,
    Question::Unknown,
];

impl Question {
    fn head(self) -> &'static str {
        match self {
            Self::Signed => "2 referrers",
            Self::Unsigned => "none",
            Self::MadeUp => "digest made up",
            Self::Zeros => "digest of zeros",
            Self::New => "empty repository",
            Self::Unknown => "unknown repository",
        }
    }

    fn repository(self) -> &'static str {
        match self {
            Self::New => NEW,
            Self::Unknown => UNKNOWN,
            _ => APP,
        }
    }

    fn digest(self, standing: &Standing) -> String {
        match self {
            Self::Signed | Self::New | Self::Unknown => standing.signed.digest.clone(),
            Self::Unsigned => standing.unsigned.digest.clone(),
            Self::MadeUp => format!("sha256:{}", "ab".repeat(32)),
            Self::Zeros => format!("sha256:{}", "0".repeat(64)),
        }
    }
}

async fn start(standing: &Standing) -> Local {
    Local::configured(&standing.url(), |config| {
        config.links.depth = Depth::Names;
        config.cache.stale_while_revalidate = Duration::ZERO;
    })
    .await
}

/// Requests for the first question after a start, and for the same when nothing is fresh any more.
async fn measure(form: &Form, standing: &Standing, question: Question, wrong: &mut Vec<String>) -> (usize, usize) {
    let refshim = start(standing).await;
    let endpoint = standing.allowed(refshim.endpoint(), question.repository());
    let digest = question.digest(standing);
    let mut costs = Vec::new();
    for round in ["first", "again"] {
        standing.take();
        let reply = endpoint.referrers_reply(question.repository(), &digest).await;
        let listed = reply.json()["manifests"].as_array().map(Vec::len);
        let requests = standing.take();
        let expected = match question {
            Question::Signed if !form.is_partial() => 2,
            Question::Signed => listed.unwrap_or_default(),
            _ => 0,
        };
        let most = expected + if round == "first" { FIRST } else { AGAIN };
        if reply.status != 200 || listed != Some(expected) || requests.len() > most {
            let what = format!("{}, {}, {round}", form.name, question.head());
            wrong.push(format!(
                "{what}: {expected} expected in {most} requests: {reply:?}\n{requests:#?}"
            ));
        }
        costs.push(requests.len());
        advance(31).await;
    }
    (costs[0], costs[1])
}

/// The table, and what is not as it should be.
async fn table() -> (String, Vec<String>) {
    let mut wrong = Vec::new();
    let mut table = String::from("| registry |");
    for question in QUESTIONS {
        write!(table, " {} |", question.head()).expect("a string grows");
    }
    table += "\n|---|";
    table += &"---|".repeat(QUESTIONS.len());
    for form in forms::all() {
        write!(table, "\n| {} |", form.name).expect("a string grows");
        let standing = form.stand().await;
        for question in QUESTIONS {
            let (first, again) = measure(&form, &standing, question, &mut wrong).await;
            write!(table, " {first}, {again} |").expect("a string grows");
        }
    }
    (table + "\n", wrong)
}

/// `REFSHIM_WRITE_DOCS=1` writes what was measured.
#[tokio::test]
async fn each_registry_costs_what_the_document_says() {
    let (measured, wrong) = table().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let document = std::fs::read_to_string(DOCUMENT).expect("the document");
    let (before, rest) = document.split_once(BEGIN).expect("where the table begins");
    let (written, after) = rest.split_once(END).expect("where the table ends");
    if std::env::var_os("REFSHIM_WRITE_DOCS").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{BEGIN}{measured}{END}{after}")).expect("the document is written");
        return;
    }
    assert_eq!(
        written, measured,
        "REFSHIM_WRITE_DOCS=1 writes what was measured:\n{measured}"
    );
}
