//! The form of the sources: the width of a line, and the first word of a comment.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The widest line, in characters. rustfmt breaks neither comments nor strings.
const WIDTH: usize = 100;

/// Words that a comment must not open with: the sentences that begin with them have no subject. A
/// function's documentation opens with a verb, that of a type, a field or a constant with a noun.
const OPENINGS: [&str; 7] = [
    "What ", "Who ", "Whether ", "Where ", "How ", "That ", "So many ",
];

/// Returns the Rust and WGSL files of the project.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["src", "shaders", "tests", "benches", "fuzz/fuzz_targets"] {
        collect(Path::new(folder), &mut files);
    }
    files.sort();
    assert!(files.len() > 200, "only {} files were seen", files.len());
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .extension()
            .is_some_and(|it| it == "rs" || it == "wgsl")
        {
            files.push(path);
        }
    }
}

/// Calls `check` on the lines of every file and fails with the list of those that it returns.
fn no_line(check: impl Fn(&[&str], usize) -> bool) {
    let mut found = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let bad = (0..lines.len()).filter(|&line| check(&lines, line));
        let bad =
            bad.map(|line| format!("{}:{}: {}", path.display(), line + 1, lines[line].trim()));
        found.extend(bad);
    }
    assert!(
        found.is_empty(),
        "{}\n{} lines",
        found.join("\n"),
        found.len()
    );
}

#[test]
fn no_line_is_wider_than_100_columns() {
    no_line(|lines, line| lines[line].chars().count() > WIDTH);
}

#[test]
fn no_comment_opens_without_a_subject() {
    no_line(|lines, line| {
        let opening = comment(lines[line]).filter(|_| {
            let before = line.checked_sub(1).map(|line| lines[line].trim_start());
            !before.is_some_and(|before| before.starts_with("//"))
        });
        opening.is_some_and(|text| OPENINGS.iter().any(|word| text.starts_with(word)))
    });
}

/// Returns the text of a line's comment.
fn comment(line: &str) -> Option<&str> {
    let start = if line.trim_start().starts_with("//") {
        line.find("//")?
    } else {
        // Behind code. A `//` in a string, such as a URL, has no space on both sides.
        line.find(" // ")? + 1
    };
    Some(line[start..].trim_start_matches(['/', '!']).trim_start())
}
