//! JSON, the form in which most values are stored in the shared cache.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// `None` if the value cannot be written as JSON.
pub fn to_json(value: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

/// `None` if the bytes are not such a value.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
