//! Who is logged in at one upstream by the pages for people.
//!
//! A session is in this process's memory; the browser has its random name in a cookie, which proves nothing to anybody else and ends with
//! the process. With it pages are made on the rights of the account that logged in, and nothing but pages: the API never looks at cookies.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::COOKIE;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::expiring_map::ExpiringMap;
use crate::registry::{CallerLogin, Upstream};

/// Sessions at one upstream; more end those that were used longest ago.
const MAX_SESSIONS: u64 = 1000;
/// How long a session lasts.
const LIFETIME: Duration = Duration::from_secs(8 * 60 * 60);
/// How long a session lasts that is not used.
const IDLE: Duration = Duration::from_secs(60 * 60);
/// Passwords that are tried at once.
const ATTEMPTS: usize = 4;

/// The SHA-256 of a session's name.
type SessionKey = [u8; 32];

pub(super) struct UiSessions {
    cookie: String,
    sessions: ExpiringMap<SessionKey, Arc<UiSession>>,
    anybody: CallerLogin,
    attempts: Semaphore,
}

/// Somebody who is logged in.
pub(super) struct UiSession {
    pub user: String,
    pub login: CallerLogin,
}

impl UiSessions {
    pub fn new(upstream: &Upstream) -> Self {
        let sessions = ExpiringMap::builder(MAX_SESSIONS)
            .least_recently_used_first()
            .time_to_live(LIFETIME)
            .time_to_idle(IDLE);
        Self {
            cookie: format!("refshim-{}", hexadecimal(&Sha256::digest(upstream.name())[..4])),
            sessions: sessions.build(),
            anybody: upstream.caller_login(None),
            attempts: Semaphore::new(ATTEMPTS),
        }
    }

    /// The login of whoever is not logged in.
    pub fn anybody(&self) -> &CallerLogin {
        &self.anybody
    }

    /// `None` while too many passwords are tried at once.
    pub fn attempt(&self) -> Option<SemaphorePermit<'_>> {
        self.attempts.try_acquire().ok()
    }

    /// The session that a request's cookie names.
    pub fn find(&self, headers: &HeaderMap) -> Option<Arc<UiSession>> {
        self.sessions.get(&key(self.name(headers)?))
    }

    /// Begins a session. Returns the cookie that names it.
    pub fn begin(&self, session: UiSession, secure: bool) -> String {
        let name = hexadecimal(&rand::random::<[u8; 32]>());
        self.sessions.insert(key(&name), Arc::new(session));
        self.set_cookie(&name, "", secure)
    }

    /// Ends the session that a request's cookie names. Returns the cookie that takes it from the browser.
    pub fn end(&self, headers: &HeaderMap, secure: bool) -> String {
        if let Some(name) = self.name(headers) {
            self.sessions.remove(&key(name));
        }
        self.set_cookie("", "; Max-Age=0", secure)
    }

    fn set_cookie(&self, name: &str, age: &str, secure: bool) -> String {
        let secure = if secure { "; Secure" } else { "" };
        format!(
            "{}={name}; Path=/ui; HttpOnly; SameSite=Strict{age}{secure}",
            self.cookie
        )
    }

    fn name<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut cookies = lines.flat_map(|line| line.split(';'));
        cookies.find_map(|cookie| {
            let (name, value) = cookie.trim().split_once('=')?;
            (name == self.cookie).then_some(value)
        })
    }
}

fn key(name: &str) -> SessionKey {
    Sha256::digest(name).into()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
