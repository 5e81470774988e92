//! The places of the wrong entries, as lists and in words.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::{Ranges, WrongPlaces, ranges};
use crate::number;
use crate::problem::{Layout, Wrt};

/// The most classes that are listed, as for the ranges of rows and columns.
const CLASSES: usize = 100;
/// The most rows or columns that are named by several axes in words. Chosen.
const NAMED: usize = 3;
/// The most columns that are listed with their counts. Chosen.
const COLUMNS: usize = 10;

/// The places of the wrong entries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// The places in words: "only in rows with target 3", "only in rows 2 to 5, columns 1 and 3".
    pub text: String,
    /// The rows with a wrong entry.
    pub rows: Affected,
    /// The columns with a wrong entry.
    pub columns: Affected,
    /// The ten columns with the most wrong entries, the worst first.
    pub most: Vec<WrongColumn>,
    /// The first hundred target classes whose rows have a wrong entry.
    pub classes: Vec<WrongClass>,
}

/// The rows or the columns that have a wrong entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affected {
    /// Rows or columns with a wrong entry.
    pub wrong: usize,
    /// Rows or columns that were compared.
    pub of: usize,
    /// Their indices; JSON has the first hundred ranges.
    #[serde(with = "ranges::first_hundred")]
    pub ranges: Ranges,
}

/// The wrong entries of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WrongColumn {
    /// The column.
    pub column: usize,
    /// Wrong entries.
    pub wrong: u64,
    /// Wrong entries as a share of the column's entries.
    #[serde(with = "number")]
    pub share: f64,
}

/// The wrong entries in the rows of one target class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WrongClass {
    /// The class.
    pub class: usize,
    /// Wrong entries.
    pub wrong: u64,
    /// Wrong entries as a share of the entries of these rows.
    #[serde(with = "number")]
    pub share: f64,
}

impl Location {
    /// Returns the location of the wrong `places` in the compared part of a gradient, [rows,
    /// columns], whose places in words are those of `layout`.
    pub fn new(
        wrt: Wrt,
        layout: Option<&Layout>,
        [rows, columns]: [usize; 2],
        places: &WrongPlaces,
    ) -> Self {
        let share = |wrong: u64, all: u64| wrong as f64 / all as f64;
        let counts = places.columns.iter().enumerate();
        let mut most: Vec<WrongColumn> = counts
            .filter(|(_, wrong)| **wrong > 0)
            .map(|(column, &wrong)| WrongColumn {
                column,
                wrong,
                share: share(wrong, rows as u64),
            })
            .collect();
        most.sort_by_key(|column| Reverse(column.wrong));
        most.truncate(COLUMNS);
        let classes = places.classes.iter().enumerate();
        Self {
            text: in_words(wrt, layout, [rows, columns], places),
            rows: Affected::new(places.rows.clone(), rows),
            columns: Affected::new(places.wrong_columns(), columns),
            most,
            classes: classes
                .filter(|(_, [wrong, _])| *wrong > 0)
                .take(CLASSES)
                .map(|(class, &[wrong, all])| WrongClass {
                    class,
                    wrong,
                    share: share(wrong, all),
                })
                .collect(),
        }
    }
}

impl Affected {
    fn new(ranges: Ranges, of: usize) -> Self {
        Self {
            wrong: ranges.len(),
            of,
            ranges,
        }
    }
}

/// Returns the noun for a column of the matrix that is checked. In a transposed weight, [d, k], the
/// columns of the file are classes.
pub fn column_noun(layout: Option<&Layout>) -> &'static str {
    if layout.is_some_and(Layout::is_transposed) {
        "feature"
    } else {
        "column"
    }
}

fn in_words(
    wrt: Wrt,
    layout: Option<&Layout>,
    [rows, columns]: [usize; 2],
    places: &WrongPlaces,
) -> String {
    let classes = places.wrong_classes();
    let few_classes = 2 * classes.len() <= places.classes_met();
    let by_class = few_classes && !classes.is_empty() && places.rows.len() > classes.len();
    let row_name = |row: usize| layout.map_or_else(|| row.to_string(), |it| it.row_name(row));
    let of_rows = if wrt.is_parameter() {
        restriction("class", "classes", &places.rows, rows, &|class| {
            class.to_string()
        })
    } else if by_class {
        Some(format!("only in rows with target {classes}"))
    } else {
        restriction("row", "rows", &places.rows, rows, &row_name)
    };
    let of_columns = if wrt == Wrt::Bias {
        None
    } else {
        let noun = column_noun(layout);
        let name = |column| layout.map_or_else(|| format!("{column}"), |it| it.column_name(column));
        let wrong = places.wrong_columns();
        restriction(noun, &format!("{noun}s"), &wrong, columns, &name)
    };
    match (of_rows, of_columns) {
        (None, None) => "everywhere".to_owned(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(rows), Some(columns)) => {
            format!("{rows}, {}", columns.trim_start_matches("only in "))
        }
    }
}

/// Returns `only in rows 3 and 7` or `in 998 of 1000 rows`, or `None` if the set holds all indices.
/// A few indices have the names that `name` returns.
fn restriction(
    one: &str,
    many: &str,
    set: &Ranges,
    all: usize,
    name: &dyn Fn(usize) -> String,
) -> Option<String> {
    let names = || set.iter().map(name).collect::<Vec<String>>();
    match set.len() {
        count if count == all => None,
        1 => Some(format!("only in {one} {}", names().concat())),
        count if count <= NAMED && names().concat().contains('[') => {
            Some(format!("only in {many} {}", names().join(" and ")))
        }
        count if 2 * count <= all || set.ranges().len() <= 2 => {
            Some(format!("only in {many} {set}"))
        }
        count => Some(format!("in {count} of {all} {many}")),
    }
}
