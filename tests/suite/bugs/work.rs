//! The two programs that a bug works on, and the wrong gradient that results.

use std::fmt::Write;

use gradprobe::{
    problem::{Problem, Wrt},
    report::Code,
    tensor::Dtype,
};

use super::{
    fit::{Fit, SCALES, coincidences, is_saturated, is_visible},
    numbers::{Rng, distance, norm},
    program::Program,
};
use crate::framework::round;

/// Makes one bug, or returns `None` if the draw has no room for it.
pub(crate) type Bug = fn(&mut Work, &mut Rng) -> Option<()>;

/// Places where a gradient is wrong; `None` means everywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    pub(crate) rows: Option<Vec<usize>>,
    pub(crate) columns: Option<Vec<usize>>,
    pub(crate) labels: Option<Vec<usize>>,
}

/// A wrong gradient, with the problem that the checker sees.
pub(crate) struct Case {
    /// The code that must come first.
    pub(crate) code: Code,
    /// Other codes that give the same arrays in this case.
    pub(crate) also: Vec<Code>,
    pub(crate) wrt: Wrt,
    /// Type of the gradient under test.
    pub(crate) dtype: Dtype,
    /// The problem that the file declares.
    pub(crate) problem: Problem,
    /// The wrong gradient, with each entry rounded to `dtype`.
    pub(crate) gradient: Vec<f64>,
    /// Shape, scale and the bug's own parameters, for messages.
    pub(crate) description: String,
    pub(crate) touched: Touched,
}

/// The program that the file describes, and the one that ran.
pub(crate) struct Work {
    pub(crate) wrt: Wrt,
    pub(crate) file: Program,
    pub(crate) program: Program,
    /// Gradient of the program, once it has run.
    gradient: Option<Vec<f64>>,
    notes: String,
    pub(crate) also: Vec<Code>,
    pub(crate) touched: Touched,
}

impl Work {
    pub(crate) fn new(wrt: Wrt, file: Program) -> Self {
        Self {
            wrt,
            program: file.clone(),
            file,
            gradient: None,
            notes: String::new(),
            also: Vec::new(),
            touched: Touched::default(),
        }
    }

    /// Changes the file, and the program with it. Bugs come later.
    pub(crate) fn declare(&mut self, change: impl FnOnce(&mut Program)) {
        assert!(self.gradient.is_none(), "it has run");
        change(&mut self.file);
        self.program = self.file.clone();
    }

    pub(crate) fn plain(&mut self, rng: &mut Rng) {
        self.declare(|program| program.plain(rng));
    }

    /// Returns the program before it runs.
    pub(crate) fn program(&mut self) -> &mut Program {
        assert!(self.gradient.is_none(), "it has run");
        &mut self.program
    }

    /// Replaces the file and the result of the program that ran.
    pub(crate) fn ran(&mut self, file: Program, gradient: Vec<f64>) {
        self.file = file;
        self.gradient = Some(gradient);
    }

    /// Runs the program, unless it has run, and returns its gradient.
    pub(crate) fn gradient(&mut self) -> &mut Vec<f64> {
        let (program, wrt) = (&self.program, self.wrt);
        self.gradient.get_or_insert_with(|| program.gradient(wrt))
    }

    /// Changes every entry of the gradient, given its place.
    pub(crate) fn map(&mut self, mut change: impl FnMut(usize, f64) -> f64) {
        let arithmetic = self.program.arithmetic;
        let entries = self.gradient().iter_mut().enumerate();
        entries.for_each(|(e, g)| *g = arithmetic.round(change(e, *g)));
    }

    /// Takes every entry of the gradient from another place.
    pub(crate) fn take(&mut self, from: impl Fn(usize) -> usize) {
        let before = self.gradient().clone();
        self.map(|e, _| before[from(e)]);
    }

    pub(crate) fn note(&mut self, note: impl std::fmt::Display) {
        write!(self.notes, ", {note}").unwrap();
    }

    pub(crate) fn dtype(&self) -> Dtype {
        self.file.arithmetic.dtype
    }

    pub(crate) fn rows(&self) -> usize {
        let (n, _, k) = self.file.shape;
        if self.wrt.is_parameter() { k } else { n }
    }

    pub(crate) fn columns(&self) -> usize {
        let (_, d, k) = self.file.shape;
        match self.wrt {
            Wrt::Input | Wrt::Weight => d,
            Wrt::Logits => k,
            Wrt::Bias => 1,
        }
    }

    /// Returns the case, or `None` if the loss is saturated or the bug is not larger than the
    /// rounding.
    pub(crate) fn finish(mut self, code: Code) -> Option<Case> {
        let dtype = self.dtype();
        let gradient: Vec<f64> = self.gradient().iter().map(|&g| round(dtype, g)).collect();
        let exact = self.file.exact();
        let dlogits = exact.dlogits();
        let reference = exact.gradient_from(&dlogits, self.wrt);
        if is_saturated(&dlogits, self.file.shape.2) {
            return None;
        }
        // In f64 both are the same; then the rounding is about the loss of such a calculation.
        let rounding = distance(&self.file.gradient(self.wrt), &reference) / norm(&reference);
        let rounding = rounding.max(1e-14);
        if code != Code::NotFinite {
            let fit = Fit::of(&gradient, &reference);
            let sizes = exact.sizes(&dlogits, self.wrt);
            let terms = self.file.problem().terms(self.wrt);
            let visible = is_visible(&gradient, &reference, &sizes, dtype, terms);
            if !(visible && fit.error > 10.0 * rounding) {
                return None;
            }
            if fit.rho < 3.0 * rounding {
                let tolerance = 3.0 * rounding + 4.0 * dtype.unit_roundoff();
                self.also
                    .extend(coincidences(&self.file, &gradient, fit.scale, tolerance));
                self.also
                    .extend((!SCALES.contains(&code)).then_some(Code::Scaled));
            }
            self.note(fit);
        }
        self.also.retain(|also| *also != code);
        Some(Case {
            code,
            also: self.also,
            wrt: self.wrt,
            dtype,
            description: describe(&self.file, self.wrt, &self.notes),
            problem: self.file.problem(),
            gradient,
            touched: self.touched,
        })
    }
}

fn describe(file: &Program, wrt: Wrt, notes: &str) -> String {
    let (n, d, k) = file.shape;
    let mut text = format!(
        "wrt {} {} n {n} d {d} k {k} scale {:.2} {:?}",
        wrt.name(),
        file.arithmetic.dtype,
        file.scale,
        file.loss.reduction
    );
    let ignored = n - file.counted().len();
    let options = [
        (file.bias.is_some(), "bias".to_owned()),
        (ignored > 0, format!("{ignored} ignored")),
        (file.loss.class_weight.is_some(), "class weights".to_owned()),
        (
            file.loss.label_smoothing > 0.0,
            format!("smoothing {}", file.loss.label_smoothing),
        ),
    ];
    let holding = options.into_iter().filter(|(holds, _)| *holds);
    holding.for_each(|(_, option)| write!(text, " {option}").unwrap());
    text + notes
}
