//! The distribution of relative errors, with the rule of thumb of the cs231n notes ("Gradient
//! checks") for each size.

use super::svg::{FRAME, Figure, LogAxis, Svg};
use crate::{output::words::group, report::Histogram};

/// The lowest power of ten that is shown. Chosen; smaller errors count towards it.
const LOW: i32 = -18;
/// The highest power of ten that is shown; a finite relative error is at most 2.
const HIGH: i32 = 1;

/// The bands of the rule of thumb: the upper end, the class, and the words.
const BANDS: [(f64, &str, &str); 4] = [
    (1e-7, "happy", "be happy"),
    (1e-4, "okay", "okay with kinks"),
    (1e-2, "doubtful", "uncomfortable"),
    (10.0, "bad", "wrong"),
];

pub(super) fn figure(index: usize, errors: &Histogram) -> Figure {
    let decades = decades(errors);
    let all: u64 = decades.iter().sum();
    let most = decades.iter().copied().max().unwrap_or(0).max(1);
    let mut svg = Svg::new(
        &format!("histogram-{index}"),
        "Relative errors",
        &description(&decades, all),
    );
    let [left, top, right, bottom] = FRAME;
    let x = LogAxis::new(LOW, HIGH, [left, right]);
    let mut from = left;
    for (band, (to, class, words)) in BANDS.into_iter().enumerate() {
        let to = x.at(to);
        svg.rectangles(class, &[[from, top, to - from, bottom - top]]);
        // The words are wider than their bands, so every other one is lower.
        let line = top + 13.0 + 13.0 * (band % 2) as f64;
        svg.label([(from + to) / 2.0, line], "middle", words);
        from = to;
    }
    svg.x_axis(
        &x,
        "relative error |analytic - numeric| / max(|analytic|, |numeric|)",
    );
    let bars = decades.iter().zip(LOW..).filter(|(count, _)| **count > 0);
    let bars = bars.map(|(count, decade)| {
        let [begin, end] = [decade, decade + 1].map(|decade| x.at(10f64.powi(decade)));
        // The tallest bar leaves room for the words; the smallest is still visible.
        let height = (*count as f64 / most as f64 * (bottom - top - 38.0)).max(1.5);
        [begin + 1.0, bottom - height, end - begin - 2.0, height]
    });
    svg.rectangles("bar", &bars.collect::<Vec<_>>());
    svg.frame();
    let largest = 100.0 * most as f64 / all.max(1) as f64;
    svg.label([left - 6.0, top + 42.0], "end", &format!("{largest:.0} %"));
    svg.label([left - 6.0, bottom], "end", "0");
    svg.y_label("share of entries");
    svg.figure(
        "Relative errors, with the rule of thumb of the cs231n notes. The verdict does not depend \
         on it: a correct f32 gradient has large relative errors where terms cancel.",
    )
}

/// Returns the number of errors in each power of ten from [`LOW`] on.
fn decades(errors: &Histogram) -> Vec<u64> {
    let mut decades = vec![0u64; (HIGH - LOW) as usize];
    for (error, count) in errors.counts() {
        let decade = if error > 0.0 {
            error.log10().floor() as i32
        } else {
            LOW
        };
        decades[(decade - LOW).clamp(0, HIGH - LOW - 1) as usize] += count;
    }
    decades
}

fn description(decades: &[u64], all: u64) -> String {
    let shares = decades.iter().zip(LOW..).filter(|(count, _)| **count > 0);
    let shares = shares.map(|(count, decade)| {
        let percent = 100.0 * *count as f64 / all as f64;
        format!("1e{decade} to 1e{}: {percent:.1} %", decade + 1)
    });
    let shares = shares.collect::<Vec<_>>().join("; ");
    format!("Relative errors of {} entries. {shares}.", group(all))
}
