//! A sweep over the step as text: a table, and a plot on log axes.

use crate::sweep::{Point, Sweep};

/// Lines of the plot for a factor of ten, and columns for a step.
const LINES: f64 = 2.0;
const COLUMNS: usize = 6;

/// The sweep, with a line break at its end.
pub fn render(sweep: &Sweep) -> String {
    let mut text = format!(
        "Mean relative error of {} against central differences in {}, {} samples\n\n      eps   difference   forward-pass   noise floor\n",
        sweep.wrt.grad_name(),
        sweep.precision,
        sweep.rows
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
    text + "\n" + &plot(&sweep.points) + "\n" + &told(sweep)
}

/// d difference, f forward-pass, * both, and the noise floor of forward-pass as dots.
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
        + " eps\n\n    d difference, f forward-pass, * both, · what rounding alone makes of forward-pass\n"
}

/// What it means.
fn told(sweep: &Sweep) -> String {
    let mut text = String::new();
    if let Some(best) = sweep.best() {
        text += &format!(
            "Plain forward passes come closest at eps = {:.0e}, with an error of {:.1e}.\n",
            best.eps, best.forward_pass
        );
    }
    match sweep.noise() {
        Some(noise) => {
            text += &format!(
                "From eps = {:.0e} on they give noise: half of the loss differences there are at most {} units in the last place of the loss{}.\n",
                noise.eps,
                noise.units,
                if noise.whole {
                    ", and all of them whole numbers of it"
                } else {
                    ""
                }
            );
        }
        None => text += "At none of these steps are they noise.\n",
    }
    text + "The difference method has no such floor: its error is what the step leaves out, and the rounding of the gradient itself.\n"
}
