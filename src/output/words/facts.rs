//! The facts behind a verdict, each with its label.

use super::{group, rounded, short};
use crate::{
    loss::IGNORE_INDEX,
    report::{
        Check, Code, ComparedOn, Coverage, DeviceInfo, Draw, Entry, NetworkInfo, ProblemInfo,
        Proof, Relation, Report, Seconds, Source, Verdict,
    },
    scheme::Method,
};

/// The number of causes tried in vain that are shown; JSON has all of them. Chosen.
const TRIED: usize = 6;
/// Causes that are frequent in forms other than the one that is tried.
const OPEN: [Code; 4] = [
    Code::Accumulated,
    Code::StaleWeights,
    Code::DropoutOn,
    Code::LabelsShifted,
];

/// Returns the labels and facts of a check: its errors, [its details](details), and the causes that
/// were tried in vain.
pub fn facts(check: &Check) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(location) = &check.location {
        facts.push(("where", location.text.clone()));
    }
    facts.extend(error_size(check).map(|size| ("error size", size)));
    facts.extend(details(check));
    facts.extend(tried(check).map(|tried| ("tried", tried)));
    facts
}

/// Returns the causes that were tried in vain, or `None` if there are none. If the cause is
/// unknown, the causes come first that have other forms than the one that was tried: one of them
/// may still be true.
pub fn tried(check: &Check) -> Option<String> {
    let (mut codes, mut texts) = (check.tried.clone(), Vec::new());
    if is_unknown(check) {
        let open = OPEN.into_iter().filter(|code| codes.contains(code));
        let with_form = |code: Code| format!("{code} ({})", code.form().unwrap_or_default());
        texts.extend(open.map(with_form));
        codes.retain(|code| !OPEN.contains(code));
    }
    let shown = TRIED - texts.len();
    let more = match codes.len().saturating_sub(shown) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    texts.extend(codes.iter().take(shown).map(Code::to_string));
    (!texts.is_empty()).then(|| texts.join(", ") + &more)
}

/// Returns true if the check failed for an unknown cause.
fn is_unknown(check: &Check) -> bool {
    let mut findings = check.findings.iter();
    findings.any(|finding| finding.code == Code::Unknown)
}

/// Returns the number of layers that are checked by the user's own upstream gradient.
fn upstream(network: &NetworkInfo) -> String {
    let (given, all) = (network.upstream, network.inner);
    match given {
        _ if all == 0 => String::new(),
        0 => "; through all layers: no gradient between them is given".to_owned(),
        _ if given == all => "; each layer by its own upstream gradient".to_owned(),
        _ => format!("; the upstream gradients of {given} of {all} layers are given"),
    }
}

/// Returns the labels and facts that describe a check: its gradients, its bounds, its errors.
pub fn details(check: &Check) -> Vec<(&'static str, String)> {
    let mut details = vec![("gradient", gradient(check))];
    details.extend(check.rows.as_ref().map(|rows| ("rows", coverage(rows))));
    details.push(("numeric", numeric(check)));
    details.push(("tolerance", tolerance(check)));
    if check.verdict == Verdict::Pass {
        let error = check.detectable;
        let detected = if check.is_zero {
            "any entry that is not zero within its tolerance".to_owned()
        } else {
            format!("a relative error of {error:.1e} or more in all entries")
        };
        details.push(("would detect", detected));
    }
    details.push(("relative error", rel_err(check)));
    if check.verdict != Verdict::Pass {
        details.push(("rule of thumb", rule_of_thumb(check.rel_err.mean)));
    }
    details
}

/// Returns the relations between the gradients of a report, or `None` if none were examined or all
/// causes are known.
pub fn agreement(report: &Report) -> Option<String> {
    if !report.checks.iter().any(is_unknown) {
        return None;
    }
    let relations = report.relations.iter().map(|relation| {
        let Relation {
            wrt,
            formula,
            holds,
            error,
            rows,
            of,
        } = relation;
        let answer = match (holds, error) {
            _ if *rows == 0 => "was not compared, because the problem is too large".to_owned(),
            (Some(true), _) => "holds".to_owned(),
            (Some(false), Some(error)) => {
                format!("does not hold (relative error {})", rounded(*error))
            }
            (Some(false), None) => "does not hold".to_owned(),
            (None, Some(error)) => format!("is undecided (relative error {})", rounded(*error)),
            (None, None) => "is undecided".to_owned(),
        };
        let part = if (1..*of).contains(rows) {
            let [rows, of] = [rows, of].map(|rows| group(*rows as u64));
            format!(" in {rows} of {of} rows")
        } else {
            String::new()
        };
        format!("{} = {formula} {answer}{part}", wrt.grad_name())
    });
    let relations = relations.collect::<Vec<_>>();
    (!relations.is_empty()).then(|| relations.join("; "))
}

/// Returns the name of the device and its driver.
pub fn device(device: &DeviceInfo) -> String {
    let DeviceInfo {
        name,
        kind,
        backend,
        driver,
        ..
    } = device;
    format!("{name} ({kind}; {backend}; {driver})")
}

/// Returns the sizes of the problem, and the loss with the names of PyTorch's options.
pub fn problem(problem: &ProblemInfo) -> String {
    let ProblemInfo {
        n,
        d,
        k,
        dtype,
        reduction,
        ..
    } = problem;
    if let Some(network) = &problem.network {
        let (functions, upstream) = (&network.functions, upstream(network));
        return format!("{functions}; {n} samples, {dtype}{upstream}");
    }
    let mut text = match d {
        Some(d) => format!("input [{n}, {d}] {dtype}, {k} classes; reduction='{reduction}'"),
        None => format!("logits [{n}, {k}] {dtype}; reduction='{reduction}'"),
    };
    if problem.label_smoothing > 0.0 {
        text += &format!(", label_smoothing={}", problem.label_smoothing);
    }
    if problem.ignore_index != IGNORE_INDEX {
        text += &format!(", ignore_index={}", problem.ignore_index);
    }
    if problem.class_weight {
        text += ", with class weights";
    }
    if problem.sample_weight {
        text += ", with sample weights";
    }
    if let Some(normalizer) = problem.normalizer {
        text += &format!(", normalizer={normalizer}");
    }
    text
}

/// Returns the duration of a run.
pub fn time(seconds: Seconds) -> String {
    let Seconds { load, total, .. } = seconds;
    format!("{total:.3} s, of which {load:.3} s loading")
}

/// Returns the gradient that was checked, and its origin.
fn gradient(check: &Check) -> String {
    let origin = match check.source {
        Source::Given => "as given",
        Source::BuiltIn => "from the built-in backward pass (--self-test)",
    };
    let dtype = check.dtype;
    match &check.tensor {
        Some(tensor) => format!("{tensor}, {dtype}, {origin}"),
        None => format!("with respect to {}, {dtype}, {origin}", check.wrt.name()),
    }
}

/// Returns the rows that were compared and, for a random draw, the share of wrong rows that it
/// would detect.
fn coverage(rows: &Coverage) -> String {
    let count = |rows: usize| group(rows as u64);
    let Coverage {
        compared,
        of,
        ranges,
        draw,
    } = rows;
    let Some(Draw {
        seed,
        from,
        seen_share,
    }) = draw
    else {
        return format!("{ranges} of {}", count(*of));
    };
    let drawn_from = if from.len() == *of {
        count(*of)
    } else {
        format!("rows {} to {}", from.start, from.end - 1)
    };
    format!(
        "{} of {drawn_from}, drawn at random (seed {seed}); \
         would include a wrong row with 99 % probability if {:.2} % of the rows were wrong",
        count(*compared),
        100.0 * seen_share
    )
}

/// Returns the finite difference and the place of the comparison.
fn numeric(check: &Check) -> String {
    if let Some(layer) = &check.layer {
        let (precision, eps) = (check.precision, check.eps);
        return format!(
            "local difference of {layer} without cancellation, {precision}, eps = {eps:.3e}"
        );
    }
    let of = match check.method {
        Method::Difference => "difference without cancellation",
        Method::ForwardPass => "difference of forward passes",
    };
    let on = match check.compared {
        ComparedOn::Host => "",
        ComparedOn::Device => "; compared on the device",
    };
    let (scheme, precision) = (check.scheme, check.precision);
    format!("{scheme} {of}, {precision}, eps = {:.3e}{on}", check.eps)
}

/// Returns the bound on the error of a correct entry.
fn tolerance(check: &Check) -> String {
    match check.tolerance.given {
        Some(given) => format!(
            "rtol {}, atol {}, as given",
            exact(given.rtol),
            exact(given.atol)
        ),
        None if check.layer.is_some() => {
            let dtype = check.dtype;
            format!("rounding of {dtype} in this layer, estimated for each entry")
        }
        None => format!(
            "rounding of {}: {:.1e} of the magnitudes summed in each entry",
            check.dtype, check.tolerance.rounding
        ),
    }
}

/// Returns all digits of a tolerance: `1e-3`, `1`, `0`.
fn exact(tolerance: f64) -> String {
    format!("{tolerance:e}").trim_end_matches("e0").to_owned()
}

/// Returns the sizes of the errors, or `None` if no single entry is wrong or one is not finite.
pub fn error_size(check: &Check) -> Option<String> {
    let worst = check.worst.first().map_or(0.0, Entry::severity);
    if check.wrong == 0 || !worst.is_finite() {
        return None;
    }
    let times = if worst > 1e9 {
        "more than a billion".to_owned()
    } else {
        rounded(worst)
    };
    let mean = short(check.rel_err.mean);
    Some(format!(
        "{mean} relative on average; the worst entry is off by {times} times the allowed error"
    ))
}

/// Returns the relative errors in five numbers.
fn rel_err(check: &Check) -> String {
    let it = &check.rel_err;
    format!(
        "mean {:.2e}, median {:.2e}, p99 {:.2e}, max {:.2e}; whole tensor {:.2e}",
        it.mean, it.median, it.p99, it.max, it.norm
    )
}

/// Returns the rule of thumb of the cs231n notes ("Gradient checks") for a mean relative error. The
/// verdict does not depend on it.
fn rule_of_thumb(rel_err: f64) -> String {
    let rule = match rel_err {
        error if error > 1e-2 => "over 1e-2: probably wrong",
        error if error > 1e-4 => "over 1e-4: should make you feel uncomfortable",
        error if error > 1e-7 => "over 1e-7: okay if the objective has kinks",
        _ => "1e-7 or less: you should be happy",
    };
    format!("mean {rule} (cs231n)")
}

/// Returns the effect of a correction:
/// `divided by 10: relative error 9 before, 1.1e-7 after; 40 of 40 entries wrong before, 0 after`.
pub fn proof(proof: &Proof) -> String {
    let [before, after] = proof.wrong.map(|wrong| group(wrong as u64));
    let [entries, entries_after] = proof.entries.map(|entries| group(entries as u64));
    let of = if entries == entries_after {
        String::new()
    } else {
        format!(" of {entries_after}")
    };
    let [error_before, error_after] = proof.error.map(rounded);
    format!(
        "{}: relative error {error_before} before, {error_after} after; \
         {before} of {entries} {sampled}entries wrong before, {after}{of} after",
        correction(proof),
        sampled = if proof.sampled { "sampled " } else { "" }
    )
}

/// Returns the correction in words.
pub fn correction(proof: &Proof) -> String {
    if proof.up_to_factor {
        format!("{}, apart from one factor", proof.correction)
    } else {
        proof.correction.clone()
    }
}
