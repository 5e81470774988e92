//! Access: clients with the token or, without a token, clients that address this machine as
//! localhost.

use crate::{
    fixtures::{ON_CPU, TOKEN, small, token_file},
    service::Service,
};

#[test]
fn a_token_is_required_if_the_service_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let token = token_file(folder.path());
    let flags = ["--device", "cpu", "--token-file", &token];
    let service = Service::start(&folder.path().join("data"), &flags);
    assert_eq!(service.get("/healthz").status, 200);
    let none = service.get("/v1/checks");
    assert_eq!(
        (none.status, none.detail().as_str()),
        (
            401,
            "this service requires a token: give --token-file on the command line, or send the \
             header Authorization: Bearer TOKEN"
        )
    );
    assert_eq!(none.headers["www-authenticate"], "Bearer");
    for (value, status) in [
        ("Bearer 0123456789abcdee", 401),
        ("Bearer 0123456789abcdef0", 401),
        ("Basic 0123456789abcdef", 401),
        ("Bearer", 401),
        ("Bearer 0123456789abcdef", 200),
        ("bearer 0123456789abcdef", 200),
    ] {
        let answer = service.get_with("/v1/checks", &[("authorization", value)]);
        assert_eq!(answer.status, status, "{value}");
    }
    assert_eq!(TOKEN, "0123456789abcdef");
    assert_eq!(service.post("", &small(folder.path())).status, 401);
    assert_eq!(service.get("/metrics").status, 401);
}

/// A page of another site gets no answer, but a user may follow a link on it.
#[test]
fn refuses_requests_from_other_sites() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);
    let cross_site = ("sec-fetch-site", "cross-site");
    let origin = service.url("");
    let link = [
        cross_site,
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    for (headers, status) in [
        (&[("host", "evil.example")][..], 421),
        (&[cross_site, ("sec-fetch-mode", "cors")], 421),
        (&link[..2], 421),
        (&link, 200),
        (&[("sec-fetch-site", "same-site"), ("origin", &origin)], 421),
        (&[("sec-fetch-site", "same-origin")], 200),
        (&[("host", "LOCALHOST:8417")], 200),
        (&[("origin", "http://evil.example")], 421),
        (&[("origin", "null")], 421),
        (&[("origin", &origin)], 200),
    ] {
        let answer = service.get_with("/healthz", headers);
        assert_eq!(answer.status, status, "{headers:?}");
        if status == 421 {
            assert_eq!(
                answer.detail(),
                "this service answers requests to localhost only, and none from other sites"
            );
        }
    }
}
