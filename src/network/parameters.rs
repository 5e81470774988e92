//! The gradients of parameters: sums over the blocks of all samples.
//!
//! A parameter may have many more entries than all values of a wave. Only those whose gradient is
//! checked are summed, and the last wave is added to one after the other.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    build::{Built, Network, Tested},
    draws::{DRAWS, add_squares},
    reverse::{Handed, Reverse, Rows, own},
    sums::Sums,
    values::Errors,
};

/// A parameter whose gradient is complete.
struct Summed<'a> {
    parameter: usize,
    tested: &'a Tested,
    sums: Sums,
    errors: Errors,
}

impl Network {
    /// Returns no sums yet, one place for each parameter.
    pub(super) fn no_sums(&self) -> Vec<Option<Sums>> {
        self.parameters.iter().map(|_| None).collect()
    }

    /// Adds the shares of blocks to the sums of all parameters that are checked.
    pub(super) fn add_shares(&self, blocks: &[Reverse], sums: &mut [Option<Sums>]) {
        let pairs = sums.par_iter_mut().enumerate();
        pairs.for_each(|(parameter, sums)| {
            if self.to_check(parameter).is_some() {
                self.add_share(blocks, parameter, sums);
            }
        });
    }

    /// Adds the shares of blocks to the sums of a parameter.
    fn add_share(&self, blocks: &[Reverse], parameter: usize, sums: &mut Option<Sums>) {
        let entries = self.parameters[parameter].entries;
        let sums = sums.get_or_insert_with(|| Sums::zeros(entries));
        let takes = |node: &&Built| node.parameters.contains(&parameter);
        let Some((place, node)) = self.outputs().into_iter().find(|(_, node)| takes(node)) else {
            return;
        };
        for block in blocks {
            let (numeric, errors) = &block.gradients[place];
            let none = Errors::zeros(numeric.len());
            let own = own(block.handed, &block.theirs[place]);
            let upstream = self.upstream_of(own, (numeric, errors), &none);
            let at = self.at(&block.forward, node, &block.forward.values[place]);
            let index = parameter - node.parameters.start;
            node.layer.add_to_parameter(index, &at, &upstream, sums);
        }
    }

    /// Returns the gradient of a parameter, if it is given and to be checked.
    fn to_check(&self, parameter: usize) -> Option<&Tested> {
        let gradient = self.parameters[parameter].gradient.as_ref();
        gradient.filter(|gradient| self.is_asked(gradient))
    }

    /// Adds the last blocks to the sums, and visits the gradients.
    pub(super) fn visit_parameters(
        &self,
        blocks: &[Range<usize>],
        mut sums: Vec<Option<Sums>>,
        last: &[Reverse],
        visit: &mut dyn FnMut(&Rows),
    ) {
        let mut close = Vec::new();
        let all: Vec<(usize, &Tested)> = (0..sums.len())
            .filter_map(|parameter| Some((parameter, self.to_check(parameter)?)))
            .collect();
        for some in all.chunks(rayon::current_num_threads()) {
            let taken = some.iter().map(|&(parameter, _)| sums[parameter].take());
            let taken: Vec<Option<Sums>> = taken.collect();
            let summed = some
                .par_iter()
                .zip(taken)
                .map(|(&(parameter, tested), mut sums)| {
                    self.add_share(last, parameter, &mut sums);
                    let sums = sums.unwrap_or_default();
                    let errors = sums.errors(&self.arithmetic);
                    Summed {
                        parameter,
                        tested,
                        sums,
                        errors,
                    }
                });
            let summed: Vec<Summed> = summed.collect();
            for summed in summed {
                let analytic = summed.tested.tensor.values::<f64>();
                if self.is_close(&analytic, &summed.sums.sum, &summed.errors) {
                    close.push(summed);
                } else {
                    self.visit_parameter(&summed, &analytic, visit);
                }
            }
        }
        if let Some(block) = last.first() {
            self.look_again_at_parameters(blocks, block.handed, &mut close);
        }
        for summed in &close {
            self.visit_parameter(summed, &summed.tested.tensor.values::<f64>(), visit);
        }
    }

    fn visit_parameter(&self, summed: &Summed, analytic: &[f64], visit: &mut dyn FnMut(&Rows)) {
        let rows = summed.tested.tensor.shape().first().copied().unwrap_or(1);
        visit(&Rows {
            tested: summed.tested,
            rows: 0..rows,
            analytic,
            numeric: &summed.sums.sum,
            allowed: &self.allowed(&summed.errors),
            undecided: &[],
            mistakes: &[],
        });
    }

    /// Adds the spread of gradients that lie just beyond their bounds to their errors.
    fn look_again_at_parameters(
        &self,
        blocks: &[Range<usize>],
        handed: Handed,
        close: &mut [Summed],
    ) {
        if close.is_empty() {
            return;
        }
        let zeros = |it: &Summed| vec![0.0; it.sums.sum.len()];
        let mut spreads: Vec<Vec<f64>> = close.iter().map(zeros).collect();
        for draw in 0..DRAWS {
            let mut sums: Vec<Option<Sums>> = close.iter().map(|_| None).collect();
            for wave in blocks.chunks(self.blocks_of_wave()) {
                let drawn = wave.par_iter().map(|rows| {
                    let mut noise = self.noise(draw, rows.start);
                    self.block(rows, handed, Some(&mut noise))
                });
                let drawn: Vec<Reverse> = drawn.collect();
                let pairs = close.par_iter().zip(&mut sums);
                pairs.for_each(|(it, sums)| self.add_share(&drawn, it.parameter, sums));
            }
            for ((it, sums), spread) in close.iter().zip(sums).zip(&mut spreads) {
                let mut drawn = sums.unwrap_or_default();
                // Terms have no errors here: these are those of adding them up.
                let mut errors = drawn.errors(&self.arithmetic);
                let mut noise = self.noise(draw, self.n + it.parameter);
                noise.disturb(&mut drawn.sum, &mut errors);
                add_squares(spread, &drawn.sum, &it.sums.sum);
            }
        }
        for (it, spread) in close.iter_mut().zip(&spreads) {
            self.add_spread(&mut it.errors, spread);
        }
    }
}
