//! The words of a command line: from settings to flags, and from clap's errors to one line.

/// Returns names and values as flags.
pub(crate) fn flags(pairs: &[(String, String)]) -> impl Iterator<Item = String> {
    let pairs = pairs.iter();
    pairs.map(|(name, value)| format!("--{}={value}", flag(name)))
}

/// Returns a setting's flag without its dashes. In a URL the name may be spelt as in Python.
pub(super) fn flag(name: &str) -> String {
    name.replace('_', "-")
}

/// Returns a clap error, which has several paragraphs, as one line: the error and clap's tips.
pub(crate) fn in_a_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let first = paragraphs.next().unwrap_or_default();
    let mut line = first.trim_start_matches("error: ").to_owned();
    for tip in paragraphs.filter_map(|it| it.strip_prefix("tip: ").map(str::to_owned)) {
        line += &format!("; {tip}");
    }
    line
}

/// Returns a command line for a POSIX shell: `gradprobe` and its arguments, quoted where needed.
pub(crate) fn command_line(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let quoted = |word: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
        if !word.is_empty() && word.chars().all(is_plain) {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    let words = words.into_iter().map(|word| quoted(word.as_ref()));
    std::iter::once("gradprobe".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}
