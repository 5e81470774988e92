//! Texts of a finding, and phrases that several rules share.

use crate::{problem::Wrt, report::Ranges};

/// The sentences of a finding.
#[derive(Default)]
pub(super) struct Words {
    /// One sentence that stands alone.
    pub(super) message: String,
    /// Opening of the proof, the operation that undid the cause: "divided by 10".
    pub(super) correction: String,
    /// The change to make.
    pub(super) fix: String,
    /// The run that distinguishes the cause from others that give the same arrays.
    pub(super) test: Option<String>,
}

/// Returns the variable that the gradient belongs to, as a PyTorch program would name it.
pub(super) fn variable(wrt: Wrt) -> &'static str {
    match wrt {
        Wrt::Input => "x",
        Wrt::Logits => "logits",
        Wrt::Weight => "layer.weight",
        Wrt::Bias => "layer.bias",
    }
}

/// Returns the noun for a row of the gradient.
pub(super) fn row(wrt: Wrt) -> &'static str {
    if wrt.is_parameter() { "class" } else { "row" }
}

/// Returns the noun with its numbers: `row 3`, `rows 3 and 7`.
pub(super) fn counted(noun: &str, numbers: &Ranges) -> String {
    if numbers.len() == 1 {
        format!("{noun} {numbers}")
    } else {
        format!("{} {numbers}", plural(noun))
    }
}

/// Returns the plural of a noun: `rows`, `classes`.
pub(super) fn plural(noun: &str) -> String {
    match noun {
        "class" => "classes".to_owned(),
        noun => format!("{noun}s"),
    }
}

/// Formats a number with at most four significant digits: 10, 0.3333, 65,536, 1.500e-7.
pub(super) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e15 || (magnitude > 0.0 && magnitude < 1e-3) {
        return format!("{value:.3e}");
    }
    if (value - value.round()).abs() <= 1e-9 * magnitude || magnitude >= 1e4 {
        return grouped(value);
    }
    let digits = (3 - magnitude.log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Formats an integer with separators: 65,536.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let sign = if value < 0.0 { "-" } else { "" };
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<&str> = groups
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    sign.to_owned() + &groups.join(",")
}

/// Formats a number with two significant digits: 7.6, 0.011, 130.
pub(super) fn significant(value: f64) -> String {
    let magnitude = value.abs();
    if !(1e-3..1e5).contains(&magnitude) {
        return format!("{value:.1e}");
    }
    let digits = (1 - magnitude.log10().floor() as i32).max(0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short() {
        let numbers = [
            10.0,
            1.0 / 3.0,
            9.9567,
            65536.0,
            1.5e-7,
            0.25,
            137.3,
            12345.678,
        ];
        let texts = numbers.map(number);
        assert_eq!(
            texts,
            [
                "10", "0.3333", "9.957", "65,536", "1.500e-7", "0.25", "137.3", "12,346"
            ]
        );
    }
}
