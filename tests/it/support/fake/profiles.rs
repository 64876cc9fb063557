//! Registries by name. What nobody established is what the knobs' defaults say.

use super::knobs::{
    Auth, Bearer, Delete, Knobs, Last, Link, Native, Order, Pushes, Redirect, Referrers, TagPages, TooMany, Uploads,
};

/// A registry with the API, which says of a push that it keeps the link.
pub fn keeping_links() -> Knobs {
    Knobs {
        referrers: Referrers::Native(Native::default()),
        pushes: Pushes {
            says_subject: true,
            ..Pushes::default()
        },
        ..Knobs::default()
    }
}

/// GitHub's: tokens, tags oldest first in pages, no list of referrers, no deletes, blobs elsewhere.
pub fn ghcr() -> Knobs {
    let bearer = Bearer {
        service: "ghcr.io",
        password: None,
    };
    Knobs {
        auth: Auth::Bearer(bearer),
        tags: Some(ghcr_tags()),
        referrers: Referrers::ManifestUnknown,
        delete: Delete::Unsupported,
        uploads: Uploads {
            singular: true,
            ..Uploads::default()
        },
        redirect: Some(Redirect::SignedElsewhere),
        ..Knobs::default()
    }
}

fn ghcr_tags() -> TagPages {
    TagPages {
        order: Order::OldestFirst,
        page: Some(100),
        greatest_n: Some(169),
        last: Last::Place { unknown_starts: false },
        ..TagPages::default()
    }
}

/// Amazon's before it had the API: Basic, opaque pages, tags that cannot be overwritten, members that it refuses.
pub fn ecr() -> Knobs {
    Knobs {
        auth: Auth::Aws {
            password: "ecr-token".to_owned(),
            expired: false,
        },
        tags: Some(TagPages {
            order: Order::Scrambled,
            page: Some(100),
            greatest_n: Some(1000),
            too_many: TooMany::Unsupported,
            last: Last::Token,
            link: Link::Absolute,
            media_type: "text/plain; charset=utf-8",
            ..TagPages::default()
        }),
        pushes: Pushes {
            refused_members: vec!["artifactType", "subject", "data"],
            immutable_tags: true,
            ..Pushes::default()
        },
        uploads: Uploads {
            sticky_range: true,
            no_mounts: true,
            ..Uploads::default()
        },
        redirect: Some(Redirect::SignedElsewhere),
        ..Knobs::default()
    }
}

/// Distribution 3.0.0: all at once, and a `last` that does not exist leaves one tag out.
pub fn distribution_3_0_0() -> Knobs {
    Knobs {
        delete: Delete::TagToo,
        ..tags(TagPages {
            last: Last::SkipsOne,
            ..TagPages::default()
        })
    }
}

/// Distribution 3.1: at most 1000; a full last page links to an empty one.
pub fn distribution_3_1(too_many: TooMany) -> Knobs {
    Knobs {
        delete: Delete::TagToo,
        ..tags(TagPages {
            page: Some(1000),
            greatest_n: Some(1000),
            too_many,
            always_links: true,
            ..TagPages::default()
        })
    }
}

pub fn zot() -> Knobs {
    Knobs {
        pushes: Pushes {
            unknown_type_is_415: true,
            ..Pushes::default()
        },
        delete: Delete::TagToo,
        ..tags(TagPages {
            last: Last::MustExist,
            null: false,
            ..TagPages::default()
        })
    }
}

pub fn gitlab() -> Knobs {
    Knobs {
        referrers_tag_is_subject: true,
        ..Knobs::default()
    }
}

/// Quay with its API on; `older` pages by `next_page`.
pub fn quay(older: bool) -> Knobs {
    Knobs {
        referrers: Referrers::Native(Native {
            refuses_unknown: true,
            ..Native::default()
        }),
        pushes: Pushes {
            refuses_referrers_tag: true,
            ..Pushes::default()
        },
        ..tags(TagPages {
            order: Order::Collated,
            page: Some(50),
            greatest_n: Some(100),
            last: Last::Place { unknown_starts: false },
            link: if older { Link::NextPage } else { Link::Absolute },
            null: false,
            ..TagPages::default()
        })
    }
}

pub fn harbor() -> Knobs {
    Knobs {
        referrers: Referrers::Native(Native {
            media_type: "application/json",
            ..Native::default()
        }),
        ..tags(TagPages::default())
    }
}

/// Old Gitea: every page that is not empty links to another.
pub fn gitea() -> Knobs {
    tags(TagPages {
        always_links: true,
        null: false,
        ..TagPages::default()
    })
}

/// Google's: a login page for what it does not know, downloads outside `/v2/`.
pub fn gar() -> Knobs {
    Knobs {
        referrers: Referrers::LoginPage,
        redirect: Some(Redirect::Downloads),
        ..Knobs::default()
    }
}

/// Azure's tag pages: a thousand, whatever `n` says.
pub fn acr() -> Knobs {
    tags(TagPages {
        page: Some(1000),
        greatest_n: None,
        ..TagPages::default()
    })
}

/// Artifactory 7.46: numbers for `last`, and a `Link` that forgot where it lives.
pub fn artifactory() -> Knobs {
    Knobs {
        base: "/artifactory/api/docker/local",
        ..tags(TagPages {
            page: Some(100),
            last: Last::Number,
            link: Link::WithoutBase,
            ..TagPages::default()
        })
    }
}

/// Nexus behind a proxy: a `Link` to a path of its inside.
pub fn nexus() -> Knobs {
    tags(TagPages {
        page: Some(100),
        link: Link::Internal,
        ..TagPages::default()
    })
}

/// Nothing special but for its tag pages.
pub fn tags(pages: TagPages) -> Knobs {
    Knobs {
        tags: Some(pages),
        ..Knobs::default()
    }
}
