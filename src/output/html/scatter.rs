//! A plot of the sizes of analytic entries against the sizes of numeric entries.

use std::collections::BTreeMap;

use super::svg::{FRAME, Figure, LogAxis, Svg};
use crate::{
    output::words::{group, rounded},
    report::{Check, Pairs, Picture, Verdict},
};

const TITLE: &str = "Analytic against numeric entries";
/// The most powers of ten that are shown, from the largest down. Chosen.
const MOST_DECADES: i32 = 12;
/// The least width of a mark, in units of the figure.
const LEAST: f64 = 2.4;
/// The distance from a fitted line within which an entry lies along it, in powers of ten: a little
/// more than a bin. Chosen.
const ALONG: f64 = 0.12;
/// The least share of the wrong entries that lie along a fitted line. Chosen.
const SHARE: f64 = 0.6;
/// The fewest wrong entries that make a line. Chosen.
const FEWEST: u64 = 5;
/// The least distance of a fitted line from the diagonal, in powers of ten. Chosen: a nearer line
/// would hide the diagonal.
const APART: f64 = 0.05;
/// The most regions with a text under the pointer. Chosen.
const REGIONS: usize = 400;

/// The numeric axis and the analytic axis.
type Axes = (LogAxis, LogAxis);

pub(super) fn figure(name: &str, check: &Check, picture: &Picture) -> Figure {
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
    let mut svg = Svg::new(&format!("{name}-scatter"), TITLE, &description);
    svg.x_axis(&x, "|numeric|");
    svg.y_axis(&y, "|analytic|");
    let ends = [10f64.powi(low), 10f64.powi(high)];
    let has_band = band(&mut svg, picture, (&x, &y), ends);
    svg.line("diagonal", [left, bottom], [right, top]);
    let factor = factor(check, picture);
    if let Some(factor) = factor {
        fitted(&mut svg, factor, &(x, y), ends);
    }
    let mut legend = marks(&mut svg, picture, &(x, y));
    if has_band {
        legend.push(("allowed".to_owned(), "allowed error".to_owned()));
    }
    svg.hovers(&hovers(picture, &(x, y), ends));
    svg.frame();
    labels(&mut svg, factor, &(x, y), ends);
    svg.legend(&legend);
    svg.figure(caption(check, factor))
}

/// Returns the factor that most wrong entries are off by, if there is one that can be drawn.
fn factor(check: &Check, picture: &Picture) -> Option<f64> {
    let wrong = picture.sizes.iter().filter(|(_, pairs)| pairs.wrong > 0);
    let all: u64 = wrong.clone().map(|(_, pairs)| pairs.wrong).sum();
    // The power of ten between the two values, the wrong entries, and those of opposite sign.
    let ratios = wrong.filter(|(sizes, _)| sizes.iter().all(|size| *size > 0));
    let mut ratios: Vec<(f64, u64, u64)> = ratios
        .map(|(sizes, pairs)| {
            let [numeric, analytic] = sizes.map(Picture::least_of_bin);
            ((analytic / numeric).log10(), pairs.wrong, pairs.opposite)
        })
        .filter(|(ratio, ..)| ratio.is_finite())
        .collect();
    ratios.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let half = ratios
        .iter()
        .map(|(_, wrong, _)| wrong)
        .sum::<u64>()
        .div_ceil(2);
    let mut seen = 0;
    let (middle, ..) = *ratios.iter().find(|(_, wrong, _)| {
        seen += wrong;
        seen >= half
    })?;
    let along = ratios
        .iter()
        .filter(|(ratio, ..)| (ratio - middle).abs() <= ALONG);
    let (count, opposite) = along.fold((0, 0), |(count, opposite), ratio| {
        (count + ratio.1, opposite + ratio.2)
    });
    let sign = if 2 * opposite > count { -1.0 } else { 1.0 };
    let of_bins = sign * 10f64.powf(middle);
    // The bins give the factor to a tenth. Those of the whole gradient and of the worst entries are
    // exact.
    let whole = check.scale.iter().map(|scale| scale.factor);
    let worst = check.worst.iter().map(|it| it.analytic / it.numeric);
    let mut exact = whole.chain(worst);
    let exact = exact.find(|exact| (exact / of_bins).log10().abs() <= ALONG);
    let factor = exact.unwrap_or(of_bins);
    let is_beside = factor < 0.0 || factor.log10().abs() >= APART;
    let is_shared = count >= FEWEST && count as f64 >= SHARE * all as f64;
    (is_beside && is_shared).then_some(factor)
}

/// Returns the equation of the line of a factor, with up to four digits.
fn equation(factor: f64) -> String {
    let size: f64 = format!("{:.3e}", factor.abs()).parse().unwrap_or(1.0);
    let sign = if factor < 0.0 { "−" } else { "" };
    match size {
        1.0 => format!("y = {sign}x"),
        size => format!("y = {sign}{} x", rounded(size)),
    }
}

fn caption(check: &Check, factor: Option<f64>) -> String {
    match (check.verdict, factor) {
        (Verdict::Pass, _) => "A correct gradient lies on the dashed diagonal, as this one does.",
        (Verdict::Fail, Some(factor)) if factor.abs().log10().abs() < APART => {
            "The wrong entries have the right size and the opposite sign: their line y = −x covers \
             the diagonal."
        }
        (Verdict::Fail, Some(factor)) => {
            return format!(
                "Correct entries lie on the dashed diagonal y = x. The solid line is {}.",
                equation(factor)
            );
        }
        _ => {
            "Correct entries lie on the dashed diagonal. Those that are off by one factor would \
             lie on a line beside it."
        }
    }
    .to_owned()
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

/// Draws the band of allowed errors around the diagonal, and returns true if it can be seen.
fn band(
    svg: &mut Svg,
    picture: &Picture,
    (x, y): (&LogAxis, &LogAxis),
    [low, high]: [f64; 2],
) -> bool {
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
    let heights = above
        .iter()
        .zip(&below)
        .map(|(above, below)| below[1] - above[1]);
    let is_seen = above.len() > 1 && heights.fold(0.0, f64::max) > LEAST;
    below.reverse();
    above.extend(below);
    if is_seen {
        svg.polygon("allowed", &above);
    }
    is_seen
}

/// Draws the line of a factor.
fn fitted(svg: &mut Svg, factor: f64, (x, y): &Axes, [low, high]: [f64; 2]) {
    if let Some([begin, end]) = part_in_frame(factor, [low, high]) {
        let point = |numeric: f64| [x.at(numeric), y.at(factor.abs() * numeric)];
        svg.line("fitted", point(begin), point(end));
    }
}

/// Returns the numeric values between which the line of a factor is in the frame.
fn part_in_frame(factor: f64, [low, high]: [f64; 2]) -> Option<[f64; 2]> {
    let size = factor.abs();
    let part = [low.max(low / size), high.min(high / size)];
    (part[0] < part[1]).then_some(part)
}

/// Labels the diagonal and the line of a factor, on the sides that are turned away from each other.
fn labels(svg: &mut Svg, factor: Option<f64>, (x, y): &Axes, [low, high]: [f64; 2]) {
    let [left, top, right, bottom] = FRAME;
    let Some(factor) = factor else {
        return;
    };
    let size = factor.abs();
    let is_above = size >= 1.0;
    if size.log10().abs() >= APART {
        let [x, y] = [left + 0.84 * (right - left), bottom - 0.84 * (bottom - top)];
        if is_above {
            svg.label([x + 6.0, y + 12.0], "start", "y = x");
        } else {
            svg.label([x - 6.0, y - 6.0], "end", "y = x");
        }
    }
    let Some([_, end]) = part_in_frame(factor, [low, high]) else {
        return;
    };
    let (end, text) = ([x.at(end), y.at(size * end)], equation(factor));
    // The line falls by 14 units over so many columns; the text keeps clear of it.
    let clear = 8.0 + 14.0 * (right - left) / (bottom - top);
    let room = clear + 8.0 * text.chars().count() as f64;
    let (point, anchor) = if is_above && end[0] - left > room {
        ([end[0] - clear, top + 14.0], "end")
    } else if is_above {
        ([end[0] + 6.0, top + 14.0], "start")
    } else if bottom - end[1] > 20.0 {
        ([right - 6.0, end[1] + 18.0], "end")
    } else {
        ([right - 6.0, end[1] - 14.0], "end")
    };
    svg.label(point, anchor, &text);
}

/// Draws a mark for each pair of sizes, and returns the legend of the classes that are there.
fn marks(svg: &mut Svg, picture: &Picture, (x, y): &Axes) -> Vec<(String, String)> {
    let mut marks: Vec<(&[u16; 2], &Pairs)> = picture.sizes.iter().collect();
    marks.sort_unstable_by_key(|(sizes, _)| **sizes);
    let most = marks.iter().map(|(_, pairs)| all(pairs)).max();
    let most = (most.unwrap_or(1) as f64).ln_1p();
    let place = |axis: &LogAxis, bin: u16| {
        let ends = [bin, bin + 1].map(|bin| axis.at(Picture::least_of_bin(bin)));
        let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        ((low + high) / 2.0, (high - low).max(LEAST))
    };
    let mut legend = Vec::new();
    // Wrong entries come last, on top of the others. Rarer pairs are paler.
    for (class, name) in [
        ("right", "right"),
        ("opposite", "opposite sign"),
        ("wrong", "wrong"),
    ] {
        if marks.iter().any(|(_, pairs)| class_of(pairs) == class) {
            legend.push((class.to_owned(), name.to_owned()));
        }
        for (shade, strength) in [" rare", " some", ""].into_iter().enumerate() {
            let here = marks.iter().filter(|(_, pairs)| {
                let share = ((all(pairs) as f64).ln_1p() / most * 3.0).ceil() as usize;
                class_of(pairs) == class && share.clamp(1, 3) == shade + 1
            });
            let mut thickness = LEAST;
            let strokes: Vec<[f64; 3]> = here
                .map(|([numeric, analytic], _)| {
                    let ((x, width), (y, height)) = (place(x, *numeric), place(y, *analytic));
                    thickness = thickness.max(height);
                    [x - width / 2.0, y, width]
                })
                .collect();
            svg.strokes(&format!("{class}{strength}"), &strokes, thickness);
        }
    }
    legend
}

fn all(pairs: &Pairs) -> u64 {
    pairs.alike + pairs.opposite
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

/// Returns the texts of the regions with marks: squares of one factor of two, or of as many as make
/// few enough squares.
fn hovers(picture: &Picture, (x, y): &Axes, [low, _]: [f64; 2]) -> Vec<([f64; 4], String)> {
    let least = Picture::size_bin(low);
    let mut wide = Picture::size_bin(2.0) - Picture::size_bin(1.0);
    loop {
        let mut regions: BTreeMap<[u16; 2], [u64; 2]> = BTreeMap::new();
        for (sizes, pairs) in &picture.sizes {
            let region = sizes.map(|bin| bin.max(least) / wide * wide);
            let [entries, wrong] = regions.entry(region).or_default();
            *entries += all(pairs);
            *wrong += pairs.wrong;
        }
        if regions.len() > REGIONS {
            wide *= 2;
            continue;
        }
        let hovers = regions
            .into_iter()
            .map(|([numeric, analytic], [entries, wrong])| {
                let ends = |bin: u16| [bin, bin + wide].map(Picture::least_of_bin);
                let ([x0, x1], [y1, y0]) = (ends(numeric).map(|it| x.at(it)), ends(analytic));
                let [y0, y1] = [y0, y1].map(|it| y.at(it));
                let text = |bin| ends(bin).map(|it| format!("{it:.1e}")).join(" to ");
                let text = format!(
                    "numeric {}, analytic {}: {} entries, {} wrong",
                    text(numeric),
                    text(analytic),
                    group(entries),
                    group(wrong)
                );
                ([x0, y0, x1 - x0, y1 - y0], text)
            });
        return hovers.collect();
    }
}
