//! Where the wrong entries are: by row, by column, and by the class of the row's target.

use std::{fmt, ops::Range};

/// Ranges that are written out; more are counted.
const SHOWN: usize = 6;

/// A set of indices, as the ranges that it is made of, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<usize>>);

impl Ranges {
    /// Adds a range; cheap where it lies behind all others.
    pub fn add(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(last) if range.start > last.end => self.0.push(range),
            Some(last) if range.start >= last.start => last.end = last.end.max(range.end),
            Some(_) => {
                self.0.push(range);
                self.0.sort_by_key(|range| range.start);
                let ranges = std::mem::take(&mut self.0);
                ranges.into_iter().for_each(|range| self.add(range));
            }
            None => self.0.push(range),
        }
    }

    /// Adds another set.
    pub fn merge(&mut self, other: Self) {
        let behind = |(last, first): (&Range<usize>, &Range<usize>)| last.end <= first.start;
        if self.0.last().zip(other.0.first()).is_none_or(behind) {
            other.0.into_iter().for_each(|range| self.add(range));
            return;
        }
        let mut all = std::mem::take(&mut self.0);
        all.extend(other.0);
        all.sort_by_key(|range| range.start);
        all.into_iter().for_each(|range| self.add(range));
    }

    /// How many indices there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, in order, apart from each other.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.0
    }

    /// The indices, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().cloned().flatten()
    }
}

impl From<Range<usize>> for Ranges {
    fn from(range: Range<usize>) -> Self {
        let mut set = Self::default();
        set.add(range);
        set
    }
}

impl FromIterator<usize> for Ranges {
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> Self {
        let mut indices: Vec<usize> = indices.into_iter().collect();
        indices.sort_unstable();
        let mut set = Self::default();
        indices
            .into_iter()
            .for_each(|index| set.add(index..index + 1));
        set
    }
}

/// `3, 5 and 7 to 12`; `1, 3, 5, 7, 9, 11 and 40 more` where there are many.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, more) = self.0.split_at(self.0.len().min(SHOWN));
        let mut words: Vec<String> = Vec::new();
        for range in shown {
            match range.len() {
                1 | 2 => words.extend(range.clone().map(|index| index.to_string())),
                _ => words.push(format!("{} to {}", range.start, range.end - 1)),
            }
        }
        if !more.is_empty() {
            let count: usize = more.iter().map(Range::len).sum();
            words.push(format!("{count} more"));
        }
        match words.as_slice() {
            [] => f.write_str("none"),
            [one] => f.write_str(one),
            [all @ .., last] => write!(f, "{} and {last}", all.join(", ")),
        }
    }
}

/// The wrong entries of a gradient, counted along it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrongPlaces {
    /// The rows with a wrong entry.
    pub rows: Ranges,
    /// How many entries of each column are wrong; empty where none is.
    pub columns: Vec<u64>,
    /// How many entries are wrong in the rows of each target class, and how many there are; empty where rows are no samples, or their
    /// targets no classes.
    pub classes: Vec<[u64; 2]>,
}

impl WrongPlaces {
    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: Self) {
        self.rows.merge(other.rows);
        let length = self.columns.len().max(other.columns.len());
        self.columns.resize(length, 0);
        for (count, other) in self.columns.iter_mut().zip(other.columns) {
            *count += other;
        }
        let length = self.classes.len().max(other.classes.len());
        self.classes.resize(length, [0; 2]);
        for ([wrong, all], other) in self.classes.iter_mut().zip(other.classes) {
            *wrong += other[0];
            *all += other[1];
        }
    }

    /// The columns with a wrong entry.
    pub fn wrong_columns(&self) -> Ranges {
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(_, wrong)| **wrong > 0)
            .map(|(column, _)| column)
            .collect()
    }

    /// The classes with a wrong entry in a row of theirs.
    pub fn wrong_classes(&self) -> Ranges {
        let classes = self.classes.iter().enumerate();
        classes
            .filter(|(_, [wrong, _])| *wrong > 0)
            .map(|(class, _)| class)
            .collect()
    }

    /// How many classes have rows at all.
    pub fn classes_met(&self) -> usize {
        self.classes.iter().filter(|[_, all]| *all > 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together_and_are_written_as_words() {
        let set: Ranges = [7, 3, 8, 9, 5, 11, 10].into_iter().collect();
        assert_eq!(set.to_string(), "3, 5 and 7 to 11");
        assert_eq!((set.len(), set.ranges().len()), (7, 3));
        assert_eq!([4usize].into_iter().collect::<Ranges>().to_string(), "4");
        let odd: Ranges = (0..20).map(|i| 2 * i + 1).collect();
        assert_eq!(odd.to_string(), "1, 3, 5, 7, 9, 11 and 14 more");
    }

    #[test]
    fn sets_merge_in_any_order() {
        let sets = [[0usize, 1, 2], [10, 11, 12], [2, 3, 10]].map(Ranges::from_iter);
        let merged = |order: [usize; 3]| {
            let mut all = Ranges::default();
            order.into_iter().for_each(|i| all.merge(sets[i].clone()));
            all
        };
        assert_eq!(merged([0, 1, 2]).to_string(), "0 to 3 and 10 to 12");
        assert!(
            [[1, 0, 2], [2, 1, 0], [2, 0, 1]]
                .map(merged)
                .iter()
                .all(|set| *set == merged([0, 1, 2]))
        );
    }
}
