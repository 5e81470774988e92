//! What a query says: names and values, each name once.

use std::time::Duration;

use axum::http::StatusCode;

use super::{job::State, refusal::Refusal};
use crate::settings::{LONGEST_NAME, Settings};

// Jobs of a list, unless it is said.
const LISTED: usize = 50;
/// At most.
pub(super) const MOST_LISTED: usize = 1000;

/// The longest that a request waits for its report, in seconds.
pub(super) const LONGEST_WAIT: f64 = 300.0;

/// The names and values of a query.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs.into_owned().collect()
}

/// What is asked of a check.
pub(super) struct Asked {
    /// How long its report is waited for.
    pub(super) wait: Option<Duration>,
    /// What the client calls it.
    pub(super) name: Option<String>,
    /// How it is done, and the part of the query that says so.
    pub(super) settings: Settings,
    pub(super) query: String,
}

impl Asked {
    /// # Errors
    /// 400 for what is no setting, or has no such value.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut pairs = pairs(query);
        let wait = take(&mut pairs, "wait")?.map(|value| {
            let seconds = value.parse::<f64>().ok();
            let seconds = seconds.filter(|it| (0.0..=LONGEST_WAIT).contains(it));
            let expected = || format!("a number of seconds from 0 to {LONGEST_WAIT}");
            let seconds = seconds.ok_or_else(|| wrong("wait", &value, &expected()));
            seconds.map(Duration::from_secs_f64)
        });
        let wait = wait.transpose()?;
        let name = take(&mut pairs, "name")?.filter(|name| !name.is_empty());
        if name
            .as_ref()
            .is_some_and(|name| name.chars().count() > LONGEST_NAME)
        {
            let detail = format!("name is longer than {LONGEST_NAME} characters");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, detail));
        }
        if name
            .as_ref()
            .is_some_and(|name| name.contains(char::is_control))
        {
            let detail = "name has a character that cannot be printed";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, detail));
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

/// What is asked of a list.
pub(super) struct Listing {
    /// Of which jobs; of all where it is not said.
    pub(super) state: Option<State>,
    /// How many at most.
    pub(super) limit: usize,
    /// Where to go on.
    pub(super) cursor: Option<i64>,
}

impl Listing {
    /// # Errors
    /// 400 for what is no parameter, or has no such value.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut pairs = pairs(query);
        let state = take(&mut pairs, "state")?.map(|value| {
            let states = || format!("one of {}", State::ALL.map(State::name).join(", "));
            State::named(&value).ok_or_else(|| wrong("state", &value, &states()))
        });
        let limit = take(&mut pairs, "limit")?.map(|value| {
            let limit = value.parse().ok();
            let limit = limit.filter(|it| (1..=MOST_LISTED).contains(it));
            limit.ok_or_else(|| wrong("limit", &value, &format!("1 to {MOST_LISTED}")))
        });
        let cursor = take(&mut pairs, "cursor")?.map(|value| {
            let cursor = value.parse().ok().filter(|it| *it > 0);
            cursor.ok_or_else(|| wrong("cursor", &value, "the next of the part before"))
        });
        if let Some((name, _)) = pairs.first() {
            let detail = format!("there is no parameter '{name}'; there are state, limit, cursor");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, detail));
        }
        Ok(Self {
            state: state.transpose()?,
            limit: limit.transpose()?.unwrap_or(LISTED),
            cursor: cursor.transpose()?,
        })
    }
}

/// Takes the value of a name out of a query.
fn take(pairs: &mut Vec<(String, String)>, name: &str) -> Result<Option<String>, Refusal> {
    let mut values = pairs.extract_if(.., |(key, _)| key == name);
    let value = values.next().map(|(_, value)| value);
    match values.next() {
        Some(_) => {
            let detail = format!("{name} is given twice");
            Err(Refusal::new(StatusCode::BAD_REQUEST, detail))
        }
        None => Ok(value),
    }
}

fn wrong(name: &str, value: &str, expected: &str) -> Refusal {
    let detail = format!("{name} is '{value}', but it must be {expected}");
    Refusal::new(StatusCode::BAD_REQUEST, detail)
}
