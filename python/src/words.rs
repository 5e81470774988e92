//! The library's words for Python: keywords in place of flags, the call in place of the file.

/// Words that follow a flag as its value.
const VALUES: [&str; 16] = [
    "cpu",
    "gpu",
    "software",
    "auto",
    "host",
    "device",
    "sum",
    "mean",
    "kd",
    "dk",
    "f16",
    "bf16",
    "f32",
    "f64",
    "difference",
    "forward-pass",
];

/// Returns the text with `--flag value` as `flag=value`. If `is_call` is set, the arrays came from a
/// call and not from a file.
pub(crate) fn in_python(text: &str, is_call: bool) -> String {
    let mut python = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("--") {
        let (before, flag) = rest.split_at(at);
        python += before;
        let is_start = !before.ends_with(|c: char| c.is_alphanumeric() || c == '-');
        let name = flag[2..]
            .split(|c: char| !c.is_ascii_lowercase() && c != '-')
            .next();
        let name = name.unwrap_or_default().trim_end_matches('-');
        if name.is_empty() || !is_start {
            python += "--";
            rest = &flag[2..];
            continue;
        }
        python += &name.replace('-', "_");
        rest = without_placeholder(&flag[2 + name.len()..]);
        if let Some((value, after)) = value(rest) {
            let is_number = value.parse::<f64>().is_ok();
            python += &if is_number {
                format!("={value}")
            } else {
                format!("=\"{value}\"")
            };
            rest = after;
        }
    }
    python += rest;
    if is_call {
        python = python.replace("the file", "the call");
    }
    python
}

/// Drops the placeholder of a value, such as ` <mean|sum>`.
fn without_placeholder(text: &str) -> &str {
    match text
        .strip_prefix(" <")
        .and_then(|rest| rest.split_once('>'))
    {
        Some((_, after)) => after,
        None => text,
    }
}

/// Splits the value of a flag from the text behind the flag, if there is one.
fn value(text: &str) -> Option<(&str, &str)> {
    let behind = text.strip_prefix([' ', '='])?;
    let end = behind
        .find([' ', ',', ';', ')', '\n'])
        .unwrap_or(behind.len());
    let word = behind[..end].trim_end_matches('.');
    let is_value = VALUES.contains(&word) || word.parse::<f64>().is_ok();
    is_value.then(|| (word, &behind[word.len()..]))
}
