//! `unknown`: errors that no cause in the catalogue explains. The finding reports their places.

use crate::{
    diagnose::{
        evidence::Evidence,
        pair::Pair,
        words::{number, variable},
    },
    problem::Wrt,
    report::{Code, Comparison, Finding, Scale},
};

/// Cosine above which a gradient counts as nearly the right one. Chosen.
const NEAR: f64 = 0.99;
/// Cosine above which a large factor is probably a number of passes. Chosen.
const ALIKE: f64 = 0.9;
/// Smallest factor that counts as two passes. Chosen.
const TWO_PASSES: f64 = 1.8;

const ASSUMPTION: &str = "gradprobe assumes one linear layer under softmax cross-entropy. If an \
                          activation, dropout, a norm or another layer lies between input and \
                          logits, save the input of the last layer and its gradient. Another loss \
                          (MSE, binary cross-entropy) has another gradient";
const ONE_CLASS: &str = "The softmax of a single logit is 1, so its cross-entropy has no gradient. \
                         One output with a sigmoid is binary cross-entropy: save weight and bias \
                         with a first row of zeros, and targets 0 and 1";
const COMPARE: &str = "Compare with torch.nn.functional.cross_entropy in float64 on the same \
                       arrays, and turn off parts of the loss one by one";

/// Returns the finding for the errors of a pair that remain at a step.
pub(in crate::diagnose) fn finding(evidence: &Evidence, pair: &Pair, step: usize) -> Finding {
    let (scale, cosine) = scale_and_cosine(evidence, pair, step);
    let mut found = Finding {
        step,
        confidence: 0.0,
        ..Finding::new(Code::Unknown, message(evidence, step, scale, cosine), "")
    };
    if scale.is_finite() && cosine.is_finite() {
        let remainder = (1.0 - cosine * cosine).max(0.0).sqrt();
        let numbers = [
            ("scale", scale),
            ("cosine", cosine),
            ("remainder", remainder),
        ];
        let numbers = numbers.map(|(name, value)| (name.to_owned(), value));
        found.evidence.extend(numbers);
    }
    let is_zero = |&row: &usize| {
        let mut entries = pair.row(row);
        pair.row(row).all(|e| pair.a[e] == 0.0) && entries.any(|e| pair.is_visible(e))
    };
    let zeros = (0..pair.rows()).filter(is_zero).count();
    if zeros > 0 {
        let share = zeros as f64 / pair.rows() as f64;
        let name = "share of rows that are zero".to_owned();
        found.evidence.push((name, share));
    }
    found.fix = if evidence.problem.k() == 1 {
        uncapitalised(ONE_CLASS)
    } else {
        let counts = &evidence.check.tally.counts;
        let is_mostly_wrong = 2 * counts.wrong >= counts.entries;
        fix(None, hint(evidence.wrt, &found), is_mostly_wrong)
    };
    found
}

/// Returns true if the finding explains that a single class has no gradient.
pub(in crate::diagnose) fn is_one_class(finding: &Finding) -> bool {
    finding.fix == uncapitalised(ONE_CLASS)
}

/// Returns the change to try. `conclusion` is drawn from other gradients of the file; `assumes` is
/// false if they, or most of the entries, show that the model is the right one.
pub(in crate::diagnose) fn fix(
    conclusion: Option<String>,
    hint: Option<String>,
    assumes: bool,
) -> String {
    // A gradient with a hint is nearly that of the assumed model.
    let is_near = hint.is_some();
    let assumption = (assumes && !is_near).then(|| ASSUMPTION.to_owned());
    let compare = (conclusion.is_none() && !is_near).then(|| COMPARE.to_owned());
    let sentences = [conclusion, hint, assumption, compare];
    let sentences: Vec<String> = sentences.into_iter().flatten().collect();
    uncapitalised(&sentences.join(". "))
}

/// Returns the text with a small first letter, as fixes begin.
fn uncapitalised(text: &str) -> String {
    let (first, rest) = text.split_at(text.len().min(1));
    first.to_lowercase() + rest
}

/// Returns the habit of training scripts that leaves such a factor and such a cosine, if there is
/// one.
pub(in crate::diagnose) fn hint(wrt: Wrt, finding: &Finding) -> Option<String> {
    let number = |name: &str| {
        let mut numbers = finding.evidence.iter();
        numbers.find(|(it, _)| it == name).map(|(_, value)| *value)
    };
    let (scale, cosine) = (number("scale")?, number("cosine")?);
    if finding.step > 1 {
        None
    } else if scale > TWO_PASSES && cosine > ALIKE {
        let (variable, passes) = (variable(wrt), scale.round());
        Some(format!(
            "Probably about {passes} backward passes were summed while the weights moved \
             (accumulated): set {variable}.grad = None before each backward pass"
        ))
    } else if cosine > NEAR {
        Some(
            "The weights in the file may be those after optimizer.step(), whichever optimizer: \
             save or clone input, weight and bias before it"
                .to_owned(),
        )
    } else {
        None
    }
}

/// Returns scale and cosine over all entries if they are known: most of the examined rows may be
/// wrong ones.
fn scale_and_cosine(evidence: &Evidence, pair: &Pair, step: usize) -> (f64, f64) {
    let tally = &evidence.check.tally;
    let whole = tally.scale().filter(|_| step == 1).map(|scale| {
        let (aa, gg) = (
            tally.sums.analytic_analytic.value(),
            tally.sums.numeric_numeric.value(),
        );
        (
            scale,
            tally.sums.analytic_numeric.value() / (aa * gg).sqrt(),
        )
    });
    whole.unwrap_or_else(|| (pair.scale(), pair.cosine()))
}

fn message(evidence: &Evidence, step: usize, scale: f64, cosine: f64) -> String {
    let (check, name) = (evidence.check, evidence.name());
    if step > 1 {
        return format!("no cause in the catalogue explains the errors that are left in {name}");
    }
    if check.tally.counts.wrong == 0 {
        return no_single_entry(check, evidence.column_noun());
    }
    let skipped = if evidence.is_affordable() {
        ""
    } else {
        ", and the problem is too large to look for causes other than one factor"
    };
    let place = whereabouts(evidence);
    let is_mostly_wrong = 2 * check.tally.counts.wrong >= check.tally.counts.entries;
    let lead = if is_mostly_wrong && cosine > ALIKE {
        let place = match place.as_str() {
            "everywhere" => String::new(),
            place => format!(", wrong {place}"),
        };
        format!(
            "{name} is about {} times the correct gradient, and points {} way (cosine {}){place}",
            about(scale),
            if cosine > NEAR {
                "the same"
            } else {
                "nearly the same"
            },
            near_one(cosine)
        )
    } else if is_mostly_wrong && cosine.is_finite() {
        let way = if cosine > 0.0 {
            "in another direction than"
        } else {
            "away from"
        };
        format!(
            "{name} is wrong {place}: it points {way} the correct gradient (cosine {cosine:.2})"
        )
    } else {
        format!("{name} is wrong {place}")
    };
    format!("{lead}; no cause in the catalogue explains it{skipped}")
}

/// Formats a factor with the digits that tell it from 1: 30, 1.08, 1.004.
fn about(scale: f64) -> String {
    match scale {
        s if s >= 10.0 => number(s.round()),
        s if s >= TWO_PASSES => format!("{s:.1}"),
        s if (s - 1.0).abs() > 0.05 => format!("{s:.2}"),
        s => format!("{s:.4}"),
    }
}

/// Formats a cosine with the digits that tell it from 1.
fn near_one(cosine: f64) -> String {
    match cosine {
        c if c > 0.999_999 => "over 0.999999".to_owned(),
        c if c > 0.999 => format!("{c:.6}"),
        c => format!("{c:.3}"),
    }
}

/// Returns the places of the wrong entries, with rows numbered as in the whole gradient.
fn whereabouts(evidence: &Evidence) -> String {
    let number = |row| evidence.problem.row_number(evidence.wrt, row);
    let location = if number(0) == 0 {
        evidence.check.location(evidence.layout())
    } else {
        let mut check = evidence.check.clone();
        check.tally.number_rows(number);
        check.location(evidence.layout())
    };
    location.map_or_else(|| "in no single entry".to_owned(), |location| location.text)
}

/// Describes a gradient that is off as a whole, or in whole columns, by too little to show in a
/// single entry.
fn no_single_entry(check: &Comparison, column_noun: &str) -> String {
    let name = check.wrt.grad_name();
    let off = check.columns_off();
    let few = 2 * off.len() < check.tally.columns.0.len();
    let (part, scale) = match (off.as_slice(), check.scale()) {
        ([(column, scale)], _) if few => (format!("{column_noun} {column} of {name}"), *scale),
        ([(column, scale), ..], _) if few => (
            format!(
                "{column_noun} {column} of {name} (and {} more)",
                off.len() - 1
            ),
            *scale,
        ),
        (_, Some(scale)) => (name.to_owned(), scale),
        _ => return format!("{name} is off by less than shows in a single entry"),
    };
    let Scale { factor, allowed } = scale;
    format!(
        "{part} is {factor:.6} times the correct gradient as a whole, but rounding explains only \
         ±{allowed:.1e}; no single entry shows it"
    )
}
