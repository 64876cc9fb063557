//! What tests, benches and fuzz targets see of the library, each item at its own path. The program itself needs none of it.

/// See the module of the same name.
pub mod auth {
    pub use crate::auth::{Htpasswd, basic};
}
/// See the module of the same name.
pub mod cache {
    pub use crate::cache::{Bounds, Cache, Epoch, Key, Kind, RepositoryKey, Tier};
}
/// See the module of the same name.
pub mod config {
    pub use crate::config::{
        Blobs, Config, CredentialsConfig, CredentialsKind, Depth, LimitsConfig, ListingKind, LogFormat, Overrides,
        ProxyChoice, TlsVersion, UpstreamConfig, WithoutSubject, load_with,
    };
}
/// See the module of the same name.
pub mod demo {
    pub use crate::demo::{DemoRegistry, RegistryError, Serving, serve};
}
/// See the module of the same name.
pub mod events {
    pub use crate::events::DropReason;
}
/// See the module of the same name.
pub mod http {
    /// See the module of the same name.
    pub mod body {
        pub use crate::http::body::{Body, BoxError};
    }
}
/// See the module of the same name.
pub mod metrics {
    pub use crate::metrics::{Endpoint, Metrics, SignedPull};
}
/// See the module of the same name.
pub mod oci {
    pub use crate::oci::{
        Descriptor, Digest, LinkSource, LinkTagKind, LinkTarget, Manifest, Reference, Referrer, ReferrerList,
        RepositoryName, SiblingTemplate, SubjectKey, Tag,
    };
    /// See the module of the same name.
    pub mod descriptor {
        pub use crate::oci::descriptor::{Annotations, annotations_from_json};
    }
    /// See the module of the same name.
    pub mod envelope {
        pub use crate::oci::envelope::{ANNOTATION_DIGEST, CONFIG, open, seal};
    }
    /// See the module of the same name.
    pub mod media_type {
        pub use crate::oci::media_type::{
            ACCEPT_MANIFESTS, ManifestKind, OCI_ARTIFACT_MANIFEST, OCI_EMPTY, OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST,
            OCI_NODE, ORAS_ARTIFACT_MANIFEST, essence,
        };
    }
    /// See the module of the same name.
    pub mod name {
        pub use crate::oci::name::MAX_TAG;
    }
    /// See the module of the same name.
    pub mod reference_type {
        pub use crate::oci::reference_type::reference_type_of;
    }
    /// See the module of the same name.
    pub mod tag_scheme {
        pub use crate::oci::tag_scheme::{
            ENVELOPE_KIND, HASH_LENGTH, envelope_tag, parse, proposal_d_tag, referrers_tag,
        };
    }
    /// See the module of the same name.
    pub mod timestamp {
        pub use crate::oci::timestamp::{created, to_rfc3339};
    }
}
/// See the module of the same name.
pub mod proxy {
    pub use crate::proxy::{Gateway, route};
}
/// See the module of the same name.
pub mod referrers {
    pub use crate::referrers::{RememberedManifest, Resolver, ServedHeaders};
}
/// See the module of the same name.
pub mod registry {
    pub use crate::registry::{
        Answer, BackoffOutcome, CalibratedWithin, Caller, HeadOutcome, ListingWalk, Native, RawManifest, RequestKind,
        RequestOutcome, SetupError, TagNames, Tags, Upstream, UpstreamError, WalkStep, WalkedListing,
    };
}
/// See the module of the same name.
pub mod render {
    pub use crate::render::{Filter, Query, QueryError, RenderedPage, Window, next_link};
    /// See the module of the same name.
    pub mod discover {
        pub use crate::render::discover::print;
    }
    /// See the module of the same name.
    pub mod oci11 {
        pub use crate::render::oci11::{print, print_whole};
    }
    /// See the module of the same name.
    pub mod page {
        pub use crate::render::page::{MAX_BODY, PagedApi};
    }
    /// See the module of the same name.
    pub mod proposal_a {
        pub use crate::render::proposal_a::{Shape, print};
    }
    /// See the module of the same name.
    pub mod proposal_b {
        pub use crate::render::proposal_b::print;
    }
    /// See the module of the same name.
    pub mod proposal_c {
        pub use crate::render::proposal_c::{description, objects, reference, referrers};
    }
}
/// See the module of the same name.
pub mod server {
    pub use crate::server::{Limits, Listener, run};
    /// See the module of the same name.
    pub mod open_files {
        pub use crate::server::open_files::raise_limit;
    }
}
/// See the module of the same name.
pub mod telemetry {
    pub use crate::telemetry::init;
}
/// See the module of the same name.
pub mod tls {
    pub use crate::tls::{Acceptor, ClientAuth, Protocols, TlsError};
}

#[cfg(any(test, fuzzing))]
pub use crate::fuzzing::feed;
