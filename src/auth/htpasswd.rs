//! Users and bcrypt hashes, as Apache's `htpasswd -B` writes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::CredentialsError;

/// Hashing is slow on purpose: what was right is not hashed again while it is used, and at least this often, and the file stays
/// what it is.
const KNOWN_WHILE_USED_WITHIN: Duration = Duration::from_secs(60 * 60);
const KNOWN: u64 = 10_000;
/// How often the file is looked at, at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Hashes at once: guessing must not keep the machine from its work.
const AT_ONCE: usize = 2;
/// Hashes under way or waiting for their turn. With more, whoever is known still comes in at once; others had better come again.
const QUEUE: usize = 64;
const BCRYPT: [&str; 3] = ["$2y$", "$2b$", "$2a$"];

/// The file's content.
pub(crate) struct Users {
    hashes: BTreeMap<String, String>,
    /// Of the whole file.
    version: [u8; 32],
}

/// Who may come in.
pub struct Htpasswd {
    file: PathBuf,
    current: Mutex<LoadedUsers>,
    /// Salted hashes of what was right lately.
    known: Cache<[u8; 32], ()>,
    /// The same of what is being looked at: all who bring it wait for one answer.
    asked: Cache<[u8; 32], Arc<OnceCell<bool>>>,
    salt: [u8; 32],
    queue: Semaphore,
    checks: Arc<Semaphore>,
}

/// Too many passwords wait to be looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Busy;

struct LoadedUsers {
    users: Arc<Users>,
    /// Of the file as it was last read.
    version: [u8; 32],
    looked: Instant,
}

impl Htpasswd {
    /// Reads the file: at least one user, and no hash but bcrypt's.
    pub fn read(file: &Path) -> Result<Self, CredentialsError> {
        let text = read(file)?;
        let users = parse(&text).map_err(|problem| failed(file, problem))?;
        let current = LoadedUsers {
            version: users.version,
            users: Arc::new(users),
            looked: Instant::now(),
        };
        Ok(Self {
            file: file.to_owned(),
            current: Mutex::new(current),
            known: Cache::builder()
                .max_capacity(KNOWN)
                .time_to_idle(KNOWN_WHILE_USED_WITHIN)
                .build(),
            asked: Cache::new(KNOWN),
            salt: rand::random(),
            queue: Semaphore::new(QUEUE),
            checks: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// The users as the file has them now. One that has changed but cannot be used leaves those that there were.
    fn users(&self) -> Arc<Users> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK_AGAIN {
            current.looked = Instant::now();
            match self.renewed(&mut current.version) {
                Ok(None) => {}
                Ok(Some(users)) => {
                    tracing::info!(file = %self.file.display(), "the users were read again");
                    current.users = Arc::new(users);
                }
                Err(error) => tracing::warn!(%error, "the users have changed but cannot be used"),
            }
        }
        current.users.clone()
    }

    /// `None` when the file is what it was.
    fn renewed(&self, known: &mut [u8; 32]) -> Result<Option<Users>, CredentialsError> {
        let text = read(&self.file)?;
        let now = version(&text);
        // Kept also when what follows fails: only other contents are worth another try.
        if std::mem::replace(known, now) == now {
            return Ok(None);
        }
        let users = parse(&text).map_err(|problem| failed(&self.file, problem))?;
        Ok(Some(users))
    }

    /// Whether `authorization` is `Basic` with one of the users and the right password.
    pub async fn admits(&self, authorization: &HeaderValue) -> Result<bool, Busy> {
        let users = self.users();
        let key = self.key(&users.version, authorization);
        // Unlike `contains_key` this counts as use.
        if self.known.get(&key).is_some() {
            return Ok(true);
        }
        let Some((user, password)) = basic(authorization) else {
            return Ok(false);
        };
        let asked = self.asked.get_with(key, Arc::default);
        let answer = asked.get_or_try_init(|| self.check(users, user, password)).await;
        if answer == Ok(&true) {
            self.known.insert(key, ());
        }
        self.asked.invalidate(&key);
        answer.copied()
    }

    async fn check(&self, users: Arc<Users>, user: String, password: String) -> Result<bool, Busy> {
        let _place = self.queue.try_acquire().map_err(|_| Busy)?;
        // The semaphore is never closed.
        let turn = self.checks.clone().acquire_owned().await;
        let checked = tokio::task::spawn_blocking(move || {
            // Whoever hangs up does not end the hashing.
            let _turn = turn;
            verify(&users, &user, &password)
        });
        Ok(checked.await.unwrap_or(false))
    }

    /// Of the header and of the file that it was right for: what is remembered ends with that.
    fn key(&self, version: &[u8; 32], authorization: &HeaderValue) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.salt);
        hasher.update(version);
        hasher.update(authorization.as_bytes());
        hasher.finalize().into()
    }
}

/// Takes as long for an unknown user as for a known one.
fn verify(users: &Users, user: &str, password: &str) -> bool {
    let hash = users.hashes.get(user);
    let Some(any) = hash.or_else(|| users.hashes.values().next()) else {
        return false;
    };
    bcrypt::verify(password, any).unwrap_or(false) && hash.is_some()
}

fn basic(authorization: &HeaderValue) -> Option<(String, String)> {
    let (scheme, pair) = authorization.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(pair.trim()).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn read(file: &Path) -> Result<Vec<u8>, CredentialsError> {
    std::fs::read(file).map_err(|error| failed(file, format!("cannot be read ({error})")))
}

fn failed(file: &Path, problem: String) -> CredentialsError {
    CredentialsError::File {
        file: file.to_owned(),
        problem,
    }
}

/// What is wrong is told without the hash.
pub(crate) fn parse(text: &[u8]) -> Result<Users, String> {
    let version = version(text);
    let text = std::str::from_utf8(text).map_err(|_| "is not text".to_owned())?;
    let mut hashes = BTreeMap::new();
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let (user, hash) = line
            .split_once(':')
            .ok_or_else(|| format!("has no ':' in line {number}"))?;
        if !BCRYPT.iter().any(|kind| hash.starts_with(kind)) || hash.parse::<bcrypt::HashParts>().is_err() {
            return Err(format!("has no bcrypt hash in line {number} (use 'htpasswd -B')"));
        }
        hashes.insert(user.to_owned(), hash.to_owned());
    }
    if hashes.is_empty() {
        return Err("names no user".to_owned());
    }
    Ok(Users { hashes, version })
}

fn version(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `secret`, at the lowest cost.
    fn hash(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    fn header(user: &str, password: &str) -> HeaderValue {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        HeaderValue::try_from(format!("Basic {pair}")).unwrap()
    }

    async fn admits(users: &Htpasswd, authorization: &HeaderValue) -> bool {
        users.admits(authorization).await.unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_comes_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("htpasswd");
        std::fs::write(&file, format!("# users\nann:{}\n\nbob:{}\n", hash("a:b"), hash("b"))).unwrap();
        let users = Htpasswd::read(&file).unwrap();
        for _ in 0..2 {
            assert!(admits(&users, &header("ann", "a:b")).await);
            assert!(admits(&users, &header("bob", "b")).await);
        }
        for (user, password) in [("ann", "b"), ("bob", ""), ("eve", "b"), ("", "")] {
            assert!(!admits(&users, &header(user, password)).await, "{user}");
        }
        for other in ["Bearer x", "Basic", "Basic !", "Basic Og==", ""] {
            assert!(!admits(&users, &HeaderValue::from_static(other)).await, "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_counts_soon() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("htpasswd");
        std::fs::write(&file, format!("ann:{}", hash("old"))).unwrap();
        let users = Htpasswd::read(&file).unwrap();
        assert!(admits(&users, &header("ann", "old")).await);
        std::fs::write(&file, format!("ann:{}", hash("new"))).unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        assert!(!admits(&users, &header("ann", "old")).await);
        assert!(admits(&users, &header("ann", "new")).await);
        std::fs::write(&file, "nonsense").unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        assert!(admits(&users, &header("ann", "new")).await);
    }

    #[tokio::test]
    async fn guessing_does_not_lock_out_who_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("htpasswd");
        std::fs::write(&file, format!("ann:{}\nbob:{}", hash("a"), hash("b"))).unwrap();
        let users = Htpasswd::read(&file).unwrap();
        assert!(admits(&users, &header("ann", "a")).await);
        let hashing = users.checks.acquire_many(u32::try_from(AT_ONCE).unwrap()).await;
        let guesses: Vec<_> = (0..QUEUE).map(|n| header("ann", &n.to_string())).collect();
        let mut guessing: Vec<_> = guesses.iter().map(|guess| Box::pin(users.admits(guess))).collect();
        for guess in &mut guessing {
            assert!(futures_util::poll!(guess).is_pending());
        }
        assert_eq!(users.admits(&header("bob", "b")).await, Err(Busy));
        assert_eq!(users.admits(&header("ann", "a")).await, Ok(true));
        let again = header("ann", "0");
        let mut again = Box::pin(users.admits(&again));
        assert!(
            futures_util::poll!(&mut again).is_pending(),
            "the same takes no second place"
        );
        drop(hashing);
        for guess in guessing {
            assert_eq!(guess.await, Ok(false));
        }
        assert_eq!(again.await, Ok(false));
        assert_eq!(users.admits(&header("bob", "b")).await, Ok(true));
    }

    #[test]
    fn what_cannot_be_used_is_named_without_the_hash() {
        for (text, problem) in [
            ("", "names no user"),
            ("ann", "line 1"),
            ("ann:{SHA}c2VjcmV0", "line 1 (use 'htpasswd -B')"),
            ("\nann:$apr1$x$y", "line 2"),
            ("ann:$2y$05$short", "line 1"),
        ] {
            let said = parse(text.as_bytes()).err().unwrap();
            assert!(said.contains(problem) && !said.contains("c2Vj"), "{said}");
        }
    }
}
