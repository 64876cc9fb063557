//! An OCI image layout: a folder with `oci-layout`, `index.json` and `blobs/<algorithm>/<encoded>` (image-spec, "OCI Image Layout
//! Specification").

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::cli::error::CliError;
use crate::config::LimitsConfig;
use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Descriptor, Digest, Tag};

/// Annotation of an entry of `index.json`: its tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(super) const MARKER: &str = "oci-layout";
pub(super) const INDEX: &str = "index.json";

/// A layout, with its `index.json` as it was read or is to be written. Entries of others keep all their members.
pub(super) struct ImageLayout {
    pub(super) folder: PathBuf,
    /// All members of `index.json` but `manifests`.
    members: Map<String, Value>,
    entries: Vec<Value>,
}

/// An entry of `index.json`.
pub(super) struct LayoutEntry {
    pub(super) tag: Option<Tag>,
    pub(super) descriptor: Descriptor,
}

impl ImageLayout {
    /// Reads the layout in `folder`. `None` where there is none yet: no such folder, or an empty one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, CliError> {
        let Some(marker) = read_file(&folder.join(MARKER), 1 << 20)? else {
            return match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
                Ok(false) => Err(CliError::failed(format!(
                    "{}: this folder is no OCI image layout: it has no file {MARKER}",
                    folder.display()
                ))),
                Ok(true) => Ok(None),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed(folder, &error)),
            };
        };
        let marker: Option<Value> = serde_json::from_slice(&marker).ok();
        let version = marker.as_ref().and_then(|marker| marker.get("imageLayoutVersion"));
        if version.is_none_or(|version| version != "1.0.0") {
            let problem = "is no marker of an OCI image layout of version 1.0.0";
            return Err(CliError::failed(format!(
                "{}: {problem}",
                folder.join(MARKER).display()
            )));
        }
        let mut layout = Self::empty(folder);
        // A copy that was ended before its first image leaves none.
        if let Some(index) = read_file(&folder.join(INDEX), LimitsConfig::default().tag_list_bytes)? {
            layout.take_index(&index)?;
        }
        Ok(Some(layout))
    }

    pub(super) fn empty(folder: &Path) -> Self {
        let members = [("schemaVersion", json!(2)), ("mediaType", json!(OCI_IMAGE_INDEX))];
        Self {
            folder: folder.to_owned(),
            members: members
                .map(|(key, value)| (key.to_owned(), value))
                .into_iter()
                .collect(),
            entries: Vec::new(),
        }
    }

    fn take_index(&mut self, index: &[u8]) -> Result<(), CliError> {
        let problem = |problem: &str| CliError::failed(format!("{}: {problem}", self.folder.join(INDEX).display()));
        let members: Result<Map<String, Value>, _> = serde_json::from_slice(index);
        let mut members = members.map_err(|error| problem(&format!("is no JSON object: {error}")))?;
        self.entries = match members.remove("manifests") {
            Some(Value::Array(entries)) => entries,
            None | Some(Value::Null) => Vec::new(),
            Some(_) => return Err(problem("has 'manifests' that are no list")),
        };
        if let Some(odd) = self.entries.iter().find(|entry| Descriptor::from_json(entry).is_none()) {
            return Err(problem(&format!("lists something without a digest: {odd}")));
        }
        self.members = members;
        Ok(())
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = LayoutEntry> {
        self.entries.iter().filter_map(|entry| {
            let descriptor = Descriptor::from_json(entry)?;
            let name = descriptor.annotations.get(REF_NAME);
            Some(LayoutEntry {
                tag: name.and_then(|name| Tag::parse(name).ok()),
                descriptor,
            })
        })
    }

    /// What the tag points at.
    pub(super) fn tagged(&self, tag: &Tag) -> Option<Descriptor> {
        let mut entries = self.entries();
        entries.find_map(|entry| (entry.tag.as_ref() == Some(tag)).then_some(entry.descriptor))
    }

    /// Points the tag at the manifest, and nowhere else.
    pub(super) fn tag(&mut self, tag: &Tag, descriptor: &Descriptor) {
        let is_it = |entry: &Value| {
            entry
                .pointer("/annotations")
                .and_then(|all| all.get(REF_NAME)?.as_str())
                == Some(tag.as_str())
        };
        self.entries.retain(|entry| !is_it(entry));
        let mut entry =
            json!({"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size});
        if let Some(artifact_type) = &descriptor.artifact_type {
            entry["artifactType"] = json!(artifact_type);
        }
        entry["annotations"] = json!({REF_NAME: tag.as_str()});
        self.entries.push(entry);
    }

    /// Lists the manifest, unless it is listed already.
    pub(super) fn list(&mut self, descriptor: &Descriptor) {
        if !self.entries().any(|entry| entry.descriptor.digest == descriptor.digest) {
            let mut entry =
                json!({"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size});
            if let Some(artifact_type) = &descriptor.artifact_type {
                entry["artifactType"] = json!(artifact_type);
            }
            self.entries.push(entry);
        }
    }

    /// `index.json`.
    pub(super) fn print(&self) -> Vec<u8> {
        let mut members = self.members.clone();
        members.insert("manifests".to_owned(), Value::Array(self.entries.clone()));
        Value::Object(members).to_string().into_bytes()
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.folder
            .join("blobs")
            .join(digest.algorithm())
            .join(digest.encoded())
    }

    /// The length of a blob in bytes; `None` where there is none.
    pub(super) fn blob_length(&self, digest: &Digest) -> Result<Option<u64>, CliError> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(no_file(&path)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    /// The bytes of a manifest, checked against its digest; `None` where there is none.
    pub(super) fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, CliError> {
        let path = self.blob_path(digest);
        let Some(bytes) = read_file(&path, LimitsConfig::default().manifest_bytes)? else {
            return Ok(None);
        };
        match digest.matches(&bytes) {
            Some(true) => Ok(Some(bytes.into())),
            Some(false) => Err(CliError::failed(format!(
                "{}: it holds other bytes than its name says",
                path.display()
            ))),
            None => Err(CliError::failed(format!(
                "{}: this digest's algorithm is not supported",
                path.display()
            ))),
        }
    }
}

/// A whole file of at most `limit` bytes; `None` where there is none.
fn read_file(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, CliError> {
    match fs::metadata(path) {
        // A pipe or a device may have no end.
        Ok(metadata) if !metadata.is_file() => Err(no_file(path)),
        Ok(metadata) if metadata.len() > limit as u64 => Err(CliError::failed(format!(
            "{}: it is larger than {limit} bytes",
            path.display()
        ))),
        Ok(_) => fs::read(path).map(Some).map_err(|error| failed(path, &error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, &error)),
    }
}

fn no_file(path: &Path) -> CliError {
    CliError::failed(format!("{}: this is no file", path.display()))
}

/// A file or folder could not be used.
pub(super) fn failed(path: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_others_stay_as_they_are() {
        let mut layout = ImageLayout::empty(Path::new("x"));
        let theirs = json!({"mediaType": "a/b", "digest": Digest::sha256(b"theirs"), "size": 1, "x-their-own": true});
        let index = json!({"schemaVersion": 2, "annotations": {"k": "v"}, "manifests": [theirs]});
        layout.take_index(index.to_string().as_bytes()).unwrap();
        let (one, other) = (Digest::sha256(b"one"), Digest::sha256(b"other"));
        let tag = Tag::parse("v1").unwrap();
        for digest in [&one, &other] {
            layout.tag(&tag, &Descriptor::new("a/b", digest.clone(), 1));
            layout.list(&Descriptor::new("a/b", digest.clone(), 1));
            layout.list(&Descriptor::new("a/b", Digest::sha256(b"theirs"), 1));
        }
        assert_eq!(layout.tagged(&tag).unwrap().digest, other);
        let printed: Value = serde_json::from_slice(&layout.print()).unwrap();
        assert_eq!(printed["annotations"], json!({"k": "v"}));
        assert_eq!(printed["manifests"][0], theirs);
        assert_eq!(printed["manifests"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_layout_is_not_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let read = || ImageLayout::read(folder.path());
        assert!(read().unwrap().is_none() && ImageLayout::read(&folder.path().join("none")).unwrap().is_none());
        fs::write(folder.path().join("notes"), "mine").unwrap();
        assert!(read().is_err());
        fs::write(folder.path().join(MARKER), r#"{"imageLayoutVersion":"9"}"#).unwrap();
        assert!(read().is_err());
        fs::write(folder.path().join(MARKER), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        assert_eq!(read().unwrap().unwrap().entries().count(), 0);
        for broken in ["[]", r#"{"manifests":{}}"#, r#"{"manifests":[{"digest":"x"}]}"#] {
            fs::write(folder.path().join(INDEX), broken).unwrap();
            assert!(read().is_err(), "{broken}");
        }
    }
}
