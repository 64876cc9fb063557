//! Reads the body of a registry's error response (distribution-spec 1.1, "Error Codes").

use std::fmt;

use serde_json::Value;

/// Number of characters to which codes are cut in messages.
const SHOWN: usize = 40;

/// The members in which a body tells of errors, `errors` by the specification.
pub const MEMBERS: [&str; 2] = ["errors", "error"];

/// Whether what stands in one of the [`MEMBERS`] tells of no error. What comes with 200 beside an error is not all that there is.
pub fn tells_nothing(member: &Value) -> bool {
    match member {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(errors) => errors.is_empty(),
        Value::Object(error) => error.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// `{"errors":[{"code":…,"message":…}, …]}`: one error or more, each with a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    errors: Vec<StatedError>,
}

/// One error of an [`ErrorBody`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatedError {
    pub code: String,
    /// Empty if there is none.
    pub message: String,
}

impl ErrorBody {
    /// Parses `body`. `None` if it has another form: a web page, other JSON, an entry without a code.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let errors = body.get("errors")?.as_array()?.iter();
        let errors: Vec<StatedError> = errors.map(StatedError::from_json).collect::<Option<_>>()?;
        (!errors.is_empty()).then_some(Self { errors })
    }

    /// The error that is named first.
    pub fn first(&self) -> Option<&StatedError> {
        self.errors.first()
    }

    /// Whether one of the codes is `code`.
    pub fn has(&self, code: &str) -> bool {
        self.errors.iter().any(|error| error.code == code)
    }

    /// Whether all of the codes are among `codes`.
    pub fn says_only(&self, codes: &[&str]) -> bool {
        self.errors.iter().all(|error| codes.contains(&error.code.as_str()))
    }

    /// Whether all codes say that the requested content does not exist. Any other code makes the answer an error of another kind.
    pub fn states_absence(&self) -> bool {
        self.errors.iter().all(StatedError::states_absence)
    }

    /// As [`ErrorBody::states_absence`], for a tag: Quay answers `TAG_EXPIRED` for one that was deleted or has expired.
    pub fn states_absent_tag(&self) -> bool {
        let absent = |error: &StatedError| error.states_absence() || error.code == "TAG_EXPIRED";
        self.errors.iter().all(absent)
    }

    /// Whether all codes say that the caller is not permitted to do this.
    pub fn states_refusal(&self) -> bool {
        let refused = |error: &StatedError| matches!(error.code.as_str(), "DENIED" | "UNAUTHORIZED");
        self.errors.iter().all(refused)
    }
}

impl StatedError {
    fn from_json(error: &Value) -> Option<Self> {
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
        Some(Self {
            code: error.get("code")?.as_str()?.to_owned(),
            message: message.to_owned(),
        })
    }

    fn states_absence(&self) -> bool {
        matches!(
            self.code.as_str(),
            // NOT_FOUND is Harbor's.
            "NAME_UNKNOWN" | "MANIFEST_UNKNOWN" | "BLOB_UNKNOWN" | "NOT_FOUND"
        )
    }
}

/// Prints the codes. They are foreign text, so characters that do not belong in a code are printed as `?`.
impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate().take(4) {
            if index > 0 {
                f.write_str(", ")?;
            }
            for character in error.code.chars().take(SHOWN) {
                let plain = character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.');
                write!(f, "{}", if plain { character } else { '?' })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(codes: &[&str]) -> ErrorBody {
        let errors: Vec<Value> = codes.iter().map(|code| serde_json::json!({ "code": code })).collect();
        ErrorBody::parse(serde_json::json!({ "errors": errors }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn only_errors_with_codes_are_one() {
        let body = r#"{"errors":[{"code":"DENIED","message":"no"},{"code":"X","detail":{}}]}"#;
        let parsed = ErrorBody::parse(body.as_bytes()).unwrap();
        assert_eq!(parsed.first().unwrap().message, "no");
        assert!(parsed.has("X") && !parsed.has("no"));
        for body in [
            "",
            "404 page not found",
            "<html>",
            "{}",
            r#"{"errors":[]}"#,
            r#"{"errors":null}"#,
            r#"{"errors":{"code":"NAME_UNKNOWN"}}"#,
            r#"{"errors":[{}]}"#,
            r#"{"errors":[{"code":404}]}"#,
            r#"{"errors":[{"code":"NAME_UNKNOWN"},{"message":"and more"}]}"#,
            r#"{"code":"NAME_UNKNOWN"}"#,
        ] {
            assert_eq!(ErrorBody::parse(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn absence_is_stated_by_every_code_or_not_at_all() {
        for code in ["NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"] {
            assert!(body(&[code]).states_absence(), "{code}");
            assert!(!body(&[code, "DENIED"]).states_absence(), "{code}");
        }
        for code in ["DENIED", "UNKNOWN", "UNAVAILABLE", "TAG_EXPIRED", "name_unknown", ""] {
            assert!(!body(&[code]).states_absence(), "{code}");
        }
        assert!(body(&["TAG_EXPIRED"]).states_absent_tag() && body(&["MANIFEST_UNKNOWN"]).states_absent_tag());
        assert!(!body(&["TAG_EXPIRED", "UNKNOWN"]).states_absent_tag());
        assert!(body(&["X", "Y"]).says_only(&["Y", "X"]) && !body(&["X", "Y"]).says_only(&["X"]));
        assert!(body(&["DENIED", "UNAUTHORIZED"]).states_refusal() && !body(&["DENIED", "X"]).states_refusal());
    }

    #[test]
    fn codes_are_shown_as_plain_text() {
        assert_eq!(body(&["DENIED", "A\nb\u{1b}"]).to_string(), "DENIED, A?b?");
        assert_eq!(body(&["X".repeat(99).as_str()]).to_string().len(), SHOWN);
    }
}
