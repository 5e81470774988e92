//! The comparison of one gradient with its numeric counterpart, and the verdict on it.

use serde::{Deserialize, Serialize};

use super::{Coverage, Location, Sums, Tally, Verdict};
use crate::number;
use crate::{
    problem::{Layout, Wrt},
    rounding::{Caught, Tolerance},
    scheme::{Method, Precision, Scheme},
    tensor::Dtype,
};

/// The settings of a comparison, the rows that it covers, and what was counted over their entries.
///
/// Comparisons [merge](Self::merge), so that several machines can each compare a part of one
/// gradient: see `parts`. In JSON they have all but the rows that they cover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The operand that the gradient is taken with respect to.
    pub wrt: Wrt,
    /// The origin of the gradient under test.
    pub source: Source,
    /// The element type of the gradient under test.
    pub dtype: Dtype,
    /// The way in which the losses were computed.
    pub method: Method,
    /// The difference scheme.
    pub scheme: Scheme,
    /// The arithmetic of the losses.
    pub precision: Precision,
    /// The step.
    #[serde(with = "number")]
    pub eps: f64,
    /// The bound on the error of a correct entry.
    pub tolerance: Tolerance,
    /// The largest [detectable](Self::detectable) error with which a check may pass.
    #[serde(with = "number")]
    pub min_power: f64,
    /// The place of the comparison.
    pub compared: ComparedOn,
    /// The rows that were compared.
    #[serde(skip)]
    pub coverage: Coverage,
    /// The counts over the entries of these rows.
    pub tally: Tally,
}

/// The origin of a gradient under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A file, or the caller of the library.
    Given,
    /// The engine's own backward pass.
    BuiltIn,
}

/// The place where entries were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComparedOn {
    /// Every entry on the host, in f64.
    Host,
    /// Most entries on the device. The host has compared some rows again: those with an entry that
    /// is not clearly right, those with the worst entries, and a sample.
    Device,
}

/// A corrupted copy of the gradient, which a check must be able to detect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Corruption {
    /// All entries set to zero.
    Zeroed,
    /// All signs flipped.
    Flipped,
    /// All entries times 1.5.
    Scaled,
    /// Every row rotated by one column.
    Shuffled,
}

impl Comparison {
    /// Returns the comparison of these rows together with `other`'s. Returns `None` if the two
    /// differ in settings or in the number of rows of the gradient, because then they are not parts
    /// of one comparison.
    ///
    /// The step and the bounds of parts in different files may differ: the result has the larger
    /// ones.
    ///
    /// Merging is associative and commutative, to the last bit, in every field. The parts must be
    /// disjoint, and their row indices must refer to the whole gradient. Sums within a block of
    /// rows are plain f64, so if the parts also consist of whole blocks, the result is the
    /// comparison of the whole, bit for bit.
    pub fn merge(mut self, other: Self) -> Option<Self> {
        let settings = |it: &Self| {
            let gradient = (it.wrt, it.source, it.dtype);
            let difference = (it.method, it.scheme, it.precision);
            let bounds = (it.tolerance.given, it.min_power);
            (gradient, difference, bounds, it.coverage.of)
        };
        if settings(&self) != settings(&other) {
            return None;
        }
        self.eps = self.eps.max(other.eps);
        self.tolerance = self.tolerance.or(other.tolerance);
        self.compared = self.compared.max(other.compared);
        self.coverage.merge(other.coverage);
        self.tally.merge(other.tally);
        Some(self)
    }

    /// Returns the places of the wrong entries in a gradient of `layout`, or `None` if no entry is
    /// wrong.
    pub fn location(&self, layout: Option<&Layout>) -> Option<Location> {
        let shape = self.tally.shape()?;
        Some(Location::new(self.wrt, layout, shape, &self.tally.places))
    }

    /// Returns the smallest relative error, the same in every entry, that would have failed.
    pub fn detectable(&self) -> f64 {
        self.tally.sensitivity.least.min(self.scale_resolution())
    }

    /// Returns the corrupted copies of the gradient that would have passed.
    pub fn blind_to(&self) -> Vec<Corruption> {
        let Caught {
            zeroed,
            flipped,
            scaled,
            shuffled,
            shuffle_differs,
        } = self.tally.sensitivity.caught;
        let resolution = self.scale_resolution();
        // |s - 1| of each copy is 1, 2 and 0.5.
        let copies = [
            (Corruption::Zeroed, zeroed || resolution < 1.0),
            (Corruption::Flipped, flipped || resolution < 2.0),
            (Corruption::Scaled, scaled || resolution < 0.5),
            (Corruption::Shuffled, shuffled || !shuffle_differs),
        ];
        let missed = copies.into_iter().filter(|(_, is_caught)| !is_caught);
        missed.map(|(copy, _)| copy).collect()
    }

    /// Returns the smallest relative error of the scale that would have failed.
    fn scale_resolution(&self) -> f64 {
        let u = self.dtype.unit_roundoff();
        let scale = self.scale();
        scale.map_or(f64::INFINITY, |scale| scale.detectable(u))
    }

    /// Returns true if the derivative is zero but for noise, and nothing in the gradient shows
    /// otherwise. No relative error can then be detected, but every error above the tolerance was.
    pub fn is_zero(&self) -> bool {
        let Sums {
            analytic_analytic,
            numeric_numeric,
            noise_numeric,
            ..
        } = &self.tally.sums;
        let is_zero = numeric_numeric.value() <= noise_numeric.value();
        // In f32 a derivative may be zero by underflow, and the gradient need not be.
        let is_exact = self.precision == Precision::F64 || analytic_analytic.value() == 0.0;
        self.tally.counts.wrong == 0 && is_zero && is_exact
    }

    /// Returns the verdict:
    ///
    /// - [`Verdict::Fail`] if an entry is wrong, or if the scale of the whole or of a column is
    ///   off;
    /// - [`Verdict::Inconclusive`] if more than 1 % of the entries are undecided, or if a corrupted
    ///   copy of the gradient would have passed, or one with a relative error of
    ///   [`min_power`](Self::min_power), unless the derivative [is zero](Self::is_zero);
    /// - [`Verdict::Pass`] otherwise.
    pub fn verdict(&self) -> Verdict {
        let counts = &self.tally.counts;
        let is_off = self.scale().is_some_and(|scale| scale.is_off());
        if counts.wrong > 0 || is_off || !self.columns_off().is_empty() {
            Verdict::Fail
        } else if counts.undecided > counts.entries / 100 {
            Verdict::Inconclusive
        } else if self.is_zero() {
            Verdict::Pass
        } else if !self.blind_to().is_empty() || self.detectable() > self.min_power {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::{
        ColumnSums, Columns, Counts, Decision, Entry, ExactSum, Histogram, Kept, Picture, Ranges,
        RelErrs, Sensitivity, WrongPlaces,
    };

    const COLUMNS: usize = 3;
    const CLASSES: usize = 4;

    /// Values far apart in size, so that plain sums would depend on their order, and infinities,
    /// whose products and sums are NaN.
    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            20 => (-1.0..1.0f64, -200..200i32).prop_map(|(v, e)| v * 10f64.powi(e)),
            1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, 0.0]),
        ]
    }

    /// The comparison of one row. Every field is named, so that a new one cannot be left out.
    fn row(row: usize, values: [f64; COLUMNS], flags: u16, bits: u64) -> Comparison {
        let sum = |value: f64| {
            let mut sum = ExactSum::default();
            sum.add(value);
            sum
        };
        let flag = |bit: u32| flags >> bit & 1 == 1;
        let mut kept = Kept::default();
        let mut picture = Picture::new([64, COLUMNS]);
        let mut histogram = Histogram::default();
        for (column, value) in values.into_iter().enumerate() {
            let is_wrong = flag(column as u32);
            let entry = Entry {
                index: [row, column],
                analytic: value,
                numeric: 0.5,
                rel_err: value.abs(),
                noise: 0.1,
                tolerance: 0.1,
                decision: Some(if is_wrong {
                    Decision::Wrong
                } else {
                    Decision::Right
                }),
            };
            kept.add_worst(entry);
            kept.add_sample(entry);
            picture.add([row, column], [value, 0.5], 0.1, is_wrong);
            histogram.add(value.abs());
        }
        let [a, b, c] = values;
        let column_sums = |value: f64| ColumnSums {
            analytic_numeric: sum(value),
            numeric_numeric: sum(value * a),
            tolerance_tolerance: sum(value * b),
            tolerance_numeric: sum(value * c),
            noise_numeric: sum(value + a),
            numeric_abs: sum(value + b),
        };
        let mut classes = vec![[0; 2]; CLASSES];
        classes[bits as usize % CLASSES] = [bits % 3, 3];
        let coverage = if flag(3) {
            Coverage::drawn(Ranges::from(row..row + 1), 64, bits % 2, 0..64)
        } else {
            Coverage::new(Ranges::from(row..row + 1), 64)
        };
        Comparison {
            wrt: Wrt::Input,
            source: Source::Given,
            dtype: Dtype::F32,
            method: Method::Difference,
            scheme: Scheme::Central,
            precision: Precision::F64,
            eps: 1e-3,
            tolerance: Tolerance {
                alike: 1.0,
                lost: 0.0,
                rounding: 1e-6,
                floor: 1e-40,
                drift: 0.0,
                shared: 1e-6,
                given: None,
            },
            min_power: 0.1,
            compared: if flag(4) {
                ComparedOn::Device
            } else {
                ComparedOn::Host
            },
            coverage,
            tally: Tally {
                counts: Counts {
                    entries: COLUMNS as u64,
                    wrong: bits % 4,
                    undecided: bits % 2,
                    not_finite: bits % 3,
                },
                rel_err: RelErrs {
                    max: a.abs(),
                    sum: sum(a),
                    histogram,
                },
                sums: Sums {
                    analytic_analytic: sum(a),
                    analytic_numeric: sum(b),
                    numeric_numeric: sum(c),
                    numeric_abs: sum(a * b),
                    error_error: sum(b * c),
                    tolerance_tolerance: sum(a * c),
                    noise_numeric: sum(a + c),
                },
                columns: Columns(values.map(column_sums).to_vec()),
                places: WrongPlaces {
                    rows: if flag(5) {
                        Ranges::from(row..row + 1)
                    } else {
                        Ranges::default()
                    },
                    columns: if flag(5) {
                        vec![bits % 5; COLUMNS]
                    } else {
                        Vec::new()
                    },
                    classes: if flag(6) { classes } else { Vec::new() },
                },
                sensitivity: Sensitivity {
                    least: b.abs(),
                    caught: Caught {
                        zeroed: flag(7),
                        flipped: flag(8),
                        scaled: flag(9),
                        shuffled: flag(10),
                        shuffle_differs: flag(11),
                    },
                },
                kept,
                picture: flag(12).then(|| Box::new(picture)),
            },
        }
    }

    /// The comparisons of three disjoint sets of rows.
    fn parts() -> impl Strategy<Value = [Comparison; 3]> {
        let of_row = (
            prop::array::uniform3(value()),
            any::<u16>(),
            any::<u64>(),
            0..3usize,
        );
        prop::collection::vec(of_row, 3..40).prop_map(|rows| {
            let mut parts = [const { None }; 3];
            for (index, (values, flags, bits, part)) in rows.into_iter().enumerate() {
                // Each part has a row.
                let part: &mut Option<Comparison> =
                    &mut parts[if index < 3 { index } else { part }];
                let row = row(index, values, flags, bits);
                *part = Some(match part.take() {
                    Some(part) => part.merge(row).unwrap(),
                    None => row,
                });
            }
            parts.map(Option::unwrap)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 256,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn merging_is_associative_and_commutative_to_the_bit([a, b, c] in parts()) {
            let merge = |a: &Comparison, b: &Comparison| a.clone().merge(b.clone()).unwrap();
            prop_assert_eq!(merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)));
            prop_assert_eq!(merge(&a, &b), merge(&b, &a));
            let entries = merge(&a, &b).tally.counts.entries;
            prop_assert_eq!(entries, a.tally.counts.entries + b.tally.counts.entries);
        }
    }

    #[test]
    fn parts_with_different_settings_do_not_merge() {
        let part = row(0, [1.0; COLUMNS], 0, 0);
        let other = Comparison {
            precision: Precision::F32,
            ..row(1, [1.0; COLUMNS], 0, 0)
        };
        assert_eq!(part.merge(other), None);
    }
}
