//! A plot of the error at every step size.

use super::svg::{FRAME, Figure, LogAxis, Svg};
use crate::{
    output::words::{self, group},
    report::Check,
    sweep::{Point, Sweep},
};

const TITLE: &str = "The error at every step size";
/// The room above the curves, in powers of ten. Chosen.
const HEADROOM: f64 = 0.3;

/// Returns `None` if no error is finite.
pub(super) fn figure(name: &str, check: &Check, sweep: &Sweep) -> Option<Figure> {
    let points = &sweep.points;
    points.iter().find(|point| point.difference.is_finite())?;
    let errors = points
        .iter()
        .flat_map(|p| [p.difference, p.forward_pass, p.floor]);
    let errors: Vec<f64> = errors
        .filter(|error| *error > 0.0 && error.is_finite())
        .collect();
    let low = errors.iter().copied().fold(1.0, f64::min).log10().floor() as i32;
    let high = errors.iter().copied().fold(1e-18, f64::max).log10();
    let high = (high + HEADROOM).ceil() as i32;
    let exponents = points.iter().map(|point| point.eps.log10().round() as i32);
    let (least, largest) = exponents.fold((0, -30), |(a, b), e| (a.min(e), b.max(e)));
    let [left, top, right, bottom] = FRAME;
    // The steps fall, as they do in the table of `gradprobe sweep`.
    let x = LogAxis::new(least, largest, [right, left]);
    let y = LogAxis::new(low, high, [bottom, top]);
    let mut svg = Svg::new(&format!("{name}-steps"), TITLE, &description(sweep));
    svg.x_axis(&x, "step eps");
    svg.y_axis(&y, "mean relative error");
    let line = |of: fn(&Point) -> f64| -> Vec<[f64; 2]> {
        points
            .iter()
            .filter(|point| of(point).is_finite())
            .map(|point| [x.at(point.eps), y.at(of(point))])
            .collect()
    };
    let marks = |points: &[[f64; 2]], size: f64| -> Vec<[f64; 4]> {
        points
            .iter()
            .map(|[x, y]| [x - size / 2.0, y - size / 2.0, size, size])
            .collect()
    };
    // The curves may coincide: the second is thinner than the first.
    svg.polyline("line floor", &line(|point| point.floor));
    let forward_pass = line(|point| point.forward_pass);
    svg.polyline("line forward-pass", &forward_pass);
    svg.rectangles("forward-pass", &marks(&forward_pass, 9.0));
    let difference = line(|point| point.difference);
    svg.polyline("line difference", &difference);
    svg.rectangles("difference", &marks(&difference, 4.0));
    let half = (right - left) / (2 * points.len().max(2) - 2) as f64;
    let hovers = points.iter().map(|point| {
        let (begin, end) = (x.at(point.eps) - half, x.at(point.eps) + half);
        let (begin, end) = (begin.max(left), end.min(right));
        ([begin, top, end - begin, bottom - top], text(point))
    });
    svg.hovers(&hovers.collect::<Vec<_>>());
    svg.frame();
    let legend = [
        ("difference", "difference"),
        ("forward-pass", "forward passes"),
        ("floor", "their rounding"),
    ];
    let legend = legend.map(|(class, name)| (class.to_owned(), name.to_owned()));
    svg.legend(&legend);
    let caption = words::steps(sweep, check.verdict) + &coverage(check, sweep);
    Some(svg.figure(caption))
}

/// Returns the remark that the errors are those of the first rows only. Those of a parameter are
/// sums over all samples.
fn coverage(check: &Check, sweep: &Sweep) -> String {
    let columns = check
        .tally()
        .map_or(0, |tally| tally.columns.0.len() as u64);
    match check.entries.checked_div(columns) {
        Some(rows) if rows > sweep.rows as u64 && !check.wrt.is_parameter() => format!(
            " The errors are those of the first {} of {} rows.",
            group(sweep.rows as u64),
            group(rows)
        ),
        _ => String::new(),
    }
}

/// Returns the errors at a step.
fn text(point: &Point) -> String {
    format!(
        "eps {:.0e}: difference {:.1e}, forward passes {:.1e}, their rounding {:.1e}",
        point.eps, point.difference, point.forward_pass, point.floor
    )
}

fn description(sweep: &Sweep) -> String {
    let Sweep {
        precision, rows, ..
    } = sweep;
    let errors = sweep.points.iter().map(text);
    let errors = errors.collect::<Vec<_>>().join("; ");
    format!(
        "Mean relative error of the gradient against central differences in {precision}, over \
         {rows} rows, at each step size. {errors}."
    )
}
