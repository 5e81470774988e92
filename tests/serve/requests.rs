//! Requests that are refused, each with a status and a sentence.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::{
    fixtures::{ON_CPU, small},
    service::Service,
};

/// Returns a body of one sample, one feature and `k` classes.
fn many_classes(k: usize) -> Vec<u8> {
    let (input, weight, target) = ([0, 0x3c], vec![0; 2 * k], [0]);
    let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes);
    let tensors = [
        ("input", view(Dtype::F16, &[1, 1], &input[..])),
        ("weight", view(Dtype::F16, &[k, 1], &weight)),
        ("target", view(Dtype::U8, &[1], &target)),
    ];
    serialize(tensors.map(|(name, view)| (name, view.unwrap())), None).unwrap()
}

#[test]
fn refuses_unknown_settings_and_impossible_values() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);
    let small = small(folder.path());
    for (query, status, detail) in [
        ("name=a%0Ab", 400, "name contains a control character"),
        (
            "rtol=x",
            400,
            "invalid value 'x' for '--rtol <R>': expected a number, such as 1e-3",
        ),
        (
            "device=cpu",
            400,
            "unknown setting 'device'; the settings are wrt, reduction, ignore-index, \
             label-smoothing, self-test, normalizer, weight-layout, computed-in, model, eps, \
             method, scheme, precision, compare, rtol, atol, min-power, rows, sample, seed",
        ),
        (
            "wait=-1",
            400,
            "wait is '-1'; expected a number of seconds from 0 to 300",
        ),
        ("wait=1&wait=2", 400, "wait is given twice"),
        (
            "rows=2..2",
            422,
            "--rows is 2..2, but there are 8 rows; A..B needs A < B <= 8",
        ),
        (
            "wrt=weight&self-test=true&sample=2",
            422,
            "--sample is a selection of the samples, but grad_weight is a sum over all of them",
        ),
    ] {
        let answer = service.post(query, &small);
        assert_eq!(
            (answer.status, &*answer.detail()),
            (status, detail),
            "{query}"
        );
    }
}

#[test]
fn refuses_unknown_paths_methods_and_list_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);
    for id in ["absent", "%ff"] {
        assert_eq!(
            service.get(&format!("/v1/checks/{id}")).detail(),
            "unknown check: the id is wrong, or the check has been deleted"
        );
    }
    assert_eq!(service.get("/v1/check").status, 404);
    assert_eq!(service.delete("/v1/checks").status, 405);
    for (query, detail) in [
        (
            "state=new",
            "state is 'new'; expected one of queued, running, done, failed, cancelled",
        ),
        (
            "verdict=wrong",
            "verdict is 'wrong'; expected one of pass, inconclusive, fail",
        ),
        ("limit=0", "limit is '0'; expected a number from 1 to 1000"),
        ("limit=1&limit=2", "limit is given twice"),
        (
            "cursor=-5",
            "cursor is '-5'; expected the `next` of the page before",
        ),
        (
            "page=2",
            "unknown parameter 'page'; expected state, verdict, limit or cursor",
        ),
    ] {
        let answer = service.get(&format!("/v1/checks?{query}"));
        assert_eq!((answer.status, &*answer.detail()), (400, detail));
    }
}

#[test]
fn refuses_bodies_that_cannot_be_checked() {
    let folder = tempfile::tempdir().unwrap();
    let flags = [
        "--device",
        "cpu",
        "--max-body",
        "4MB",
        "--max-memory",
        "512MiB",
    ];
    let service = Service::start(&folder.path().join("data"), &flags);
    let refusal = |query: &str, body: &[u8]| {
        let answer = service.post(query, body);
        (answer.status, answer.detail())
    };
    assert_eq!(
        refusal("name=mine", b"0123456789"),
        (
            400,
            "mine is not a readable safetensors file: its header length is invalid; \
             it is truncated, or in another format"
                .to_owned()
        )
    );
    let small = small(folder.path());
    let mut nan = small.clone();
    let (header, tensors) = safetensors::SafeTensors::read_metadata(&nan).unwrap();
    let start = 8 + header + tensors.info("input").unwrap().data_offsets.0;
    nan[start..start + 8].copy_from_slice(&f64::NAN.to_le_bytes());
    let (status, detail) = refusal("", &nan);
    assert_eq!(status, 422);
    assert!(
        detail.contains("is NaN, but the loss needs finite values"),
        "{detail}"
    );
    assert_eq!(
        refusal("", &vec![0; 4_000_001]),
        (
            413,
            "the body is longer than 3.8 MiB, the limit of this service".to_owned()
        )
    );
    // The tables of a weight of 2 MB: each column is padded to 16, in f64, several times over.
    let (status, detail) = refusal("self-test=true", &many_classes(1_000_000));
    assert_eq!(status, 422);
    assert!(
        detail
            .starts_with("the service's --max-memory is 512.0 MiB, but this check needs about 1."),
        "{detail}"
    );
    let none = "the body is empty; send a safetensors or npz file";
    assert_eq!(refusal("", &[]), (400, none.to_owned()));
    for (name, value) in [("content-type", "text/plain"), ("content-encoding", "gzip")] {
        let packed = ureq::post(service.url("/v1/checks")).header(name, value);
        assert!(matches!(
            packed.send(&small[..]),
            Err(ureq::Error::StatusCode(415))
        ));
    }
    // The forms of curl -F and curl -d.
    for kind in [
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ] {
        let answer = service.post_with("", &small, kind);
        assert_eq!(answer.status, 415);
        let detail = answer.detail();
        for way in ["curl -X POST -T FILE", "curl --data-binary @FILE"] {
            assert!(detail.contains(way), "{detail}");
        }
    }
}

#[test]
fn refuses_a_long_body_while_it_arrives_or_before() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--device", "cpu", "--max-body", "4MB"];
    let service = Service::start(&folder.path().join("data"), &flags);
    // Without a length in the head, the service counts the bytes as they arrive.
    let chunked = {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        let head = "POST /v1/checks HTTP/1.1\r\nHost: localhost\r\n\
                    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..600 {
            // The service may close the connection before the end.
            let _ = stream.write_all(format!("2000\r\n{}\r\n", "x".repeat(0x2000)).as_bytes());
        }
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
    // A client that sends `Expect: 100-continue` is refused before it sends the body.
    let asked = service.raw(
        "POST /v1/checks HTTP/1.1\r\nHost: localhost\r\n\
         Content-Length: 9999999\r\nExpect: 100-continue\r\n\r\n",
    );
    assert!(asked.starts_with("HTTP/1.1 413 "), "{asked}");
}

#[test]
fn refuses_a_head_of_too_many_bytes_or_lines() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"), &ON_CPU);
    let long = format!(
        "GET /v1/checks HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(400_000)
    );
    let many = format!(
        "GET /v1/checks HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X: y\r\n".repeat(100)
    );
    for head in [long, many] {
        let answer = service.raw(&head);
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
}
