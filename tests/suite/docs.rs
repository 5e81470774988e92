//! The documentation against the program: the catalogue of causes, and the report in the README.

use std::{collections::BTreeSet, fs};

/// Returns the kebab-case names of the enum of causes, as the report writes them.
fn codes() -> BTreeSet<String> {
    let source = fs::read_to_string("src/report/code.rs").unwrap();
    let start = source.find("pub enum Code {").unwrap();
    let body = &source[start..start + source[start..].find("\n}").unwrap()];
    let variants = body.lines().filter_map(|line| {
        let name = line.trim().strip_suffix(',')?;
        name.chars().all(char::is_alphanumeric).then_some(name)
    });
    variants.map(kebab).collect()
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for (place, c) in name.char_indices() {
        if c.is_uppercase() && place > 0 {
            kebab.push('-');
        }
        kebab.extend(c.to_lowercase());
    }
    kebab
}

#[test]
fn every_cause_is_documented_and_no_other() {
    let page = fs::read_to_string("docs/diagnoses.md").unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<String> = rows
        .map(|row| row.split('`').next().unwrap().to_owned())
        .collect();
    let codes = codes();
    assert!(codes.len() > 40, "{codes:?}");
    assert_eq!(documented, codes);
}

/// Returns the first fenced block after `opening`, with every run of white space as one space: the
/// README wraps lines.
fn block(text: &str, opening: &str) -> String {
    let start = text.find(opening).unwrap() + opening.len();
    let end = start + text[start..].find("```").unwrap();
    let words: Vec<&str> = text[start..end].split_whitespace().collect();
    words.join(" ")
}

/// Returns true if `text` is `pattern`, in which `[..]` stands for any characters.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split("[..]");
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap()) else {
        return false;
    };
    for part in parts {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.is_empty() || pattern.ends_with("[..]")
}

/// The README shows the first lines of a report, with real numbers, which differ in their last
/// digits from machine to machine. tests/cli/readme.trycmd runs the same command and marks those
/// digits.
#[test]
fn the_report_in_the_readme_is_the_one_that_is_tested() {
    let readme = fs::read_to_string("README.md").unwrap();
    let tested = fs::read_to_string("tests/cli/readme.trycmd").unwrap();
    let tested = block(&tested, "```\n");
    let (command, tested) = tested.split_once(" ? 1 ").unwrap();
    let command = command.trim_start_matches("$ ");
    let behind = readme.find("from the command line").unwrap();
    let words: Vec<&str> = readme[behind..].split_whitespace().collect();
    assert!(words.join(" ").contains(command), "{command}");
    let shown = block(&readme[behind..], "```text\n");
    let (first, _) = tested.split_once(" tried ").unwrap();
    assert!(is_like(&shown, first), "{shown}\n{first}");
}
