//! refshim's own users (`server.auth.htpasswd_file`): who they are now, and whose password was right lately.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::CredentialsError;
use super::htpasswd_file::{Users, parse, verify, version};
use crate::expiring_map::ExpiringMap;

/// bcrypt is slow on purpose, so a password that was right is not hashed again as long as no hour passes without its use and the
/// file stays the same.
const KNOWN_WHILE_USED_WITHIN: Duration = Duration::from_secs(60 * 60);
/// How many passwords that were right are remembered.
const KNOWN: u64 = 10_000;
/// The file is read again at most this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Hashes computed at the same time: guessed passwords must not take all processors.
const AT_ONCE: usize = 2;
/// Hashes being computed or waiting for it. Callers beyond that are told to come again ([`Busy`]), but for those whose password is
/// remembered.
const QUEUE: usize = 64;
/// The users of refshim, by the file that names them.
pub struct Htpasswd {
    file: PathBuf,
    current: Mutex<LoadedUsers>,
    /// Salted hashes of the `Authorization` headers that were right lately.
    known: ExpiringMap<[u8; 32], ()>,
    /// Salted hashes of those that are being checked: all callers with the same header wait for one answer.
    asked: ExpiringMap<[u8; 32], Arc<OnceCell<bool>>>,
    salt: [u8; 32],
    queue: Semaphore,
    checks: Arc<Semaphore>,
}

/// Too many passwords wait to be checked.
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
            known: ExpiringMap::builder(KNOWN)
                .time_to_idle(KNOWN_WHILE_USED_WITHIN)
                .build(),
            asked: ExpiringMap::new(KNOWN),
            salt: rand::random(),
            queue: Semaphore::new(QUEUE),
            checks: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// The users as the file has them now. A file that has changed and cannot be used leaves the users as they were.
    fn users(&self) -> Arc<Users> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK_AGAIN {
            self.look(&mut current);
        }
        current.users.clone()
    }

    /// Reads the file again, without waiting for the next caller.
    pub fn read_again(&self) {
        self.look(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn look(&self, current: &mut LoadedUsers) {
        current.looked = Instant::now();
        match self.renewed(&mut current.version) {
            Ok(None) => {}
            Ok(Some(users)) => {
                tracing::info!(file = %self.file.display(), "the users were read again");
                current.users = Arc::new(users);
            }
            Err(error) => {
                tracing::warn!(%error, "the users' file has changed and cannot be used; the earlier users stay")
            }
        }
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

    /// Whether `authorization` is `Basic` with one of the users and the right password. Fails where too many passwords wait to be
    /// checked.
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
        let asked = self.asked.get_or_insert_with(&key, Arc::default);
        let answer = asked.get_or_try_init(|| self.check(users, user, password)).await;
        if answer == Ok(&true) {
            self.known.insert(key, ());
        }
        self.asked.remove(&key);
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

    /// The salted hash of a header and of the file's version, so that a changed file ends what is remembered.
    fn key(&self, version: &[u8; 32], authorization: &HeaderValue) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.salt);
        hasher.update(version);
        hasher.update(authorization.as_bytes());
        hasher.finalize().into()
    }
}

/// User and password of an HTTP Basic header.
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
