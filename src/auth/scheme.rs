//! What a registry asks for, learned from its challenges.

use super::{Bearer, Challenge};

/// How a registry wants requests to be authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthScheme {
    /// Not at all.
    Open,
    /// With a user and a password.
    Basic,
    /// With a token of the realm; the scope differs from request to request and is left out.
    Bearer(Bearer),
    /// In a way that refshim does not know, such as `Negotiate`.
    Unknown(String),
}

impl AuthScheme {
    /// The first of the challenges that refshim can answer, else the first. `None` where there is no challenge.
    pub fn of(challenges: &[Challenge]) -> Option<Self> {
        let known = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Basic => Some(Self::Basic),
            Challenge::Bearer(bearer) => Some(Self::Bearer(Bearer {
                scope: None,
                ..bearer.clone()
            })),
            Challenge::Other(_) => None,
        });
        known.or_else(|| match challenges.first()? {
            Challenge::Other(scheme) => Some(Self::Unknown(scheme.clone())),
            Challenge::Basic | Challenge::Bearer(_) => None,
        })
    }
}

/// The scopes that the challenge of a refused request names itself.
pub(super) fn stated_scopes(challenges: &[Challenge]) -> Option<Vec<String>> {
    challenges.iter().find_map(|challenge| match challenge {
        Challenge::Bearer(bearer) => {
            let scopes = bearer.scope.as_ref()?.split_whitespace();
            Some(scopes.map(str::to_owned).collect())
        }
        Challenge::Basic | Challenge::Other(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_can_be_answered_counts() {
        let (negotiate, digest) = (Challenge::Other("Negotiate".into()), Challenge::Other("Digest".into()));
        let basic = Some(AuthScheme::Basic);
        assert_eq!(AuthScheme::of(&[negotiate.clone(), Challenge::Basic]), basic);
        let unknown = Some(AuthScheme::Unknown("Negotiate".into()));
        assert_eq!(AuthScheme::of(&[negotiate, digest]), unknown);
        assert_eq!(AuthScheme::of(&[]), None);
    }
}
