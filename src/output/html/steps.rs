//! A plot of the error at every step size.

use super::svg::{FRAME, Figure, LogAxis, Svg};
use crate::sweep::{Point, Sweep};

pub(super) fn figure(index: usize, sweep: &Sweep) -> Figure {
    let points = &sweep.points;
    let errors = points
        .iter()
        .flat_map(|p| [p.difference, p.forward_pass, p.floor]);
    let errors: Vec<f64> = errors
        .filter(|error| *error > 0.0 && error.is_finite())
        .collect();
    let low = errors.iter().copied().fold(1.0, f64::min).log10().floor() as i32;
    let high = errors.iter().copied().fold(1e-18, f64::max).log10().ceil() as i32;
    let exponents = points.iter().map(|point| point.eps.log10().round() as i32);
    let (least, largest) = exponents.fold((0, -30), |(a, b), e| (a.min(e), b.max(e)));
    let [left, top, right, bottom] = FRAME;
    let x = LogAxis::new(least, largest, [left, right]);
    let y = LogAxis::new(low, high, [bottom, top]);
    let mut svg = Svg::new(
        &format!("steps-{index}"),
        "The error at every step size",
        &description(sweep),
    );
    svg.x_axis(&x, "step eps");
    svg.y_axis(&y, "mean relative error");
    let line = |of: fn(&Point) -> f64| -> Vec<[f64; 2]> {
        points
            .iter()
            .map(|point| [x.at(point.eps), y.at(of(point))])
            .collect()
    };
    svg.polyline("line floor", &line(|point| point.floor));
    svg.polyline("line forward-pass", &line(|point| point.forward_pass));
    svg.polyline("line difference", &line(|point| point.difference));
    let marks = |points: &[[f64; 2]]| -> Vec<[f64; 4]> {
        points
            .iter()
            .map(|[x, y]| [x - 2.5, y - 2.5, 5.0, 5.0])
            .collect()
    };
    svg.rectangles("forward-pass", &marks(&line(|point| point.forward_pass)));
    svg.rectangles("difference", &marks(&line(|point| point.difference)));
    svg.frame();
    svg.legend(&[
        ("difference", "difference"),
        ("forward-pass", "forward passes"),
        ("floor", "noise floor of forward passes"),
    ]);
    svg.figure(
        "Truncation limits a finite difference at large steps. At small steps rounding limits the \
         difference of two forward passes, but not the one that gradprobe uses.",
    )
}

fn description(sweep: &Sweep) -> String {
    let Sweep {
        precision, rows, ..
    } = sweep;
    let errors = sweep.points.iter().map(|point| {
        format!(
            "eps {:.0e}: difference {:.1e}, forward-pass {:.1e}",
            point.eps, point.difference, point.forward_pass
        )
    });
    let errors = errors.collect::<Vec<_>>().join("; ");
    format!(
        "Mean relative error of the gradient against central differences in {precision}, over \
         {rows} rows, at each step size. {errors}."
    )
}
