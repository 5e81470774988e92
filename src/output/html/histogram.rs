//! How often a relative error occurred, with what the notes of cs231n ("Gradient checks") say of each size.

use super::svg::{FRAME, Figure, LogAxis, Svg};
use crate::{output::words::group, report::Histogram};

/// The lowest and the highest power of ten that is shown; what lies outside is counted at the end.
const LOW: i32 = -18;
const HIGH: i32 = 1;

/// Up to where, the class, and what is said.
const BANDS: [(f64, &str, &str); 4] = [
    (1e-7, "happy", "be happy"),
    (1e-4, "okay", "okay with kinks"),
    (1e-2, "doubtful", "uncomfortable"),
    (10.0, "bad", "wrong"),
];

pub(super) fn figure(index: usize, errors: &Histogram) -> Figure {
    let mut decades = vec![0u64; (HIGH - LOW) as usize];
    for (error, count) in errors.counts() {
        let decade = if error > 0.0 {
            error.log10().floor() as i32
        } else {
            LOW
        };
        decades[(decade - LOW).clamp(0, HIGH - LOW - 1) as usize] += count;
    }
    let all: u64 = decades.iter().sum();
    let most = decades.iter().copied().max().unwrap_or(0).max(1);
    let shares = decades.iter().zip(LOW..).filter(|(count, _)| **count > 0);
    let shares = shares.map(|(count, decade)| {
        let percent = 100.0 * *count as f64 / all as f64;
        format!("1e{decade} to 1e{}: {percent:.1} %", decade + 1)
    });
    let description = format!(
        "Relative errors of {} entries. {}.",
        group(all),
        shares.collect::<Vec<_>>().join("; ")
    );
    let mut svg = Svg::new(
        &format!("histogram-{index}"),
        "Relative errors",
        &description,
    );
    let [left, top, right, bottom] = FRAME;
    let x = LogAxis::new(LOW, HIGH, [left, right]);
    let mut from = left;
    for (band, (to, class, said)) in BANDS.into_iter().enumerate() {
        let to = x.at(to);
        svg.rectangles(class, &[[from, top, to - from, bottom - top]]);
        // Every other one lower: they are wider than their bands.
        let line = top + 13.0 + 13.0 * (band % 2) as f64;
        svg.label([(from + to) / 2.0, line], "middle", said);
        from = to;
    }
    svg.x_axis(&x, "relative error |a - n| / max(|a|, |n|)");
    let bars: Vec<[f64; 4]> = decades
        .iter()
        .zip(LOW..)
        .filter(|(count, _)| **count > 0)
        .map(|(count, decade)| {
            let [begin, end] = [decade, decade + 1].map(|decade| x.at(10f64.powi(decade)));
            // The tallest leaves room for the bands' names, the least is still seen.
            let height = (*count as f64 / most as f64 * (bottom - top - 38.0)).max(1.5);
            [begin + 1.0, bottom - height, end - begin - 2.0, height]
        })
        .collect();
    svg.rectangles("bar", &bars);
    svg.frame();
    let largest = 100.0 * most as f64 / all.max(1) as f64;
    svg.label([left - 6.0, top + 42.0], "end", &format!("{largest:.0} %"));
    svg.label([left - 6.0, bottom], "end", "0");
    svg.y_label("share of entries");
    svg.figure(
        "Relative errors, with what the notes of cs231n say of their size. The verdict does not rest on them: a right f32 gradient has large ones where terms cancel.",
    )
}
