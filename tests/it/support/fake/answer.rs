//! One request to a fake: written down, troubled, refused, or answered by the embedded registry and then bent.

use std::sync::Arc;

use http::header::{HOST, LOCATION, RANGE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use refshim::testing::http::body::{Body, BoxError};

use super::knobs::{Knobs, Uploads};
use super::{Shared, auth, blobs, manifests, native, pages, reply, rights, tags};

/// A request's head, seen from behind the path prefix.
pub struct Asked<'a> {
    pub shared: &'a Shared,
    pub knobs: &'a Knobs,
    pub head: &'a Parts,
    /// Without query.
    pub path: String,
}

impl Asked<'_> {
    /// `http://host:port` as the caller wrote it, without the prefix.
    pub fn origin(&self) -> String {
        let host = self.head.headers.get(HOST).and_then(|host| host.to_str().ok());
        format!("http://{}", host.unwrap_or_default())
    }

    pub fn query(&self, name: &str) -> Option<String> {
        self.queries(name).into_iter().next()
    }

    /// All values of a parameter.
    pub fn queries(&self, name: &str) -> Vec<String> {
        let query = self.head.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }

    /// `(<name>, <rest>)` of `/v2/<name>/<word>/<rest>`.
    pub fn part(&self, word: &str) -> Option<(&str, &str)> {
        self.path.strip_prefix("/v2/")?.split_once(&format!("/{word}/"))
    }

    pub fn is_read(&self) -> bool {
        matches!(self.head.method, Method::GET | Method::HEAD)
    }
}

pub async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    let (head, body) = request.into_parts();
    let (knobs, trouble) = shared.arrived(&head);
    match trouble {
        None => respond(&shared, &knobs, head, body).await,
        Some(trouble) => match trouble.instead().await? {
            Some(response) => Ok(response),
            None => Ok(trouble.bend(respond(&shared, &knobs, head, body).await?)),
        },
    }
}

pub async fn respond(shared: &Shared, knobs: &Knobs, head: Parts, body: Incoming) -> Result<Response<Body>, BoxError> {
    let Some(path) = head.uri.path().strip_prefix(knobs.base) else {
        return Ok(reply::html(StatusCode::NOT_FOUND, "Nothing here"));
    };
    let asked = Asked {
        shared,
        knobs,
        path: path.to_owned(),
        head: &head,
    };
    // In this order: who may not ask learns nothing else.
    let early = auth::refuse(&asked)
        .or_else(|| rights::refuse(&asked))
        .or_else(|| pages::answer(&asked))
        .or_else(|| blobs::moved(&asked))
        .or_else(|| native::answer(&asked))
        .or_else(|| tags::list(&asked))
        .or_else(|| blobs::redirect(&asked))
        .or_else(|| manifests::read(&asked))
        .or_else(|| manifests::delete(&asked));
    if let Some(response) = early {
        return Ok(rights::count(&asked, response));
    }
    if asked.head.method == Method::PUT && asked.part("manifests").is_some() {
        return manifests::push(&asked, body).await;
    }
    let Some(target) = target(&asked) else {
        return Ok(reply::plain(
            StatusCode::NOT_FOUND,
            "text/plain",
            "404 page not found\n",
        ));
    };
    let mut inner = Request::from_parts(asked.head.clone(), body);
    *inner.uri_mut() = target;
    let response = shared.registry.handle(inner).await;
    let response = rights::count(&asked, manifests::bend(&asked, response));
    Ok(bend_upload(&asked, response))
}

/// What the embedded registry is asked instead. `None`: the fake knows no such path.
fn target(asked: &Asked<'_>) -> Option<Uri> {
    let mut path = asked.path.clone();
    if asked.knobs.uploads.singular {
        match path.split_once("/blobs/uploads/") {
            Some((_, id)) if !id.is_empty() => return None,
            _ => path = path.replace("/blobs/upload/", "/blobs/uploads/"),
        }
    }
    let query = asked.head.uri.query().unwrap_or_default();
    let query = match asked.knobs.uploads.no_mounts && query.contains("mount=") {
        true => "",
        false => query,
    };
    format!("{path}?{query}").parse().ok()
}

/// Turns what the embedded registry says of an upload into what this one would say.
fn bend_upload(asked: &Asked<'_>, mut response: Response<Body>) -> Response<Body> {
    let Uploads {
        singular,
        sticky_range,
        portless,
        ..
    } = asked.knobs.uploads;
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    if let Some(path) = location.and_then(|location| location.strip_prefix(&asked.origin())) {
        let path = match singular {
            true => path.replace("/blobs/uploads/", "/blobs/upload/"),
            false => format!("{}{}{path}", asked.origin(), asked.knobs.base),
        };
        let path = match (portless, asked.origin().rsplit_once(':')) {
            (true, Some((without_port, _))) => path.replace(&asked.origin(), without_port),
            _ => path,
        };
        let value = HeaderValue::from_str(&path).expect("a location that came from a header");
        response.headers_mut().insert(LOCATION, value);
    }
    if sticky_range && response.headers().contains_key(RANGE) && asked.head.method == Method::PATCH {
        response.headers_mut().insert(RANGE, HeaderValue::from_static("0-0"));
    }
    response
}
