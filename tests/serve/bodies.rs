//! Broken, truncated, lying and hostile bodies: the service refuses what the library refuses, and
//! each refusal costs little memory and leaves no file.

use std::{
    fs,
    io::{Cursor, Write},
};

use gradprobe::{check, io};

use crate::{fixtures::small, service::Service};

/// A body, after its name in messages.
type Named = (String, Vec<u8>);

/// Returns `right` cut at every byte near an edge: of the header, and of each tensor.
fn truncated(right: &[u8], header: usize) -> impl Iterator<Item = Named> {
    let (_, tensors) = safetensors::SafeTensors::read_metadata(right).unwrap();
    let places = tensors.tensors().into_values().map(|it| it.data_offsets);
    let edges = places.flat_map(|(begin, end)| [8 + header + begin, 8 + header + end]);
    let edges = edges
        .chain([0, 8, 8 + header])
        .flat_map(|edge| edge.saturating_sub(3)..edge + 4);
    let mut edges: Vec<usize> = edges.filter(|&edge| edge < right.len()).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
        .into_iter()
        .map(|edge| (format!("cut at {edge}"), right[..edge].to_vec()))
}

/// Returns variants of a correct safetensors body, almost all of them broken.
fn broken(right: &[u8]) -> Vec<Named> {
    let header = u64::from_le_bytes(right[..8].try_into().unwrap()) as usize;
    let text = std::str::from_utf8(&right[8..8 + header]).unwrap();
    let mut bodies: Vec<Named> = truncated(right, header).collect();
    for place in 8..8 + header {
        let mut body = right.to_vec();
        body[place] ^= 1 << (place % 7);
        bodies.push((format!("byte {place} of the header"), body));
    }
    for length in [
        0,
        1,
        header as u64 - 1,
        header as u64 + 1,
        1 << 24,
        1 << 40,
        u64::MAX,
    ] {
        let mut body = right.to_vec();
        body[..8].copy_from_slice(&length.to_le_bytes());
        bodies.push((format!("a header of {length}"), body));
    }
    let with_header = |text: &str| {
        let mut body = (text.len() as u64).to_le_bytes().to_vec();
        body.extend(text.as_bytes());
        body.extend(&right[8 + header..]);
        body
    };
    for (name, from, to) in [
        ("too large a shape", "[8,6]", "[8,600]"),
        ("a shape that overflows", "[8,6]", "[4294967296,4294967296]"),
        ("a negative shape", "[8,6]", "[-8,6]"),
        ("an unknown type", "F64", "F65"),
        ("another type", "F64", "U8"),
        ("a missing tensor", "\"input\"", "\"inputs\""),
        ("a name twice", "\"weight\"", "\"input\""),
        ("no object", "{", "["),
    ] {
        assert!(text.contains(from), "{text}");
        bodies.push((name.to_owned(), with_header(&text.replacen(from, to, 1))));
    }
    bodies.push(("nested".to_owned(), with_header(&"[".repeat(1 << 16))));
    bodies.push((
        "no archive".to_owned(),
        b"PK\x03\x04 and nothing else".to_vec(),
    ));
    bodies
}

/// Returns an .npz archive. Each member has a name, the shape that its header announces, and a
/// number of zero bytes.
fn archive(members: &[(&str, &str, usize)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, shape, bytes) in members {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(format!("{name}.npy"), options).unwrap();
        let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
        header += &" ".repeat(117 - header.len());
        zip.write_all(b"\x93NUMPY\x01\x00\x76\x00").unwrap();
        zip.write_all(format!("{header}\n").as_bytes()).unwrap();
        zip.write_all(&vec![0; *bytes]).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Returns hostile archives; some of them unpack to a thousand times their size.
fn archives() -> Vec<Named> {
    let large = 100 << 20;
    let (weight, target) = (("weight", "(4, 8)", 256), ("target", "(8,)", 64));
    let mut bodies: Vec<Named> = [
        (
            "a bomb",
            vec![("input", "(1638400, 8)", large), weight, target],
        ),
        (
            "a bomb that lies",
            vec![("input", "(8, 8)", large), weight, target],
        ),
        (
            "a bomb in the settings",
            vec![
                ("input", "(8, 8)", 512),
                weight,
                target,
                ("reduction", "(13107200,)", large),
            ],
        ),
        (
            "shorter than announced",
            vec![("input", "(8, 8)", 511), weight, target],
        ),
        ("another folder's", vec![("../input", "(8, 8)", 512)]),
    ]
    .into_iter()
    .map(|(name, members)| (name.to_owned(), archive(&members)))
    .collect();
    let right = archive(&[("input", "(8, 8)", 512)]);
    let cuts = (0..right.len()).step_by(7);
    bodies.extend(cuts.map(|cut| (format!("archive cut at {cut}"), right[..cut].to_vec())));
    bodies
}

#[test]
fn bad_bodies_are_refused_and_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--device", "cpu", "--max-body", "1MB"];
    let data = folder.path().join("data");
    let service = Service::start(&data, &flags);
    let right = small(folder.path());
    let mut bodies = broken(&right);
    bodies.extend(archives());
    let mut refused = 0;
    for (name, body) in &bodies {
        // The library accepts some of them, such as an unknown name for an optional tensor.
        let kind = if body.starts_with(b"PK") {
            "npz"
        } else {
            "safetensors"
        };
        let path = folder.path().join("body").with_extension(kind);
        fs::write(&path, body).unwrap();
        let request = io::Request {
            unpacked: Some(1_000_000),
            ..io::Request::default()
        };
        let is_bad = io::load(&io::Source::File(path), &request)
            .and_then(|inputs| {
                let options = check::Options::default();
                check::validate(&inputs.problem, &inputs.subjects, &options)
            })
            .is_err();
        let answer = service.post("", body);
        assert_eq!(is_bad, answer.status != 202, "{name}: {answer:?}");
        if is_bad {
            assert!((400..500).contains(&answer.status), "{name}: {answer:?}");
            assert!(!answer.detail().contains("spool"), "{name}: {answer:?}");
            refused += 1;
        }
    }
    assert!(
        refused >= 200,
        "only {refused} of {} were bad",
        bodies.len()
    );
    assert_eq!(service.post("wait=60", &right).json()["verdict"], "pass");
    // The accepted ones are short and kept in the database, so the spool folder is empty.
    assert_eq!(fs::read_dir(data.join("spool")).unwrap().count(), 0);
    #[cfg(target_os = "linux")]
    {
        let most = service.peak_memory();
        assert!(most < 128 << 20, "{most} bytes");
    }
}
