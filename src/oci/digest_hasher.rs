//! Checking content against its digest as it arrives.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::digest::{Digest, hex};

/// Hashes content that arrives in pieces, by the algorithm of the digest that it is to have.
#[derive(Clone)]
pub struct DigestHasher {
    expected: Digest,
    state: HasherState,
}

#[derive(Clone)]
enum HasherState {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
    Blake3(Box<blake3::Hasher>),
}

impl DigestHasher {
    /// `None` if refshim does not implement the algorithm of `expected`.
    pub fn new(expected: &Digest) -> Option<Self> {
        let state = match expected.algorithm() {
            "sha256" => HasherState::Sha256(Sha256::new()),
            "sha384" => HasherState::Sha384(Sha384::new()),
            "sha512" => HasherState::Sha512(Sha512::new()),
            "blake3" => HasherState::Blake3(Box::default()),
            _ => return None,
        };
        Some(Self {
            expected: expected.clone(),
            state,
        })
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.state {
            HasherState::Sha256(state) => state.update(piece),
            HasherState::Sha384(state) => state.update(piece),
            HasherState::Sha512(state) => state.update(piece),
            HasherState::Blake3(state) => {
                state.update(piece);
            }
        }
    }

    /// Whether all pieces together are the content of the expected digest.
    pub fn matches(self) -> bool {
        let encoded = match self.state {
            HasherState::Sha256(state) => hex(&state.finalize()),
            HasherState::Sha384(state) => hex(&state.finalize()),
            HasherState::Sha512(state) => hex(&state.finalize()),
            HasherState::Blake3(state) => hex(state.finalize().as_bytes()),
        };
        encoded == self.expected.encoded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_content_that_they_add_up_to() {
        for algorithm in ["sha256", "sha384", "sha512", "blake3"] {
            let digest = Digest::of(algorithm, b"all of it").unwrap();
            let hasher = |pieces: &[&str]| {
                let mut hasher = DigestHasher::new(&digest).unwrap();
                pieces.iter().for_each(|piece| hasher.update(piece.as_bytes()));
                hasher.matches()
            };
            assert!(hasher(&["all ", "", "of it"]), "{algorithm}");
            assert!(!hasher(&["all of"]) && !hasher(&[]), "{algorithm}");
        }
        assert!(DigestHasher::new(&Digest::parse("md5:00").unwrap()).is_none());
    }
}
