//! Numbers as people read them.

/// Returns `12 of 40 entries (30 %)`, `all 40 entries` or `the only entry`.
pub fn counted(count: u64, all: u64) -> String {
    if count == all {
        return match all {
            1 => "the only entry".to_owned(),
            all => format!("all {} entries", group(all)),
        };
    }
    let percent = 100.0 * count as f64 / all as f64;
    let percent = match percent {
        p if p < 0.1 => "under 0.1 %".to_owned(),
        p if p < 10.0 => format!("{p:.1} %"),
        // Some entries are left, so never 100 %.
        p => format!("{:.0} %", p.min(99.0)),
    };
    format!("{} of {} entries ({percent})", group(count), group(all))
}

/// Returns a number that supports a cause: a percentage if its name begins with `share`.
pub fn measured(name: &str, number: f64) -> String {
    if name.starts_with("share") {
        format!("{} %", rounded((1000.0 * number).round() / 10.0))
    } else {
        rounded(number)
    }
}

/// Returns 0.9 as `0.900` and 0.00001 as `1.0e-5`.
pub fn short(number: f64) -> String {
    if number < 1e-3 {
        format!("{number:.1e}")
    } else {
        format!("{number:.3}")
    }
}

/// Returns a number with two to four digits: `9.957`, `0.019`, `2.1e-8`, `1.2e6`. A number near 1
/// has as many as distinguish it from 1: `0.999993`.
pub fn rounded(number: f64) -> String {
    let magnitude = number.abs();
    let from_one = (magnitude - 1.0).abs();
    if (1e-9..1e-3).contains(&from_one) {
        let digits = (-from_one.log10()).ceil() as usize;
        return format!("{number:.digits$}");
    }
    let text = match magnitude {
        0.0 => return "0".to_owned(),
        m if !(1e-3..1e5).contains(&m) => return format!("{number:.1e}"),
        m if m >= 100.0 => {
            let sign = if number < 0.0 { "-" } else { "" };
            return sign.to_owned() + &group(m.round() as u64);
        }
        m if m >= 1.0 => format!("{number:.3}"),
        _ => format!("{number:.4}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns 1234567 as `1,234,567`.
pub fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped_and_counts_have_shares() {
        assert_eq!(group(999), "999");
        assert_eq!(group(1_234_567), "1,234,567");
        assert_eq!(counted(40, 40), "all 40 entries");
        assert_eq!(counted(1, 10_000), "1 of 10,000 entries (under 0.1 %)");
        assert_eq!(counted(1200, 10_000), "1,200 of 10,000 entries (12 %)");
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!(measured("share of zeros", 1.0), "100 %");
        assert_eq!(measured("share of zeros", 0.1234), "12.3 %");
        assert_eq!(measured("zeros", 1.0), "1");
    }

    #[test]
    fn numbers_near_one_are_told_from_one() {
        let texts = [0.999_993, 1.000_4, 1.0, 0.95, -0.999_95].map(rounded);
        assert_eq!(texts, ["0.999993", "1.0004", "1", "0.95", "-0.99995"]);
        let texts = [51_281.4, 137.3, -2345.6, 9.957, 0.0].map(rounded);
        assert_eq!(texts, ["51,281", "137", "-2,346", "9.957", "0"]);
    }
}
