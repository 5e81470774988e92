//! Objects behind HTTP: the bytes that are fetched, and what is said when none can be.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use gradprobe::{
    check::{Options, check},
    device::Device,
    io::{self, Request, Source},
    parts::{Case, Index},
    report::Ranges,
    tensor::Tensor,
};

const CPU: Device = Device::Cpu { note: None };
const N: usize = 512;
const D: usize = 64;

/// The conduct of a server of one file.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    /// Sends ranges.
    Right,
    /// Sends the whole file, whatever is asked.
    WithoutRanges,
    /// Has another version of the file for each request.
    Changing,
    /// Sends half of each range, and closes the connection.
    Broken,
}

/// Serves a file on a port of its own. Returns its address, and the count of bytes sent.
fn serve(file: Vec<u8>, server: Server) -> (PathBuf, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/case.safetensors", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    std::thread::spawn(move || {
        for (version, stream) in listener.incoming().enumerate() {
            let _ = answer(stream.unwrap(), &file, server, version, &count);
        }
    });
    (address.into(), sent)
}

/// Answers one request, and closes the connection.
fn answer(
    mut stream: TcpStream,
    file: &[u8],
    server: Server,
    version: usize,
    sent: &AtomicUsize,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?.to_lowercase();
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_owned(), value.to_owned());
    }
    let version = if server == Server::Changing {
        version
    } else {
        0
    };
    let tag = format!("\"{version}\"");
    if !request.contains("/case.safetensors") {
        return write!(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        );
    }
    if headers.get("if-match").is_some_and(|wanted| *wanted != tag) {
        let head = "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0";
        return write!(stream, "{head}\r\n\r\n");
    }
    let bounds = headers.get("range").and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
    });
    let bounds = bounds.filter(|_| server != Server::WithoutRanges);
    let (status, body) = match bounds {
        Some((first, last)) => ("206 Partial Content", &file[first..=last]),
        None => ("200 OK", file),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nETag: {tag}\r\nContent-Length: {}\r\n\
         Last-Modified: Sun, 01 Nov 2026 00:00:00 GMT\r\n",
        body.len()
    )?;
    if let Some((first, last)) = bounds {
        let all = file.len();
        write!(stream, "Content-Range: bytes {first}-{last}/{all}\r\n")?;
    }
    write!(stream, "\r\n")?;
    if request.starts_with("GET") {
        let end = if server == Server::Broken {
            body.len() / 2
        } else {
            body.len()
        };
        stream.write_all(&body[..end])?;
        sent.fetch_add(end, Ordering::Relaxed);
    }
    Ok(())
}

/// Returns a file with a gradient of zeros, which is wrong.
fn file(folder: &Path) -> PathBuf {
    let values = |shape: &[usize]| {
        let values =
            (0..shape.iter().product()).map(|i: usize| ((i * 37) % 101) as f64 / 50.0 - 1.0);
        Tensor::from_f64(shape, &values.collect::<Vec<_>>())
    };
    let tensors = [
        ("input", values(&[N, D])),
        ("weight", values(&[3, D])),
        ("target", Tensor::from_classes(&vec![1; N])),
        ("grad", Tensor::from_f64(&[N, D], &vec![0.0; N * D])),
    ];
    let path = folder.join("case.safetensors");
    let tensors = tensors.map(|(name, tensor)| (name.to_owned(), tensor));
    io::save_tensors(&path, &BTreeMap::from(tensors), &[]).unwrap();
    path
}

#[test]
fn an_object_is_checked_like_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path());
    let (url, sent) = serve(std::fs::read(&path).unwrap(), Server::Right);
    let report = |path: PathBuf| {
        let inputs = io::load(&Source::File(path), &Request::default()).unwrap();
        let options = Options::default();
        let report = check(&inputs.problem, &inputs.subjects, &options, &CPU, &mut ());
        report.unwrap().checks.remove(0)
    };
    let (there, here) = (report(url), report(path.clone()));
    assert_eq!((there.wrong, there.verdict), (here.wrong, here.verdict));
    let length = std::fs::metadata(path).unwrap().len() as usize;
    // No byte is fetched twice; the padding between tensors need not be fetched.
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent <= length && sent + 64 > length, "{sent} of {length}");
}

#[test]
fn only_the_rows_of_a_part_are_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path());
    let bytes = std::fs::read(&path).unwrap();
    let of_rows = 2 * N * D * size_of::<f64>();
    let (url, sent) = serve(bytes, Server::Right);
    let mut index = Index::of_files(vec![url], None).unwrap();
    index.unit_rows = N / 8;
    let case = Case::new(index, Request::default(), Options::default()).unwrap();
    let before = sent.load(Ordering::Relaxed);
    let partial = case.run(3..4, &CPU, &mut ()).unwrap();
    assert_eq!(partial.rows, Ranges::from(N / 8 * 3..N / 8 * 4));
    let fetched = sent.load(Ordering::Relaxed) - before;
    // Header, targets and weight besides, all in the first request or a little more.
    let most = of_rows / 8 + (16 << 10) + N * size_of::<i64>() + 3 * D * size_of::<f64>();
    assert!(fetched <= most, "{fetched} of {of_rows}");
    // The report needs the rows of the part and no other.
    let report = case.finish(partial, &CPU).unwrap();
    assert!(report.interrupted);
}

#[test]
fn what_cannot_be_fetched_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(file(folder.path())).unwrap();
    let failure = |path: PathBuf| {
        let loaded = io::load(&Source::File(path), &Request::default());
        loaded.unwrap_err().to_string()
    };
    for (server, reason) in [
        (
            Server::WithoutRanges,
            "its server cannot send ranges of a file",
        ),
        (Server::Changing, "the object changed while it was read"),
        (Server::Broken, "case.safetensors"),
    ] {
        let (url, _) = serve(bytes.clone(), server);
        let message = failure(url);
        assert!(message.contains(reason), "{message}");
    }
    let (url, _) = serve(bytes, Server::Right);
    let missing = url.to_string_lossy().replace("case", "none");
    assert!(failure(missing.into()).ends_with("there is no such object"));
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let message = failure(format!("http://{closed}/case.npz").into());
    assert!(
        message.starts_with("cannot read http://127.0.0.1:"),
        "{message}"
    );
}
