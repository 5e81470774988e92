//! Sets of indices, kept as ranges.

use std::{fmt, ops::Range};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Ranges that [`Display`](fmt::Display) writes out; it counts the rest. Chosen to fit a line.
const SHOWN: usize = 6;

/// A set of indices as sorted ranges that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<usize>>);

impl Ranges {
    /// Adds a range. Takes constant time if the range starts after all others.
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

    /// Returns the number of indices.
    pub fn len(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }

    /// Returns true if the set has no index.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the ranges in ascending order.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.0
    }

    /// Returns the indices that are in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(a), Some(b)) = (ours.peek(), theirs.peek()) {
            both.add(a.start.max(b.start)..a.end.min(b.end));
            if a.end < b.end {
                ours.next();
            } else {
                theirs.next();
            }
        }
        both
    }

    /// Returns the indices below `end` that are not in the set.
    pub fn complement(&self, end: usize) -> Self {
        let mut others = Self::default();
        let mut next = 0;
        for range in &self.0 {
            others.add(next..range.start.min(end));
            next = range.end;
        }
        others.add(next..end);
        others
    }

    /// Iterates over the indices in ascending order.
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

/// Writes `3, 5 and 7 to 12`, and `1, 3, 5, 7, 9, 11 and 40 more` for a set of many ranges.
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

/// A range in JSON: `[first, last]`, both inclusive.
pub(super) mod inclusive {
    use std::ops::Range;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn written(range: &Range<usize>) -> [usize; 2] {
        [range.start, range.end - 1]
    }

    /// Returns `None` unless first <= last < `usize::MAX`.
    pub(crate) fn read([first, last]: [usize; 2]) -> Option<Range<usize>> {
        let end = last.checked_add(1)?;
        (first < end).then_some(first..end)
    }

    pub(crate) fn serialize<S: Serializer>(
        range: &Range<usize>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        written(range).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Range<usize>, D::Error> {
        let ends = <[usize; 2]>::deserialize(deserializer)?;
        read(ends).ok_or_else(|| D::Error::custom(format!("{ends:?} is not a range")))
    }
}

/// All ranges of a set in JSON.
impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.ranges().iter().map(inclusive::written))
    }
}

impl<'de> Deserialize<'de> for Ranges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut set = Self::default();
        for ends in Vec::<[usize; 2]>::deserialize(deserializer)? {
            let range = inclusive::read(ends);
            let range = range.ok_or_else(|| D::Error::custom(format!("{ends:?} is not a range")));
            set.add(range?);
        }
        Ok(set)
    }
}

/// The first hundred ranges of a set in JSON. Chosen: nobody reads a longer list.
pub(super) mod first_hundred {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Ranges, inclusive};

    pub(crate) fn serialize<S: Serializer>(set: &Ranges, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(set.ranges().iter().take(100).map(inclusive::written))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Ranges, D::Error> {
        Ranges::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_ranges_become_one_and_are_written_as_words() {
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
