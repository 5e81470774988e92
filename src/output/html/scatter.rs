//! A plot of the sizes of analytic entries against the sizes of numeric entries.

use super::svg::{FRAME, Figure, LogAxis, Svg};
use crate::report::{Check, Pairs, Picture, Verdict};

/// The most powers of ten that are shown, from the largest down. Chosen.
const MOST_DECADES: i32 = 12;
/// The least width of a mark, in units of the figure.
const LEAST: f64 = 2.2;

pub(super) fn figure(index: usize, check: &Check, picture: &Picture) -> Figure {
    let [low, high] = exponents(picture);
    let [left, top, right, bottom] = FRAME;
    let x = LogAxis::new(low, high, [left, right]);
    let y = LogAxis::new(low, high, [bottom, top]);

    let counts = |of: fn(&Pairs) -> u64| picture.sizes.values().map(of).sum::<u64>();
    let description = format!(
        "Entries by the size of their numeric and analytic values, from 1e{low} to 1e{high}, with \
         the diagonal of equal values: {} with the same sign, {} with opposite signs; {} of them \
         are wrong.",
        counts(|pairs| pairs.alike),
        counts(|pairs| pairs.opposite),
        counts(|pairs| pairs.wrong),
    );
    let mut svg = Svg::new(
        &format!("scatter-{index}"),
        "Analytic against numeric entries",
        &description,
    );
    svg.x_axis(&x, "|numeric|");
    svg.y_axis(&y, "|analytic|");
    let ends = [10f64.powi(low), 10f64.powi(high)];
    band(&mut svg, picture, (&x, &y), ends);
    svg.line("diagonal", [left, bottom], [right, top]);
    marks(&mut svg, picture, (&x, &y));
    svg.frame();
    let mut legend = vec![("right", "right"), ("allowed", "allowed")];
    if counts(|pairs| pairs.opposite) > 0 {
        legend.insert(1, ("opposite", "opposite sign"));
    }
    if check.verdict == Verdict::Fail && counts(|pairs| pairs.wrong) > 0 {
        legend.insert(0, ("wrong", "wrong"));
    }
    svg.legend(&legend);
    svg.figure(
        "Analytic against numeric entries, by size. A correct gradient lies on the diagonal; one \
         that is off by a factor lies beside it.",
    )
}

/// Returns the powers of ten at the ends of both axes.
fn exponents(picture: &Picture) -> [i32; 2] {
    let bins = picture.sizes.keys().flatten().filter(|bin| **bin > 0);
    let values = bins.map(|&bin| Picture::least_of_bin(bin));
    let values = values.filter(|value| value.is_finite());
    let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    // A gradient of zeros fits any scale.
    let (low, high) = if high > 0.0 { (low, high) } else { (0.1, 1.0) };
    let high = (high * 2.0).log10().ceil() as i32;
    let low = (low.log10().floor() as i32).max(high - MOST_DECADES);
    [low, high]
}

/// Draws the band of allowed errors around the diagonal.
fn band(svg: &mut Svg, picture: &Picture, (x, y): (&LogAxis, &LogAxis), [low, high]: [f64; 2]) {
    let mut bins: Vec<(u16, f64)> = picture.allowed.iter().map(|(bin, v)| (*bin, *v)).collect();
    bins.sort_unstable_by_key(|(bin, _)| *bin);
    let shown = bins.into_iter().filter(|(bin, _)| {
        let value = Picture::least_of_bin(*bin);
        value >= low && value <= high
    });
    let (mut above, mut below) = (Vec::new(), Vec::new());
    for (bin, allowed) in shown {
        let value = (Picture::least_of_bin(bin) * Picture::least_of_bin(bin + 1)).sqrt();
        above.push([x.at(value), y.at(value + allowed)]);
        below.push([x.at(value), y.at((value - allowed).max(0.0))]);
    }
    below.reverse();
    above.extend(below);
    if above.len() > 2 {
        svg.polygon("allowed", &above);
    }
}

/// Draws a mark for each pair of sizes.
fn marks(svg: &mut Svg, picture: &Picture, (x, y): (&LogAxis, &LogAxis)) {
    let mut marks: Vec<(&[u16; 2], &Pairs)> = picture.sizes.iter().collect();
    marks.sort_unstable_by_key(|(sizes, _)| **sizes);
    let most = marks
        .iter()
        .map(|(_, pairs)| pairs.alike + pairs.opposite)
        .max();
    let most = (most.unwrap_or(1) as f64).ln_1p();
    let place = |axis: &LogAxis, bin: u16| {
        let ends = [bin, bin + 1].map(|bin| axis.at(Picture::least_of_bin(bin)));
        let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        let missing = (LEAST - (high - low)).max(0.0);
        [low - missing / 2.0, high - low + missing]
    };
    // Wrong entries come last, on top of the others. Rarer pairs are paler.
    for class in ["right", "opposite", "wrong"] {
        for (shade, strength) in [" rare", " some", ""].into_iter().enumerate() {
            let here = marks.iter().filter(|(_, pairs)| {
                let count = pairs.alike + pairs.opposite;
                let share = ((count as f64).ln_1p() / most * 3.0).ceil() as usize;
                class_of(pairs) == class && share.clamp(1, 3) == shade + 1
            });
            let rectangles: Vec<[f64; 4]> = here
                .map(|([numeric, analytic], _)| {
                    let ([left, width], [top, height]) = (place(x, *numeric), place(y, *analytic));
                    [left, top, width, height]
                })
                .collect();
            svg.rectangles(&format!("{class}{strength}"), &rectangles);
        }
    }
}

fn class_of(pairs: &Pairs) -> &'static str {
    match pairs {
        Pairs { wrong: 1.., .. } => "wrong",
        Pairs {
            alike, opposite, ..
        } if opposite > alike => "opposite",
        _ => "right",
    }
}
