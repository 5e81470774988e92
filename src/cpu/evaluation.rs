//! Evaluations put together: of rows that follow each other, of entries of the same rows, and of
//! samples that add up.

use crate::plan::Evaluation;

impl Evaluation {
    /// Appends the evaluation of the next rows.
    pub(super) fn append(mut self, mut next: Self) -> Self {
        let of_rows =
            |it: &mut Self| [&mut it.magnitude, &mut it.totals, &mut it.moved].map(std::mem::take);
        let (mut rows, next_rows) = (of_rows(&mut self), of_rows(&mut next));
        self.append_entries(next);
        for (values, next) in rows.iter_mut().zip(next_rows) {
            values.extend(next);
        }
        [self.magnitude, self.totals, self.moved] = rows;
        self
    }

    /// Appends the evaluation of the next entries of the same rows.
    pub(super) fn append_entries(&mut self, next: Self) {
        self.losses.resize(next.losses.len(), Vec::new());
        for (losses, next) in self.losses.iter_mut().zip(next.losses) {
            losses.extend(next);
        }
        self.derivative.extend(next.derivative);
        self.base.extend(next.base);
        self.conditioning.extend(next.conditioning);
        self.magnitude = next.magnitude;
        self.totals = next.totals;
        self.moved = next.moved;
    }

    /// Adds the evaluation of more samples: sums, and the largest of each bound.
    pub(crate) fn add(mut self, other: Self) -> Self {
        let add = |a: &mut Vec<f64>, b: Vec<f64>| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        let raise =
            |a: &mut Vec<f64>, b: Vec<f64>| a.iter_mut().zip(b).for_each(|(a, b)| *a = a.max(b));
        add(&mut self.derivative, other.derivative);
        for (losses, other) in self.losses.iter_mut().zip(other.losses) {
            add(losses, other);
        }
        add(&mut self.conditioning, other.conditioning);
        add(&mut self.totals, other.totals);
        raise(&mut self.magnitude, other.magnitude);
        raise(&mut self.moved, other.moved);
        self
    }

    /// Keeps the bounds of one row only.
    pub(super) fn of_row(mut self, row: usize) -> Self {
        for values in [&mut self.magnitude, &mut self.totals, &mut self.moved] {
            *values = vec![values[row]];
        }
        self
    }
}
