//! Query strings: names and values, each name once.

use std::{fmt::Display, time::Duration};

use super::{job::State, refusal::Refusal};
use crate::{
    report::Verdict,
    settings::{LONGEST_NAME, Settings},
};

/// Jobs in one page of the list, by default. Chosen.
pub(super) const DEFAULT_LIMIT: usize = 50;
/// Jobs in one page of the list, at most. Chosen.
pub(super) const MAX_LIMIT: usize = 1000;

/// Seconds that a request may wait for its report, at most. Chosen.
pub(super) const MAX_WAIT: f64 = 300.0;

/// Splits a query string into names and values.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs.into_owned().collect()
}

/// Parameters of a request for a check.
pub(super) struct CheckRequest {
    /// Time to wait for the report before the answer.
    pub(super) wait: Option<Duration>,
    /// Name of the job.
    pub(super) name: Option<String>,
    pub(super) settings: Settings,
    /// Part of the query string that holds the settings.
    pub(super) query: String,
}

impl CheckRequest {
    /// Parses the query string.
    ///
    /// # Errors
    /// 400 for an unknown setting or an impossible value.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut pairs = pairs(query);
        let wait = take(&mut pairs, "wait")?.map(|value| {
            let seconds = value.parse().ok();
            let seconds = seconds.filter(|it| (0.0..=MAX_WAIT).contains(it));
            let expected = format_args!("a number of seconds from 0 to {MAX_WAIT}");
            let seconds = seconds.ok_or_else(|| invalid("wait", &value, expected));
            seconds.map(Duration::from_secs_f64)
        });
        let wait = wait.transpose()?;
        let name = take(&mut pairs, "name")?.filter(|name| !name.is_empty());
        if let Some(name) = &name {
            if name.chars().count() > LONGEST_NAME {
                let detail = format!("name is longer than {LONGEST_NAME} characters");
                return Err(Refusal::bad_request(detail));
            }
            if name.contains(char::is_control) {
                return Err(Refusal::bad_request("name contains a control character"));
            }
        }
        let settings = Settings::parse(&pairs)?;
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&pairs)
            .finish();
        Ok(Self {
            wait,
            name,
            settings,
            query,
        })
    }
}

/// Parameters of a request for the list of jobs.
pub(super) struct ListRequest {
    /// State of the jobs to list. `None` lists all.
    pub(super) state: Option<State>,
    /// Verdict of the jobs to list. `None` lists all.
    pub(super) verdict: Option<Verdict>,
    /// Largest number of jobs.
    pub(super) limit: usize,
    /// Start of the page: the `next` of the previous page.
    pub(super) cursor: Option<i64>,
}

impl ListRequest {
    /// Parses the query string.
    ///
    /// # Errors
    /// 400 for an unknown parameter or an impossible value.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut pairs = pairs(query);
        let state = take(&mut pairs, "state")?.map(|value| {
            let states = State::ALL.map(State::name).join(", ");
            let expected = format_args!("one of {states}");
            State::named(&value).ok_or_else(|| invalid("state", &value, expected))
        });
        let verdict = take(&mut pairs, "verdict")?.map(|value| {
            let verdict = serde_json::from_value(value.as_str().into());
            verdict.map_err(|_| invalid("verdict", &value, "one of pass, inconclusive, fail"))
        });
        let limit = take(&mut pairs, "limit")?.map(|value| {
            let limit = value.parse().ok();
            let limit = limit.filter(|it| (1..=MAX_LIMIT).contains(it));
            let expected = format_args!("a number from 1 to {MAX_LIMIT}");
            limit.ok_or_else(|| invalid("limit", &value, expected))
        });
        let cursor = take(&mut pairs, "cursor")?.map(|value| {
            let cursor = value.parse().ok().filter(|it| *it > 0);
            cursor.ok_or_else(|| invalid("cursor", &value, "the `next` of the page before"))
        });
        if let Some((name, _)) = pairs.first() {
            let detail =
                format!("unknown parameter '{name}'; expected state, verdict, limit or cursor");
            return Err(Refusal::bad_request(detail));
        }
        Ok(Self {
            state: state.transpose()?,
            verdict: verdict.transpose()?,
            limit: limit.transpose()?.unwrap_or(DEFAULT_LIMIT),
            cursor: cursor.transpose()?,
        })
    }
}

/// Removes a name from a query and returns its value.
fn take(pairs: &mut Vec<(String, String)>, name: &str) -> Result<Option<String>, Refusal> {
    let mut values = pairs.extract_if(.., |(key, _)| key == name);
    let value = values.next().map(|(_, value)| value);
    if values.next().is_some() {
        return Err(Refusal::bad_request(format!("{name} is given twice")));
    }
    Ok(value)
}

fn invalid(name: &str, value: &str, expected: impl Display) -> Refusal {
    Refusal::bad_request(format!("{name} is '{value}'; expected {expected}"))
}
