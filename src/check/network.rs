//! The check of a network: every tensor that is given, by the layer that computes it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

mod cause;

use super::{Listener, MIN_POWER, Options, compare::Frame};
use crate::{
    device::Device,
    engine::{Bounds, Evaluation, Values},
    error::{Error, Result},
    loss::{IGNORE_INDEX, Reduction},
    network::{Handed, Network, Rows, Tested},
    problem::{Layout, Wrt},
    report::{
        Check, ComparedOn, Comparison, Coverage, NetworkInfo, ProblemInfo, Ranges, Report, Seconds,
        Source, Tally, Verdict,
    },
    rounding::{Noise, Tolerance},
    scheme::{Method, Precision, Scheme},
    tensor::Dtype,
};

/// Rows of a block, and of a strip: few enough to stay in the cache. Chosen.
const BLOCK_ROWS: usize = 256;
const STRIP_ROWS: usize = 32;
/// The rounding that all entries share: that of the divisor of the loss, in units of the unit
/// roundoff.
const SHARED: f64 = 4.0;

/// A tensor, as far as its rows were visited.
#[derive(Default)]
struct Seen {
    tally: Tally,
    /// Clauses that name a mistake of the layer which gives all rows.
    mistakes: Vec<&'static str>,
    /// Entries that are subgradients on a kink, but not PyTorch's.
    on_kink: usize,
    /// The numeric rows, if the listener wants them.
    numeric: Vec<f64>,
}

/// Validates the options of a check of a network.
///
/// # Errors
/// [`Error::Setting`] for an option out of range, or one that a network does not take.
pub fn validate(network: &Network, options: &Options) -> Result<()> {
    let given = [
        ("--eps", options.eps.map(|it| format!("{it:?}"))),
        (
            "--method",
            (options.method != Method::default()).then(|| "forward-pass".to_owned()),
        ),
        (
            "--scheme",
            (options.scheme != Scheme::default()).then(|| options.scheme.to_string()),
        ),
        ("--precision", options.precision.map(|it| it.to_string())),
        ("--sample", options.sample.map(|it| it.rows.to_string())),
    ];
    let mut given = given.into_iter();
    if let Some((name, found)) = given.find_map(|(name, found)| Some((name, found?))) {
        let expected = "a network is checked by the central difference in f64, at its own step, in \
                        all rows or in those of --rows";
        return Err(Error::Setting {
            name,
            found,
            expected: expected.to_owned(),
        });
    }
    options.validate_tolerances()?;
    match &options.rows {
        Some(rows) if network.is_coupled() => Err(Error::Setting {
            name: "--rows",
            found: format!("{}..{}", rows.start, rows.end),
            expected: "batch_norm in training mode takes all samples together".to_owned(),
        }),
        _ => options.validate_range(network.samples()),
    }
}

/// Checks all tensors of a network. The gradient of a parameter is left out, with a note, if the
/// options select rows. If the listener interrupts, the report has the samples that are done, and
/// no parameter.
///
/// # Errors
/// Those of [`validate`] and of the listener, and [`Error::OraclesDisagree`] if the difference of
/// the whole network along random directions contradicts those of its layers.
pub fn network(
    network: &Network,
    options: &Options,
    listener: &mut dyn Listener,
) -> Result<Report> {
    let started = std::time::Instant::now();
    validate(network, options)?;
    let dtype = network.dtype();
    let selected = options.rows.clone().unwrap_or(0..network.samples());
    let mut all_seen: BTreeMap<String, Seen> = BTreeMap::new();
    let wants_numeric = listener.wants_numeric();
    let mut visit = |rows: &Rows| {
        let name = rows.tested.name.clone();
        let seen = all_seen.entry(name).or_insert_with(|| Seen {
            mistakes: rows.mistakes.to_vec(),
            ..Seen::default()
        });
        add(&mut seen.tally, rows, dtype, options);
        seen.mistakes
            .retain(|mistake| rows.mistakes.contains(mistake));
        seen.on_kink += rows.undecided.len();
        if wants_numeric {
            seen.numeric.extend(rows.numeric);
        }
    };
    network.confirm()?;
    let (all, mut done) = (selected.len(), 0);
    let is_done = network.check(
        selected.clone(),
        Handed::Given,
        &mut visit,
        &mut |samples| {
            done = samples;
            listener.progress(samples as u64, all as u64);
            samples == all || !listener.is_interrupted()
        },
    );
    let (mut checks, mut notes, mut numeric) = (Vec::new(), Vec::new(), BTreeMap::new());
    for tested in network.tested() {
        let name = &tested.name;
        let Some(mut seen) = all_seen.remove(name) else {
            if is_done {
                notes.push(format!(
                    "{name} is not checked: it is a sum over all samples, and --rows selects some"
                ));
            }
            continue;
        };
        let rows = if tested.is_parameter {
            0..shape(tested)[0]
        } else {
            selected.start..selected.start + done
        };
        numeric.insert(name.clone(), std::mem::take(&mut seen.numeric));
        checks.push(check(tested, seen, rows, network, options));
    }
    mark_consequences(network, selected, &mut checks, listener);
    // The report leads with what is wrong.
    checks.sort_by_key(|check| check.verdict != Verdict::Fail);
    for check in &checks {
        if let Some(numeric) = numeric.remove(check.name()).filter(|_| wants_numeric) {
            listener.begin(check.wrt, numeric.len() as u64, 0);
            listener.numeric(&numeric)?;
        }
    }
    let compute = started.elapsed().as_secs_f64();
    let device = Device::Cpu { note: None }.info();
    Ok(Report {
        notes,
        interrupted: !is_done,
        seconds: Seconds {
            load: 0.0,
            compute,
            total: compute,
        },
        ..Report::new(device, info(network), checks)
    })
}

/// Marks the tensors that are no derivatives of the loss, although the layer that computes each is
/// right: it was handed a wrong gradient.
fn mark_consequences(
    network: &Network,
    selected: Range<usize>,
    checks: &mut [Check],
    listener: &mut dyn Listener,
) {
    let is_wrong = |check: &Check| check.verdict == Verdict::Fail;
    let has_upstream = network.upstream()[0] > 0;
    if !has_upstream || !checks.iter().any(is_wrong) {
        return;
    }
    let mut wrong = BTreeSet::new();
    let mut visit = |rows: &Rows| {
        if !rows.wrong().is_empty() {
            wrong.insert(rows.tested.name.clone());
        }
    };
    let mut keep_going = |_| !listener.is_interrupted();
    network.check(selected, Handed::Numeric, &mut visit, &mut keep_going);
    for check in checks.iter_mut().filter(|check| !is_wrong(check)) {
        check.consequence = wrong.contains(check.name());
    }
}

/// Returns the rows and columns of a tensor as a matrix.
fn shape(tested: &Tested) -> [usize; 2] {
    let shape = tested.tensor.shape();
    let rows = shape.first().copied().unwrap_or(1);
    [rows, shape.iter().skip(1).product()]
}

fn tolerance(tested: &Tested, dtype: Dtype, options: &Options) -> Tolerance {
    let [rows, _] = shape(tested);
    Tolerance {
        // The bounds of a network are those of the entries themselves.
        rounding: 1.0,
        floor: 0.0,
        lost: 0.0,
        drift: 0.0,
        shared: SHARED * dtype.unit_roundoff(),
        // The errors of a layer may be alike in all rows.
        alike: (rows as f64).sqrt(),
        given: options.given(),
    }
}

/// Compares rows, and adds them to the tally.
fn add(tally: &mut Tally, rows: &Rows, dtype: Dtype, options: &Options) {
    let shape = shape(rows.tested);
    let columns = shape[1];
    let frame = Frame {
        shape,
        normalizer: 1.0,
        block_rows: BLOCK_ROWS,
        strip_rows: STRIP_ROWS,
        labels: None,
        plan: None,
        unit_roundoff: dtype.unit_roundoff(),
        tolerance: tolerance(rows.tested, dtype, options),
        noise: Cow::Owned(Noise::of_entries(columns)),
        picture: options.picture,
        keeps_numeric: false,
    };
    let count = rows.rows.len();
    let mut conditioning = vec![0.0; rows.numeric.len()];
    for &(entry, width) in rows.undecided {
        conditioning[entry] = width;
    }
    let evaluation = Evaluation {
        values: Values::Derivative(rows.numeric.to_vec()),
        bounds: Bounds {
            conditioning,
            tolerated: rows.allowed.to_vec(),
            magnitude: vec![0.0; count],
            logit_error: vec![0.0; count],
            totals: vec![0.0; count],
            ..Bounds::default()
        },
        ..Evaluation::default()
    };
    let analytic = |wanted: Range<usize>, values: &mut Vec<f64>| {
        let place = |row: usize| (row - rows.rows.start) * columns;
        *values = rows.analytic[place(wanted.start)..place(wanted.end)].to_vec();
    };
    frame.compare(tally, rows.rows.clone(), &evaluation, &analytic);
}

/// Returns the result of a tensor.
fn check(
    tested: &Tested,
    seen: Seen,
    done: Range<usize>,
    network: &Network,
    options: &Options,
) -> Check {
    let dtype = network.dtype();
    let [rows, _] = shape(tested);
    let axes = tested.tensor.shape().len();
    let layout = Layout::new(tested.tensor.shape(), axes.min(1)..axes);
    let comparison = Comparison {
        wrt: Wrt::Input,
        source: Source::Given,
        dtype,
        method: Method::Difference,
        scheme: Scheme::Central,
        precision: Precision::F64,
        eps: Network::STEP,
        tolerance: tolerance(tested, dtype, options),
        min_power: options.min_power.unwrap_or(MIN_POWER),
        compared: ComparedOn::Host,
        coverage: Coverage::new(Ranges::from(done), rows),
        tally: seen.tally,
    };
    let findings = match comparison.verdict() {
        Verdict::Fail => {
            cause::findings(network, tested, &comparison, seen.mistakes.first().copied())
        }
        _ if seen.on_kink > 0 => vec![cause::other_subgradient(tested, seen.on_kink)],
        _ => Vec::new(),
    };
    let mut check = Check::new(comparison, Some(&layout), findings, Vec::new());
    if tested.is_parameter {
        check.wrt = Wrt::Weight;
    }
    check.tensor = Some(tested.name.clone());
    check.layer = Some(tested.node.clone());
    let suspects = network.suspects(tested);
    if suspects.len() > 1 {
        check.suspects = suspects.into_iter().map(str::to_owned).collect();
    }
    check
}

fn info(network: &Network) -> ProblemInfo {
    let ([d, k], [upstream, inner]) = (network.widths(), network.upstream());
    ProblemInfo {
        n: network.samples(),
        d: Some(d),
        k,
        dtype: network.dtype(),
        network: Some(NetworkInfo {
            functions: network.functions(),
            upstream,
            inner,
        }),
        reduction: Reduction::Mean,
        label_smoothing: 0.0,
        ignore_index: IGNORE_INDEX,
        class_weight: false,
        sample_weight: false,
        normalizer: None,
    }
}
