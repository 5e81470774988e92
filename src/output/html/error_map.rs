//! A map of the errors over rows and columns.

use super::svg::{FRAME, Figure, Svg};
use crate::{
    output::words::group,
    problem::Wrt,
    report::{Cell, Check, Picture},
};

/// The classes of cells from the palest to the strongest, with the largest severity of each. Above
/// 1 an entry is wrong.
const CLASSES: [(&str, f64); 7] = [
    ("right rare", 0.01),
    ("right some", 0.1),
    ("right", 1.0),
    ("wrong rare", 10.0),
    ("wrong some", 1e3),
    ("wrong", f64::INFINITY),
    ("unseen", f64::NAN),
];

/// The overlap of neighbouring cells in units of the figure. Without it seams show between them.
const SEAM: f64 = 0.4;

pub(super) fn figure(index: usize, check: &Check, picture: &Picture) -> Figure {
    let mut svg = Svg::new(
        &format!("map-{index}"),
        "Errors over rows and columns",
        &description(check, picture),
    );
    let [down, across] = picture.bins;
    let [left, top, right, bottom] = FRAME;
    let (width, height) = ((right - left) / across as f64, (bottom - top) / down as f64);
    for (class, _) in CLASSES {
        let cells = picture.map.iter().enumerate();
        let cells = cells.filter(|(_, cell)| class_of(cell) == class);
        let rectangles = cells.map(|(cell, _)| {
            let (row, column) = (cell / across, cell % across);
            let (x, y) = (left + column as f64 * width, top + row as f64 * height);
            [x, y, width + SEAM, height + SEAM]
        });
        svg.rectangles(class, &rectangles.collect::<Vec<_>>());
    }
    svg.frame();
    let [last_row, last_column] = picture.shape.map(|count| group(count as u64 - 1));
    svg.label([left, bottom + 15.0], "start", "0");
    svg.label([right, bottom + 15.0], "end", &last_column);
    svg.label([left - 6.0, top + 10.0], "end", "0");
    svg.label([left - 6.0, bottom], "end", &last_row);
    svg.x_label("column");
    svg.y_label(match check.wrt {
        Wrt::Weight | Wrt::Bias => "row (class)",
        Wrt::Input | Wrt::Logits => "row (sample)",
    });
    svg.legend(&[
        ("right rare", "< 0.01"),
        ("right some", "< 0.1"),
        ("right", "< 1"),
        ("wrong rare", "wrong"),
        ("wrong some", "> 10"),
        ("wrong", "> 1000 times allowed"),
    ]);
    svg.figure(
        "The largest error of each cell, in units of the allowed error. Above 1 an entry is wrong.",
    )
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

fn class_of(cell: &Cell) -> &'static str {
    if cell.entries == 0 {
        return "unseen";
    }
    // Rounding must not show a wrong entry as a right one.
    let severity = match cell.wrong {
        0 => cell.severity.min(1.0),
        _ => cell.severity.max(1.0 + f64::EPSILON),
    };
    let class = CLASSES.iter().find(|(_, most)| severity <= *most);
    class.map_or("unseen", |(class, _)| class)
}
