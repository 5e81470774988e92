//! The uniform that every kernel reads.

use bytemuck::Pod;

use super::Element;

/// Field by field the `Params` of shaders/common.wgsl.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// offset·eps of a scheme's quotients, of which there are at most four.
    pub steps: [f64; 4],
    /// What each of them counts in the derivative.
    pub weights: [f64; 4],
    /// What the result is divided by.
    pub normalizer: f64,
    /// The weights of the conditioning: [`crate::rounding::RoundingModel`].
    pub law_sums: f64,
    /// Likewise.
    pub law_accumulation: f64,
    /// The steps that this dispatch takes begin here,
    pub step_begin: u32,
    /// and end before this.
    pub step_end: u32,
    /// Rows of the left operand in this dispatch.
    pub rows: u32,
    /// m: columns of the right operand, of the perturbed matrix, of the result.
    pub columns: u32,
    /// k.
    pub classes: u32,
    /// The first entry of this dispatch.
    pub first: u32,
    /// The part of the sum that this dispatch adds begins here,
    pub tile_begin: u32,
    /// and ends before this.
    pub tile_end: u32,
    /// The classes that the weight, or what is made of it, is bound for begin here,
    pub class_begin: u32,
    /// and end before this.
    pub class_end: u32,
    /// 1 where targets are more than a class alone.
    pub has_linear: u32,
    /// 1 where the right operand counts by its magnitude.
    pub magnitudes: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            steps: [0.0; 4],
            weights: [0.0; 4],
            normalizer: 1.0,
            law_sums: 0.0,
            law_accumulation: 0.0,
            step_begin: 0,
            step_end: 1,
            rows: 0,
            columns: 0,
            classes: 0,
            first: 0,
            tile_begin: 0,
            tile_end: 0,
            class_begin: 0,
            class_end: 0,
            has_linear: 0,
            magnitudes: 0,
        }
    }
}

impl Params {
    /// The same for so many steps, each with what its quotient counts in the derivative.
    pub fn with_steps(self, steps: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut params = Self {
            step_end: 0,
            ..self
        };
        for (index, (step, weight)) in steps.enumerate() {
            params.steps[index] = step;
            params.weights[index] = weight;
            params.step_end += 1;
        }
        params
    }

    /// As it lies in a buffer of the device, numbers in its arithmetic.
    pub fn bytes<T: Element>(&self) -> Vec<u8> {
        let numbers = [self.normalizer, self.law_sums, self.law_accumulation];
        let numbers = self.steps.iter().chain(&self.weights).chain(&numbers);
        let numbers: Vec<T> = numbers.map(|&number| T::of(number)).collect();
        let counts = [
            self.step_begin,
            self.step_end,
            self.rows,
            self.columns,
            self.classes,
            self.first,
            self.tile_begin,
            self.tile_end,
            self.class_begin,
            self.class_end,
            self.has_linear,
            self.magnitudes,
            // What shaders call `zero`, unknown to their compiler.
            0,
        ];
        let mut bytes = [of(&numbers), of(&counts)].concat();
        // To whole vectors of four numbers.
        bytes.resize(bytes.len().next_multiple_of(4 * size_of::<T>()), 0);
        bytes
    }
}

fn of<T: Pod>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}
