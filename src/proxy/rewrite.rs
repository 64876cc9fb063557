//! Addresses in the upstream's answers (`Location`, `Link`, challenges), rewritten to those by which the caller reaches refshim. Pure.
//!
//! What the upstream says of its own API becomes path-absolute (`/v2/…`), which is right whatever host name or scheme the
//! caller uses. Anything else, such as signed storage, is left to the caller as it is. Queries stay byte for byte: upload
//! states are signed.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use url::Url;

/// How one upstream speaks of itself.
#[derive(Clone, Debug)]
pub struct SelfView {
    scheme: String,
    /// Host and port, lower case, without a default port.
    authority: String,
    /// What stands before `/v2` at the upstream; empty or beginning with a slash.
    base: String,
}

impl SelfView {
    /// The upstream at `url`, whose path is what stands before `/v2`.
    pub fn new(url: &Url) -> Self {
        Self {
            scheme: url.scheme().to_owned(),
            authority: normal_authority(url.authority()).into_owned(),
            base: url.path().trim_end_matches('/').to_owned(),
        }
    }

    /// A `Location` answered to a request for `request_path`, a path as the caller sees it. Always path-absolute or absolute:
    /// some clients understand nothing else.
    pub fn location<'a>(&self, value: &'a str, request_path: &str) -> Cow<'a, str> {
        let (address, rest) = split_query(value);
        match self.own_path(address) {
            AddressOwner::Elsewhere => Cow::Borrowed(value),
            AddressOwner::OtherHost(address) => Cow::Owned(format!("{}:{address}{rest}", self.scheme)),
            AddressOwner::Own(path) => match self.callers_path(path) {
                Some(path) => Cow::Owned(format!("{path}{rest}")),
                None => Cow::Owned(format!("{}://{}{path}{rest}", self.scheme, self.authority)),
            },
            AddressOwner::Relative => Cow::Owned(format!("{}{rest}", resolve(address, request_path))),
        }
    }

    /// A `Link` header: every `<target>` as a `Location`, all else as it is.
    pub fn link(&self, value: &str, request_path: &str) -> String {
        let mut out = String::with_capacity(value.len());
        let mut rest = value;
        while let Some((before, after)) = rest.split_once('<') {
            let Some((target, after)) = after.split_once('>') else {
                break;
            };
            out.push_str(before);
            out.push('<');
            out.push_str(&self.location(target, request_path));
            out.push('>');
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// A challenge whose realm is on the upstream's own origin: the same with `origin` (such as `http://proxy:5100`) in its
    /// place and `added` in its query, and the realm's path as the caller will ask for it. `None` when there is no such realm.
    pub fn challenge(&self, value: &str, origin: &str, added: Option<&str>) -> Option<(String, String)> {
        let start = value.to_ascii_lowercase().find("realm=\"")? + "realm=\"".len();
        let length = value[start..].find('"')?;
        let (address, query) = split_query(&value[start..start + length]);
        let AddressOwner::Own(path) = self.own_path(address) else {
            return None;
        };
        if address.starts_with('/') {
            return None;
        }
        let path = if self.base.is_empty() {
            path
        } else {
            strip_base(path, &self.base)?
        };
        let (before, after) = (&value[..start], &value[start + length..]);
        let added = match added {
            None => String::new(),
            Some(added) if query.is_empty() => format!("?{added}"),
            Some(added) => format!("&{added}"),
        };
        Some((format!("{before}{origin}{path}{query}{added}{after}"), path.to_owned()))
    }

    fn own_path<'a>(&self, address: &'a str) -> AddressOwner<'a> {
        let after_scheme = ["http:", "https:"]
            .iter()
            .find_map(|scheme| strip_prefix_ignoring_case(address, scheme));
        if let Some(rest) = after_scheme.unwrap_or(address).strip_prefix("//") {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            return if self.is_own(&normal_authority(authority), path) {
                AddressOwner::Own(if path.is_empty() { "/" } else { path })
            } else if after_scheme.is_some() {
                AddressOwner::Elsewhere
            } else {
                AddressOwner::OtherHost(address)
            };
        }
        if address.starts_with('/') {
            return AddressOwner::Own(address);
        }
        let first_segment = address.split('/').next().unwrap_or_default();
        if first_segment.contains(':') {
            AddressOwner::Elsewhere
        } else {
            AddressOwner::Relative
        }
    }

    /// Whether the upstream means itself. Behind a proxy that hands on the host without its port, or that is reached through
    /// another port than it listens at, a registry leaves the port out; below `/v2/` alone, because something else may be served there.
    fn is_own(&self, authority: &str, path: &str) -> bool {
        authority == self.authority || authority == without_port(&self.authority) && self.callers_path(path).is_some()
    }

    /// The path as the caller must ask for it; `None` when it is not part of the API.
    fn callers_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        let path = strip_base(path, &self.base).unwrap_or(path);
        (path == "/v2" || path.starts_with("/v2/")).then_some(path)
    }
}

enum AddressOwner<'a> {
    /// A path on the upstream itself.
    Own(&'a str),
    /// A complete address of somewhere else, or of no kind that is known here.
    Elsewhere,
    /// `//host/path`: needs the scheme.
    OtherHost(&'a str),
    Relative,
}

fn split_query(value: &str) -> (&str, &str) {
    value.split_at(value.find(['?', '#']).unwrap_or(value.len()))
}

fn strip_base<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    path.strip_prefix(base).filter(|rest| rest.starts_with('/'))
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// Scheme-blind, because a registry behind a TLS terminator calls itself `http`. IPv6 addresses in their shortest form.
fn normal_authority(authority: &str) -> Cow<'_, str> {
    let bare = [":80", ":443", ":"]
        .iter()
        .find_map(|port| authority.strip_suffix(port));
    let bare = bare.unwrap_or(authority);
    if let Some((address, port)) = bare.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && let Ok(address) = address.parse::<Ipv6Addr>()
    {
        return Cow::Owned(format!("[{address}]{port}"));
    }
    if bare.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(bare.to_ascii_lowercase())
    } else {
        Cow::Borrowed(bare)
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// A relative reference against the path that was asked for (RFC 3986, 5.2).
fn resolve(reference: &str, request_path: &str) -> String {
    if reference.is_empty() {
        return request_path.to_owned();
    }
    let directory = request_path.rfind('/').map_or("/", |slash| &request_path[..=slash]);
    let mut segments = Vec::new();
    let joined = format!("{directory}{reference}");
    let mut parts = joined.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    segments.pop();
                }
                if last {
                    segments.push("");
                }
            }
            _ => segments.push(part),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
