//! A map of the errors over rows and columns.

use super::svg::{FRAME, Figure, Svg, power};
use crate::{
    output::words::{group, rounded},
    problem::Wrt,
    report::{Cell, Check, Picture},
};

const TITLE: &str = "Errors over rows and columns";
/// The most classes of wrong cells. Chosen: so many shades can be told apart.
const MOST_CLASSES: i32 = 5;
/// The share of cells in one class of wrong cells from which a sentence replaces the map, and the
/// share of right cells that it may leave out. Chosen.
const UNIFORM: [f64; 2] = [0.95, 0.01];
/// The most regions with a text under the pointer, down and across. Chosen: a text has about a
/// hundred bytes.
const REGIONS: [usize; 2] = [16, 24];

/// The classes of cells, from right to the worst.
struct Classes {
    /// The powers of ten of severity at the upper ends of the classes of wrong cells.
    ends: Vec<i32>,
}

/// The class of a cell.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Unseen,
    Right,
    /// Wrong, in a class of [`Classes::ends`].
    Wrong(usize),
    /// Infinitely wrong: NaN or infinite, or in a place where no error is allowed.
    Infinite,
}

pub(super) fn figure(name: &str, check: &Check, picture: &Picture) -> Figure {
    let classes = Classes::new(picture);
    let cells = || picture.map.iter().map(|cell| classes.of(cell));
    let seen = cells().filter(|class| *class != Class::Unseen).count();
    let count = |class: Class| cells().filter(|it| *it == class).count();
    if picture.map.iter().all(|cell| cell.wrong == 0) {
        return Figure::sentence(TITLE, none_is_wrong(check));
    }
    let all = classes.all();
    let share = |class: Class| count(class) as f64 / seen as f64;
    let wrong = all.iter().filter(|class| **class != Class::Right);
    let uniform = wrong.copied().find(|class| share(*class) > UNIFORM[0]);
    if let Some(class) = uniform.filter(|_| share(Class::Right) < UNIFORM[1]) {
        return Figure::sentence(TITLE, classes.everywhere(class, count(class) == seen));
    }
    let mut svg = Svg::new(&format!("{name}-map"), TITLE, &description(check, picture));
    let [down, across] = picture.bins;
    let mut legend = Vec::new();
    for class in all.into_iter().filter(|class| count(*class) > 0) {
        svg.cells(
            &classes.style(class),
            [down, across],
            &runs(picture, |cell| classes.of(cell) == class),
        );
        legend.push((classes.style(class), classes.name(class)));
    }
    svg.hovers(&hovers(picture));
    svg.frame();
    let [left, top, right, bottom] = FRAME;
    let [last_row, last_column] = picture.shape.map(|count| group(count as u64 - 1));
    svg.label([left, bottom + 15.0], "start", "0");
    svg.label([right, bottom + 15.0], "end", &last_column);
    svg.label([left - 5.0, top + 10.0], "end", "0");
    svg.label([left - 5.0, bottom], "end", &last_row);
    svg.x_label("column");
    svg.y_label(match check.wrt {
        Wrt::Weight | Wrt::Bias => "row (class)",
        Wrt::Input | Wrt::Logits => "row (sample)",
    });
    svg.legend(&legend);
    let place = check.location.as_ref().map(|location| &location.text);
    let place = place.map_or(String::new(), |place| {
        format!("Entries are wrong {place}. ")
    });
    svg.figure(format!(
        "{place}A cell shows its largest error, as a multiple of the allowed error."
    ))
}

/// Returns the sentence on a gradient without a wrong entry.
fn none_is_wrong(check: &Check) -> String {
    let worst = check.worst.first().map(|worst| {
        let severity = rounded(worst.severity());
        let place = check.place(worst);
        format!(" The largest error is {severity} times the allowed one, at {place}.")
    });
    format!("No entry is wrong.{}", worst.unwrap_or_default())
}

impl Classes {
    fn new(picture: &Picture) -> Self {
        let severities = picture.map.iter().map(|cell| cell.severity);
        let severities = severities.filter(|severity| severity.is_finite());
        let decades = severities.fold(10.0, f64::max).log10().ceil() as i32;
        let count = decades.min(MOST_CLASSES);
        Self {
            ends: (1..=count).map(|i| decades * i / count).collect(),
        }
    }

    /// Returns all classes, the palest first.
    fn all(&self) -> Vec<Class> {
        let wrong = (0..self.ends.len()).map(Class::Wrong);
        let ends = [Class::Unseen, Class::Right];
        ends.into_iter()
            .chain(wrong)
            .chain([Class::Infinite])
            .collect()
    }

    fn of(&self, cell: &Cell) -> Class {
        match cell {
            Cell { entries: 0, .. } => Class::Unseen,
            Cell { wrong: 0, .. } => Class::Right,
            Cell { severity, .. } if !severity.is_finite() => Class::Infinite,
            Cell { severity, .. } => {
                let ends = self.ends.iter();
                let class = ends.take_while(|end| 10f64.powi(**end) < *severity).count();
                Class::Wrong(class.min(self.ends.len() - 1))
            }
        }
    }

    /// Returns the style of a class.
    fn style(&self, class: Class) -> String {
        match class {
            Class::Unseen => "unseen".to_owned(),
            Class::Right => "right rare".to_owned(),
            Class::Wrong(class) => {
                let shade = (class + 1) * MOST_CLASSES as usize / self.ends.len();
                format!("wrong shade-{shade}")
            }
            Class::Infinite => "infinite".to_owned(),
        }
    }

    /// Returns the name of a class in the legend.
    fn name(&self, class: Class) -> String {
        match class {
            Class::Unseen => "not checked".to_owned(),
            Class::Right => "allowed".to_owned(),
            Class::Wrong(class) => format!("to {}", power(self.ends[class])),
            Class::Infinite => "∞".to_owned(),
        }
    }

    /// Returns the sentence on a map whose cells have, nearly or all, the same class.
    fn everywhere(&self, class: Class, is_all: bool) -> String {
        let share = if is_all {
            "all cells"
        } else {
            "more than 95 % of the cells"
        };
        let size = match class {
            Class::Wrong(class) => {
                let least = class.checked_sub(1).map_or(0, |class| self.ends[class]);
                let [least, most] = [least, self.ends[class]].map(power);
                format!("between {least} and {most} times the allowed error")
            }
            _ => "infinite".to_owned(),
        };
        format!("No row or column stands out: the largest error is {size} in {share}.")
    }
}

/// Returns the runs of neighbouring cells in a row for which `is_in` holds: the row, the first
/// column and the number of cells.
fn runs(picture: &Picture, is_in: impl Fn(&Cell) -> bool) -> Vec<[usize; 3]> {
    let across = picture.bins[1];
    let mut runs: Vec<[usize; 3]> = Vec::new();
    for (index, _) in picture
        .map
        .iter()
        .enumerate()
        .filter(|(_, cell)| is_in(cell))
    {
        let (row, column) = (index / across, index % across);
        match runs.last_mut() {
            Some([last, first, length]) if *last == row && *first + *length == column => {
                *length += 1;
            }
            _ => runs.push([row, column, 1]),
        }
    }
    runs
}

/// Returns the texts of the regions that have a wrong entry.
fn hovers(picture: &Picture) -> Vec<([f64; 4], String)> {
    let [left, top, right, bottom] = FRAME;
    let [down, across] = picture.bins;
    let (width, height) = ((right - left) / across as f64, (bottom - top) / down as f64);
    let [tall, wide] = [0, 1].map(|axis| picture.bins[axis].div_ceil(REGIONS[axis]));
    let mut hovers = Vec::new();
    for row in (0..down).step_by(tall) {
        for column in (0..across).step_by(wide) {
            let (rows, columns) = (row..down.min(row + tall), column..across.min(column + wide));
            let cells = rows.clone().flat_map(|row| {
                let columns = columns.clone();
                columns.map(move |column| &picture.map[row * across + column])
            });
            let (wrong, entries, worst) =
                cells.fold((0, 0, 0.0f64), |(wrong, entries, worst), it| {
                    (
                        wrong + it.wrong,
                        entries + it.entries,
                        worst.max(it.severity),
                    )
                });
            if wrong == 0 {
                continue;
            }
            let [of_rows, of_columns] = [(0, &rows), (1, &columns)].map(|(axis, bins)| {
                let first = |bin: usize| (bin * picture.shape[axis]).div_ceil(picture.bins[axis]);
                span(
                    ["row", "column"][axis],
                    first(bins.start),
                    first(bins.end) - 1,
                )
            });
            let [wrong, entries] = [wrong, entries].map(group);
            let worst = match worst {
                worst if worst.is_finite() => rounded(worst),
                _ => "∞".to_owned(),
            };
            hovers.push((
                [
                    left + column as f64 * width,
                    top + row as f64 * height,
                    columns.len() as f64 * width,
                    rows.len() as f64 * height,
                ],
                format!(
                    "{of_rows}, {of_columns}: {wrong} of {entries} wrong, \
                     up to {worst} times the allowed error"
                ),
            ));
        }
    }
    hovers
}

/// Returns `row 3` or `rows 3 to 5`.
fn span(noun: &str, first: usize, last: usize) -> String {
    if first == last {
        format!("{noun} {first}")
    } else {
        format!("{noun}s {first} to {last}")
    }
}

fn description(check: &Check, picture: &Picture) -> String {
    let [down, across] = picture.bins;
    let [rows, columns] = picture.shape.map(|count| group(count as u64));
    let wrong = picture.map.iter().filter(|cell| cell.wrong > 0).count();
    let place = match &check.location {
        Some(location) => format!("entries are wrong {}", location.text),
        None => "no single entry is wrong".to_owned(),
    };
    format!(
        "The largest error in units of the allowed error, in {down} by {across} cells over the \
         {rows} rows and {columns} columns of the gradient: {place}; \
         cells with a wrong entry: {wrong}."
    )
}
