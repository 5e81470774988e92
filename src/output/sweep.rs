//! Renders a sweep over step sizes as text: a table, and a plot on log axes.

use super::words::group;
use crate::sweep::{Point, Sweep};

/// Lines of the plot per factor of ten in the error, and columns per step size. Chosen to fit a
/// terminal.
const LINES: f64 = 2.0;
const COLUMNS: usize = 6;

/// Renders the sweep, with a line break at the end.
pub fn render(sweep: &Sweep) -> String {
    let mut text = format!(
        "Mean relative error of {} against central differences in {}, {} samples\n\n      \
         eps   difference   forward-pass   noise floor\n",
        sweep.wrt.grad_name(),
        sweep.precision,
        group(sweep.rows as u64)
    );
    for Point {
        eps,
        difference,
        forward_pass,
        floor,
        ..
    } in &sweep.points
    {
        let eps = format!("{eps:.0e}");
        text += &format!(
            "    {eps:<5}     {difference:>8.2e}       {forward_pass:>8.2e}      {floor:>8.2e}\n"
        );
    }
    text + "\n" + &plot(&sweep.points) + "\n" + &summary(sweep)
}

/// Plots `difference` as d, `forward-pass` as f, both as *, and the noise floor of `forward-pass`
/// as dots.
fn plot(points: &[Point]) -> String {
    let exponent = |error: f64| error.clamp(1e-18, 1e2).log10();
    let errors = points
        .iter()
        .flat_map(|p| [p.difference, p.forward_pass, p.floor])
        .filter(|e| *e > 0.0)
        .map(exponent);
    let (low, high) = errors.fold((0.0f64, -18.0f64), |(low, high), e| {
        (low.min(e), high.max(e))
    });
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let height = ((high - low) * LINES) as usize + 1;
    let mut lines = vec![vec![' '; points.len() * COLUMNS]; height];
    let line = |error: f64| (((high - exponent(error)) * LINES).round() as usize).min(height - 1);
    for (i, point) in points.iter().enumerate() {
        let column = i * COLUMNS + COLUMNS / 2;
        lines[line(point.floor)][column] = '·';
        lines[line(point.difference)][column] = 'd';
        let cell = &mut lines[line(point.forward_pass)][column];
        *cell = if *cell == 'd' { '*' } else { 'f' };
    }
    let mut text = String::new();
    for (i, line) in lines.iter().enumerate() {
        let label = match i % LINES as usize {
            0 => format!("1e{}", high - i as f64 / LINES),
            _ => String::new(),
        };
        text += format!("    {label:>5} |{}", line.iter().collect::<String>()).trim_end();
        text += "\n";
    }
    text += &format!(
        "          +{}\n           ",
        "-".repeat(points.len() * COLUMNS)
    );
    for point in points {
        text += &format!("{:^COLUMNS$}", format!("{:.0e}", point.eps));
    }
    text.trim_end().to_owned()
        + " eps\n\n    d difference, f forward-pass, * both, · rounding error of forward-pass\n"
}

/// Returns the explanation of the plot.
fn summary(sweep: &Sweep) -> String {
    if let Some(conclusion) = sweep.conclusion() {
        return format!("{conclusion}\ngradprobe check finds the cause.\n");
    }
    let mut text = String::new();
    if let Some(best) = sweep.best() {
        text += &format!(
            "forward-pass is best at eps = {:.0e}, with an error of {:.1e}.\n",
            best.eps, best.forward_pass
        );
    }
    match sweep.noise() {
        Some(noise) => {
            text += &format!(
                "forward-pass is noise at eps = {:.0e} and below: half of its loss differences\n\
                 are at most {} units in the last place{}.\n",
                noise.eps,
                noise.units,
                if noise.whole {
                    ", and all are whole numbers of units"
                } else {
                    ""
                }
            );
        }
        None => text += "forward-pass is not noise at any of these steps.\n",
    }
    text + "difference has no such noise: its error is the truncation of a finite step and\n\
            the rounding of the gradient itself.\n"
}
