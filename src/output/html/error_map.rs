//! Errors over rows and columns.

use super::svg::{FRAME, Figure, Svg};
use crate::{
    output::words::{self, group},
    problem::Wrt,
    report::{Cell, Check, Picture},
};

/// From the palest to the strongest, each up to a severity; above 1 an entry is wrong.
const CLASSES: [(&str, f64); 7] = [
    ("right rare", 0.01),
    ("right some", 0.1),
    ("right", 1.0),
    ("wrong rare", 10.0),
    ("wrong some", 1e3),
    ("wrong", f64::INFINITY),
    ("unseen", f64::NAN),
];

/// By how much a part lies over its neighbours, in units of the picture.
const SEAM: f64 = 0.4;

pub(super) fn figure(index: usize, check: &Check, picture: &Picture) -> Figure {
    let [down, across] = picture.bins;
    let [rows, columns] = picture.shape;
    let wrong = picture.map.iter().filter(|cell| cell.wrong > 0).count();
    let place = match wrong {
        0 => "no entry alone is wrong".to_owned(),
        _ => format!("entries are wrong {}", words::whereabouts(check)),
    };
    let description = format!(
        "The largest error in units of what is allowed, in {down} by {across} parts of the {} rows and {} columns of the gradient: {place}; {wrong} of the \
         parts have a wrong entry.",
        group(rows as u64),
        group(columns as u64),
    );
    let mut svg = Svg::new(
        &format!("map-{index}"),
        "Errors over rows and columns",
        &description,
    );
    let [left, top, right, bottom] = FRAME;
    let (width, height) = ((right - left) / across as f64, (bottom - top) / down as f64);
    for (class, _) in CLASSES {
        let here = picture
            .map
            .iter()
            .enumerate()
            .filter(|(_, cell)| class_of(cell) == class);
        let rectangles: Vec<[f64; 4]> = here
            .map(|(cell, _)| {
                let (row, column) = (cell / across, cell % across);
                let (x, y) = (left + column as f64 * width, top + row as f64 * height);
                // A little over the next one, or seams show.
                [x, y, width + SEAM, height + SEAM]
            })
            .collect();
        svg.rectangles(class, &rectangles);
    }
    svg.frame();
    let last = |count: usize| group(count as u64 - 1);
    svg.label([left, bottom + 15.0], "start", "0");
    svg.label([right, bottom + 15.0], "end", &last(columns));
    svg.label([left - 6.0, top + 10.0], "end", "0");
    svg.label([left - 6.0, bottom], "end", &last(rows));
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
        "The largest error of each part, in units of what is allowed: above 1 an entry is wrong.",
    )
}

fn class_of(cell: &Cell) -> &'static str {
    if cell.entries == 0 {
        return "unseen";
    }
    // A wrong entry is never shown as a right one, however it was rounded.
    let severity = match cell.wrong {
        0 => cell.severity.min(1.0),
        _ => cell.severity.max(1.0 + f64::EPSILON),
    };
    let class = CLASSES.iter().find(|(_, most)| severity <= *most);
    class.map_or("unseen", |(class, _)| class)
}
