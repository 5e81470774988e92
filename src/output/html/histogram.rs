//! The distribution of relative errors.

use super::svg::{FRAME, Figure, LogAxis, Svg};
use crate::{
    output::words::{group, short},
    report::{Check, Histogram, Verdict},
};

const TITLE: &str = "Relative errors";
/// The most powers of ten that are shown, from the largest error down. Chosen.
const MOST_DECADES: i32 = 12;
/// The least powers of ten that are shown. Chosen.
const LEAST_DECADES: i32 = 3;
/// The bars for each power of ten: the most that are at least 7 units wide. Chosen.
const BARS: [i32; 3] = [8, 4, 2];
/// The most bars.
const MOST_BARS: i32 = 40;
/// The share of entries in one bar from which a sentence replaces the figure. Chosen.
const UNIFORM: f64 = 0.99;

/// The relative error that needs an explanation in a right gradient. Chosen.
const LARGE: f64 = 1e-2;

/// The bars of a histogram.
struct Bars {
    /// The powers of ten at the ends of the axis.
    low: i32,
    high: i32,
    /// The number of bars for each power of ten.
    per_decade: i32,
    /// The counts, the smallest errors first.
    counts: Vec<u64>,
    /// The number of errors below 10^low.
    below: u64,
    all: u64,
}

pub(super) fn figure(name: &str, check: &Check, errors: &Histogram) -> Figure {
    let bars = Bars::new(errors);
    let most = bars.counts.iter().copied().max().unwrap_or(0);
    if most.max(bars.below) as f64 > UNIFORM * bars.all as f64 {
        let text = format!("More than 99 % of the errors are alike. {}", caption(check));
        return Figure::sentence(TITLE, text);
    }
    let name = format!("{name}-histogram");
    let mut svg = Svg::new(&name, TITLE, &bars.description());
    let [left, top, right, bottom] = FRAME;
    // Smaller errors have a bar of their own, left of the axis.
    let start = match bars.below {
        0 => left,
        _ => left + (right - left) / 8.0,
    };
    let x = LogAxis::new(bars.low, bars.high, [start, right]);
    let top_share = nice(most.max(bars.below) as f64 / bars.all as f64);
    let y = |share: f64| bottom - (bottom - top) * share / top_share;
    for quarter in 0..=4 {
        let share = top_share * f64::from(quarter) / 4.0;
        svg.y_tick(y(share), &percent(share));
    }
    svg.y_label("share of entries");
    svg.x_axis(&x, "|analytic − numeric| / max(|analytic|, |numeric|)");
    if bars.below > 0 {
        svg.x_tick((left + start) / 2.0, "<");
    }
    let mut shapes = Vec::new();
    let mut hovers = Vec::new();
    for (ends, count, text) in bars.bars() {
        let [begin, end] = match ends {
            Some(ends) => ends.map(|end| x.at(end)),
            None => [left, start],
        };
        // The smallest share is still visible.
        let height = (bottom - y(count as f64 / bars.all as f64)).max(1.5);
        shapes.push([begin + 0.7, bottom - height, end - begin - 1.4, height]);
        hovers.push(([begin, top, end - begin, bottom - top], text));
    }
    svg.rectangles("bar", &shapes);
    svg.hovers(&hovers);
    svg.frame();
    svg.figure(caption(check))
}

impl Bars {
    fn new(errors: &Histogram) -> Self {
        let exponents = errors.counts().filter(|(error, _)| *error > 0.0);
        let exponents: Vec<f64> = exponents.map(|(error, _)| error.log10()).collect();
        let least = exponents.first().map_or(-1.0, |least| least.floor()) as i32;
        let most = exponents.last().map_or(0.0, |most| most.floor()) as i32;
        let high = most + 1;
        let low = least.clamp(high - MOST_DECADES, high - LEAST_DECADES);
        let per_decade = BARS
            .into_iter()
            .find(|bars| bars * (high - low) <= MOST_BARS);
        let per_decade = per_decade.unwrap_or(2);
        let mut bars = Self {
            low,
            high,
            per_decade,
            counts: vec![0; (per_decade * (high - low)) as usize],
            below: 0,
            all: 0,
        };
        for (error, count) in errors.counts() {
            let bar = ((error.log10() - f64::from(low)) * f64::from(per_decade)).floor();
            // The lowest bin has errors of 0.
            if error == 0.0 || bar < 0.0 {
                bars.below += count;
            } else {
                let last = bars.counts.len() - 1;
                bars.counts[(bar as usize).min(last)] += count;
            }
            bars.all += count;
        }
        bars
    }

    /// Returns the bars that are not empty: the errors at the ends, the count, and a text. The bar
    /// of smaller errors has no ends.
    fn bars(&self) -> Vec<(Option<[f64; 2]>, u64, String)> {
        let text = |range: String, count: u64| {
            let percent = percent(count as f64 / self.all as f64);
            format!("{range}: {percent}, {}", counted(count))
        };
        let low = 10f64.powi(self.low);
        let below = (
            None,
            self.below,
            text(format!("less than {low:.0e}"), self.below),
        );
        let bars = self.counts.iter().enumerate().map(|(bar, &count)| {
            let end = |bar: usize| {
                10f64.powf(f64::from(self.low) + bar as f64 / f64::from(self.per_decade))
            };
            let [begin, end] = [bar, bar + 1].map(end);
            (
                Some([begin, end]),
                count,
                text(format!("{begin:.1e} to {end:.1e}"), count),
            )
        });
        let all = [below].into_iter().chain(bars);
        all.filter(|(_, count, _)| *count > 0).collect()
    }

    fn description(&self) -> String {
        let bars = self.bars().into_iter().map(|(_, _, text)| text);
        let bars = bars.collect::<Vec<_>>().join("; ");
        format!("Relative errors of {} entries. {bars}.", group(self.all))
    }
}

/// Returns the smallest share of 4, 8, 20, 40, 60, 80 and 100 % that is not below a share. Its
/// quarters are round numbers.
fn nice(share: f64) -> f64 {
    let nice = [0.04, 0.08, 0.2, 0.4, 0.6, 0.8];
    nice.into_iter().find(|nice| share <= *nice).unwrap_or(1.0)
}

fn percent(share: f64) -> String {
    match 100.0 * share {
        percent if percent > 0.0 && percent < 0.1 => "under 0.1 %".to_owned(),
        percent if percent > 0.0 && percent < 1.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

fn counted(entries: u64) -> String {
    match entries {
        1 => "1 entry".to_owned(),
        entries => format!("{} entries", group(entries)),
    }
}

fn caption(check: &Check) -> String {
    let [median, max] = [check.rel_err.median, check.rel_err.max].map(|error| match error {
        error if error.is_finite() => short(error),
        _ => "infinite".to_owned(),
    });
    let context = if check.verdict != Verdict::Fail && check.rel_err.max > LARGE {
        " A large relative error is allowed in an entry that cancels to almost nothing."
    } else {
        ""
    };
    format!("The median is {median}, the largest error is {max}.{context}")
}
