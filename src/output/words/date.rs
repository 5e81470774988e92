//! Dates.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Returns the date and the minute in universal time, as in `28 November 2026, 19:20 UTC`.
pub fn date(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let minutes = since.as_secs() / 60;
    let [year, month, day] = day(minutes / 1440);
    let month = MONTHS[month as usize - 1];
    let [hour, minute] = [minutes / 60 % 24, minutes % 60];
    format!("{day} {month} {year}, {hour:02}:{minute:02} UTC")
}

/// Returns the year, the month and the day of a number of days since 1970, by H. Hinnant's
/// `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>): years begin in
/// March, so that the leap day is the last one, and 400 years have 146,097 days.
fn day(since_1970: u64) -> [u64; 3] {
    let days = since_1970 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let month = (from_march + 2) % 12 + 1;
    let year = 400 * era + year + u64::from(month <= 2);
    [year, month, day - (153 * from_march + 2) / 5 + 1]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn leap_days_are_counted() {
        assert_eq!(day(0), [1970, 1, 1]);
        assert_eq!(day(11_016), [2000, 2, 29]);
        assert_eq!(day(11_017), [2000, 3, 1]);
        assert_eq!(day(20_785), [2026, 11, 28]);
        assert_eq!(day(47_540), [2100, 2, 28]);
        assert_eq!(day(47_541), [2100, 3, 1]);
    }

    #[test]
    fn a_date_has_the_minute() {
        let time = UNIX_EPOCH + Duration::from_secs(20_785 * 86_400 + 3600 + 119);
        assert_eq!(date(time), "28 November 2026, 01:01 UTC");
    }
}
