//! The check of a network: forward in f64, and from the loss back by local differences.

use std::{borrow::Cow, ops::Range};

use rayon::prelude::*;

use super::{
    arithmetic::{Arithmetic, quadrature},
    build::{Built, Network, Tested},
    kinks::OnKink,
    layer::Upstream,
    noise::Noise,
    values::{At, Errors},
};

/// Entries of the widest value in a block of rows. Chosen: they stay in the cache.
const BLOCK: usize = 1 << 16;
/// Most and fewest rows of a block.
const ROWS: [usize; 2] = [1, 256];
/// Blocks for each thread in a wave, at least.
const AHEAD: usize = 2;
/// Bytes of the values of a wave, unless a thread's own blocks take more. Chosen.
const WAVE: usize = 1 << 28;
/// Bytes for each value of a block: it, its gradient, the errors of both, and the user's own.
/// Measured, rounded up.
pub(super) const BYTES_OF_VALUE: usize = 96;

/// Rows of a tensor, compared: those of a block of samples, or all of a parameter.
pub struct Rows<'a> {
    /// The tensor that they are part of.
    pub tested: &'a Tested,
    /// The numbers of the rows: samples, or the entries of the parameter's first axis.
    pub rows: Range<usize>,
    /// The tensor under test.
    pub analytic: &'a [f64],
    /// The local differences, or the value of the layer.
    pub numeric: &'a [f64],
    /// The largest error of a right value.
    pub allowed: &'a [f64],
    /// Entries on a kink whose analytic value is a subgradient, but not PyTorch's, and the
    /// difference between the derivatives on both sides. Their numeric value is the same.
    pub undecided: &'a [(usize, f64)],
    /// Clauses that name a mistake of the layer which gives all of these rows.
    pub mistakes: &'a [&'static str],
}

impl Rows<'_> {
    /// Returns the entries that are wrong, counted from the first of these rows.
    pub fn wrong(&self) -> Vec<usize> {
        let is_wrong = |&i: &usize| {
            let error = (self.analytic[i] - self.numeric[i]).abs();
            !(error <= self.allowed[i])
        };
        (0..self.numeric.len()).filter(is_wrong).collect()
    }
}

/// The gradients that layers are handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// The user's own where they are given: each layer is judged by itself.
    Given,
    /// Those of the differences: each tensor is judged as a derivative of the loss.
    Numeric,
}

/// A block of samples, forward.
pub(super) struct Forward {
    /// The values that a program has.
    pub(super) values: Vec<Vec<f64>>,
    /// Their errors, none where they are given.
    errors: Vec<Errors>,
    /// The layers' values where values are given, by their place, and their errors.
    computed: Vec<(usize, Vec<f64>, Errors)>,
}

/// A block of samples, from the loss back.
pub(super) struct Reverse {
    pub(super) rows: Range<usize>,
    pub(super) forward: Forward,
    pub(super) handed: Handed,
    /// The user's gradient of each value, if it is given.
    pub(super) theirs: Vec<Option<Vec<f64>>>,
    /// The gradient of each value: numeric, and the errors of a program's.
    pub(super) gradients: Vec<(Vec<f64>, Errors)>,
    /// The mistakes of a layer that give the user's gradient of a value.
    mistakes: Vec<Vec<&'static str>>,
    /// The entries of the user's gradient of a value that are subgradients on a kink.
    on_kinks: Vec<Vec<OnKink>>,
}

impl Forward {
    /// Returns the inputs of a node.
    fn inputs(&self, node: &Built) -> Vec<&[f64]> {
        let places = node.inputs.iter();
        places.map(|&place| self.values[place].as_slice()).collect()
    }
}

impl Network {
    /// Checks all gradients in a range of samples. `visit` gets the rows of each: those of values
    /// block by block, in order, and at last those of parameters, if these are all samples.
    /// `keep_going` gets the number of samples that are done. If it returns false, the check ends,
    /// without the parameters; then returns false too.
    pub fn check(
        &self,
        samples: Range<usize>,
        handed: Handed,
        visit: &mut dyn FnMut(&Rows),
        keep_going: &mut dyn FnMut(usize) -> bool,
    ) -> bool {
        let blocks = self.blocks(samples.clone());
        let is_whole = samples == (0..self.n);
        let waves: Vec<&[Range<usize>]> = blocks.chunks(self.blocks_of_wave()).collect();
        let mut sums = self.no_sums();
        for (index, wave) in waves.iter().enumerate() {
            let checked = wave
                .par_iter()
                .map(|rows| self.look_again(self.block(rows, handed, None)));
            let done: Vec<Reverse> = checked.collect();
            for block in &done {
                self.visit_values(block, visit);
            }
            if !keep_going(wave[wave.len() - 1].end - samples.start) {
                return false;
            }
            match index + 1 == waves.len() {
                _ if !is_whole => {}
                true => self.visit_parameters(&blocks, std::mem::take(&mut sums), &done, visit),
                false => self.add_shares(&done, &mut sums),
            }
        }
        true
    }

    /// Returns the number of blocks that are computed at a time.
    pub(super) fn blocks_of_wave(&self) -> usize {
        let bytes = BYTES_OF_VALUE * self.block_rows() * self.width();
        (WAVE / bytes.max(1)).max(AHEAD * rayon::current_num_threads())
    }

    /// Returns the blocks of a range of samples.
    pub(super) fn blocks(&self, samples: Range<usize>) -> Vec<Range<usize>> {
        let (size, end) = (self.block_rows(), samples.end);
        let starts = samples.step_by(size);
        starts.map(|start| start..end.min(start + size)).collect()
    }

    /// Returns the rows of a block: all, if a sample depends on others.
    pub(super) fn block_rows(&self) -> usize {
        if self.is_coupled() {
            return self.n;
        }
        let widest = self.values.iter().map(|value| value.width).max();
        (BLOCK / widest.unwrap_or(1).max(1)).clamp(ROWS[0], ROWS[1])
    }

    fn visit_values(&self, block: &Reverse, visit: &mut dyn FnMut(&Rows)) {
        for (place, numeric, errors) in &block.forward.computed {
            let tested = self.values[*place].value.as_ref();
            let Some(tested) = tested.filter(|it| self.is_asked(it)) else {
                continue;
            };
            visit(&Rows {
                tested,
                rows: block.rows.clone(),
                analytic: &tested.tensor.rows::<f64>(block.rows.clone()),
                numeric,
                allowed: &self.allowed(errors),
                undecided: &[],
                mistakes: &[],
            });
        }
        for (place, value) in self.values.iter().enumerate().rev() {
            let (Some(gradient), Some(theirs)) = (&value.gradient, &block.theirs[place]) else {
                continue;
            };
            if !self.is_asked(gradient) {
                continue;
            }
            let (numeric, errors) = &block.gradients[place];
            let allowed = self.allowed(errors);
            let on_kinks = block.on_kinks[place].iter().filter(|it| {
                let error = (theirs[it.entry] - numeric[it.entry]).abs();
                error > allowed[it.entry]
            });
            let undecided: Vec<(usize, f64)> = on_kinks.map(|it| (it.entry, it.width)).collect();
            let mut numeric = Cow::Borrowed(numeric);
            for &(entry, _) in &undecided {
                numeric.to_mut()[entry] = theirs[entry];
            }
            visit(&Rows {
                tested: gradient,
                rows: block.rows.clone(),
                analytic: theirs,
                numeric: &numeric,
                allowed: &allowed,
                undecided: &undecided,
                mistakes: &block.mistakes[place],
            });
        }
    }

    /// Returns the largest error of each right value. It is finite: squares of it are added up.
    pub(super) fn allowed(&self, errors: &Errors) -> Vec<f64> {
        const MOST: f64 = 1e100;
        let allowed = |entry| match errors.allowed(entry, self.arithmetic.u) {
            allowed if allowed <= MOST => allowed,
            // Infinite or NaN: the values overflow.
            _ => MOST,
        };
        (0..errors.smooth.len()).map(allowed).collect()
    }

    /// Returns the values at a node, with the given output.
    pub(super) fn at<'a>(
        &'a self,
        forward: &'a Forward,
        node: &Built,
        output: &'a [f64],
    ) -> At<'a> {
        let places = node.inputs.iter();
        At {
            inputs: forward.inputs(node),
            output,
            of_inputs: places.map(|&place| &forward.errors[place]).collect(),
            arithmetic: &self.arithmetic,
        }
    }

    /// Computes a block of samples forward, with the rounding errors of a program's values: none
    /// where the file holds the value itself.
    ///
    /// With `noise`, each value has a random error instead.
    pub(super) fn forward(&self, rows: &Range<usize>, mut noise: Option<&mut Noise>) -> Forward {
        let mut forward = Forward {
            values: Vec::new(),
            errors: Vec::new(),
            computed: Vec::new(),
        };
        let mut nodes = self.nodes.iter();
        for (place, value) in self.values.iter().enumerate() {
            let length = rows.len() * value.width;
            let (mut values, mut errors) = (vec![0.0; length], Errors::zeros(length));
            if !value.is_input {
                let node = nodes.next().expect("a value is an input or a node's");
                node.layer.forward(&forward.inputs(node), &mut values);
                let at = self.at(&forward, node, &values);
                node.layer.errors(&at, &mut errors);
                if let Some(noise) = noise.as_deref_mut() {
                    noise.disturb(&mut values, &mut errors);
                }
            }
            if let Some(given) = &value.given {
                if !value.is_input {
                    forward.computed.push((place, values.clone(), errors));
                }
                given.read(rows.clone(), &mut values);
                errors = Errors::zeros(length);
            }
            forward.values.push(values);
            forward.errors.push(errors);
        }
        forward
    }

    /// Differentiates a block of samples from the loss back.
    ///
    /// With `noise`, each gradient has a random error.
    pub(super) fn block(
        &self,
        rows: &Range<usize>,
        handed: Handed,
        mut noise: Option<&mut Noise>,
    ) -> Reverse {
        let forward = self.forward(rows, noise.as_deref_mut());
        let zeros = |width: usize| {
            let length = rows.len() * width;
            (vec![0.0; length], Errors::zeros(length))
        };
        let mut gradients: Vec<(Vec<f64>, Errors)> =
            self.values.iter().map(|value| zeros(value.width)).collect();
        let theirs: Vec<Option<Vec<f64>>> = self
            .values
            .iter()
            .map(|value| {
                let given = value.gradient.as_ref()?;
                Some(given.tensor.rows(rows.clone()))
            })
            .collect();
        let mut has_consumer = vec![false; self.values.len()];
        let mut mistakes = vec![Vec::new(); self.values.len()];
        let mut on_kinks: Vec<Vec<OnKink>> = self.values.iter().map(|_| Vec::new()).collect();
        {
            let (gy, errors) = &mut gradients[self.output];
            let at = At {
                inputs: vec![&forward.values[self.output]],
                output: &[],
                of_inputs: vec![&forward.errors[self.output]],
                arithmetic: &self.arithmetic,
            };
            self.loss.pull(rows.clone(), &at, gy, errors);
            for (error, g) in errors.smooth.iter_mut().zip(gy.iter()) {
                *error = quadrature([*error, self.arithmetic.of_cast(*g)]);
            }
            if let Some(noise) = noise.as_deref_mut() {
                noise.disturb(gy, errors);
            }
            has_consumer[self.output] = true;
        }
        for (place, node) in self.outputs().into_iter().rev() {
            let (numeric, errors) = std::mem::take(&mut gradients[place]);
            let none = Errors::zeros(numeric.len());
            let own = own(handed, &theirs[place]);
            let upstream = self.upstream_of(own, (&numeric, &errors), &none);
            let at = self.at(&forward, node, &forward.values[place]);
            for (input, &from) in node.inputs.iter().enumerate() {
                let length = at.inputs[input].len();
                let (mut gx, mut errors) = (vec![0.0; length], Errors::zeros(length));
                node.layer.pull(&at, input, &upstream, &mut gx, &mut errors);
                if let Some(noise) = noise.as_deref_mut() {
                    noise.disturb(&mut gx, &mut errors);
                } else if let Some(theirs) = &theirs[from] {
                    mistakes[from] = self.mistakes(node, (&at, input), upstream.g, theirs);
                    if self.consumers[from] == 1 {
                        on_kinks[from] = self.on_kinks(node, (&at, input), upstream.g, theirs);
                    }
                }
                let (sum, of_sum) = &mut gradients[from];
                add(
                    sum,
                    of_sum,
                    &gx,
                    &errors,
                    has_consumer[from],
                    &self.arithmetic,
                );
                has_consumer[from] = true;
            }
            gradients[place] = (numeric, errors);
        }
        Reverse {
            rows: rows.clone(),
            forward,
            handed,
            theirs,
            gradients,
            mistakes,
            on_kinks,
        }
    }

    /// Returns the gradient that a layer is handed: the user's own, without errors, or the numeric
    /// one with its errors.
    pub(super) fn upstream_of<'a>(
        &'a self,
        own: Option<&'a [f64]>,
        (numeric, errors): (&'a [f64], &'a Errors),
        none: &'a Errors,
    ) -> Upstream<'a> {
        let (g, errors) = own.map_or((numeric, errors), |own| (own, none));
        Upstream {
            g,
            errors,
            arithmetic: &self.arithmetic,
        }
    }

    /// Returns the mistakes of a layer that give the user's gradient of its input.
    fn mistakes(
        &self,
        node: &Built,
        (at, input): (&At, usize),
        g: &[f64],
        theirs: &[f64],
    ) -> Vec<&'static str> {
        /// Errors of a formula and of a program, in units of the unit roundoff.
        const ROUNDING: f64 = 64.0;
        let size = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let bound = ROUNDING * self.arithmetic.u * size(theirs);
        let gives = |gx: &[f64]| {
            let errors: Vec<f64> = gx.iter().zip(theirs).map(|(gx, a)| gx - a).collect();
            size(&errors) <= bound
        };
        let mistakes = node.layer.mistakes(at, input, g).into_iter();
        mistakes
            .filter(|it| gives(&it.gx))
            .map(|it| it.name)
            .collect()
    }

    /// Returns the nodes, with the places of their outputs.
    pub(super) fn outputs(&self) -> Vec<(usize, &Built)> {
        let places = (0..self.values.len()).filter(|&place| !self.values[place].is_input);
        places.zip(&self.nodes).collect()
    }
}

/// Returns the user's own gradient, which is taken so that a wrong layer hides no other.
pub(super) fn own(handed: Handed, theirs: &Option<Vec<f64>>) -> Option<&[f64]> {
    let theirs = theirs.as_deref().filter(|_| handed == Handed::Given);
    theirs.filter(|g| g.iter().all(|g| g.is_finite()))
}

/// Adds the gradient along one path to that along others.
fn add(
    sum: &mut [f64],
    of_sum: &mut Errors,
    gx: &[f64],
    errors: &Errors,
    is_fork: bool,
    arithmetic: &Arithmetic,
) {
    for i in 0..sum.len() {
        sum[i] += gx[i];
        let of_fork = if is_fork {
            arithmetic.of_result(sum[i])
        } else {
            0.0
        };
        let own = of_fork.max(arithmetic.of_cast(sum[i]));
        of_sum.smooth[i] = quadrature([of_sum.smooth[i], errors.smooth[i], own]);
        of_sum.flips[i] = of_sum.flips[i].hypot(errors.flips[i]);
    }
}
