//! The file that `htpasswd -B` writes: a user and a bcrypt hash a line.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// What bcrypt hashes begin with.
const BCRYPT: [&str; 3] = ["$2y$", "$2b$", "$2a$"];

/// The users that a file names.
pub(crate) struct Users {
    /// By user, the bcrypt hash of the password.
    hashes: BTreeMap<String, String>,
    /// The SHA-256 of the whole file.
    pub(super) version: [u8; 32],
}

/// Whether `users` has this user with this password. Takes as long for an unknown user as for a known one.
pub(super) fn verify(users: &Users, user: &str, password: &str) -> bool {
    let hash = users.hashes.get(user);
    let Some(any) = hash.or_else(|| users.hashes.values().next()) else {
        return false;
    };
    bcrypt::verify(password, any).unwrap_or(false) && hash.is_some()
}

/// Reads the file; an error completes the sentence "FILE: …" and never quotes a hash.
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

/// What tells one content of the file from another.
pub(super) fn version(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}
