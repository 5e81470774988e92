//! The few entries that a tally keeps whole: the worst, and random samples.

use serde::{Deserialize, Serialize};

use super::{Decision, Entry};

/// Entries kept of each random sample. Chosen: each is computed again by plain forward passes.
const SAMPLES: usize = 6;

/// The worst entries, and random samples of the wrong and of the other ones.
///
/// The choice does not depend on the order in which entries are added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The entries of greatest severity, the worst first.
    #[serde(with = "decided")]
    pub worst: Vec<Entry>,
    /// A random sample of the wrong entries.
    #[serde(with = "decided")]
    pub wrong: Vec<Entry>,
    /// A random sample of the right and the undecided entries.
    #[serde(with = "decided")]
    pub others: Vec<Entry>,
}

impl Kept {
    /// Entries kept as the worst. Chosen: a report shows five, JSON all of them.
    pub const WORST: usize = 10;

    /// Adds the entries of another part.
    pub fn merge(&mut self, other: Self) {
        other
            .worst
            .into_iter()
            .for_each(|entry| self.add_worst(entry));
        let samples = other.wrong.into_iter().chain(other.others);
        samples.for_each(|entry| self.add_sample(entry));
    }

    /// Keeps `entry` if it is among the worst. Of equally bad entries, the first by index counts
    /// as worse.
    pub fn add_worst(&mut self, entry: Entry) {
        let place = self.worst.partition_point(|kept| {
            kept.severity()
                .total_cmp(&entry.severity())
                .then(entry.index.cmp(&kept.index))
                .is_gt()
        });
        if place < Self::WORST {
            self.worst.insert(place, entry);
            self.worst.truncate(Self::WORST);
        }
    }

    /// Keeps `entry` in its sample if the random number of its row is among the lowest.
    pub fn add_sample(&mut self, entry: Entry) {
        let kept = match entry.decision {
            Some(Decision::Wrong) => &mut self.wrong,
            _ => &mut self.others,
        };
        let place = kept.partition_point(|kept| sample_order(kept) < sample_order(&entry));
        if place < SAMPLES {
            kept.insert(place, entry);
            kept.truncate(SAMPLES);
        }
    }

    /// Returns the column of the entry that a row offers to [`add_sample`](Self::add_sample).
    pub fn sampled_column(row: usize, columns: usize) -> usize {
        (scramble(!row as u64) % columns as u64) as usize
    }

    /// Returns the rows whose entries [`add_sample`](Self::add_sample) would keep, given one entry
    /// of each row, all with the same decision.
    pub fn sampled_rows(rows: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut rows: Vec<(u64, usize)> = rows.map(|row| (scramble(row as u64), row)).collect();
        rows.sort_unstable();
        rows.truncate(SAMPLES);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// Replaces the row index of every entry by `number(row)`.
    /// Returns the number of a row in a random order.
    #[cfg(feature = "files")]
    pub(crate) fn scrambled(row: usize) -> u64 {
        scramble(row as u64)
    }

    pub(super) fn number_rows(&mut self, number: impl Fn(usize) -> usize) {
        let entries = [&mut self.worst, &mut self.wrong, &mut self.others];
        for entry in entries.into_iter().flatten() {
            entry.index[0] = number(entry.index[0]);
        }
        // Samples are merged in the order of their numbers.
        self.wrong.sort_by_key(sample_order);
        self.others.sort_by_key(sample_order);
    }
}

/// Returns the place of an entry in a random order.
fn sample_order(entry: &Entry) -> (u64, usize, usize, u64) {
    let [row, column] = entry.index;
    (scramble(row as u64), row, column, entry.analytic.to_bits())
}

/// Maps 64 bits to 64 bits, one to one and without pattern.
///
/// This is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
fn scramble(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Entries with their decisions, which an entry of a report leaves out.
mod decided {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Decision, Entry};

    #[derive(Serialize, Deserialize)]
    struct Decided {
        #[serde(flatten)]
        entry: Entry,
        decision: Option<Decision>,
    }

    pub(crate) fn serialize<S: Serializer>(
        entries: &[Entry],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(entries.iter().map(|&entry| Decided {
            entry,
            decision: entry.decision,
        }))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Entry>, D::Error> {
        let entries = Vec::<Decided>::deserialize(deserializer)?;
        let entries = entries
            .into_iter()
            .map(|Decided { entry, decision }| Entry { decision, ..entry });
        Ok(entries.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(row: usize, error: f64) -> Entry {
        let decision = if error > 1.0 {
            Decision::Wrong
        } else {
            Decision::Right
        };
        Entry {
            index: [row, 0],
            analytic: error,
            numeric: 0.0,
            rel_err: 1.0,
            noise: 0.5,
            tolerance: 0.5,
            decision: Some(decision),
        }
    }

    #[test]
    fn the_worst_entries_come_first_and_ties_go_by_index() {
        let mut kept = Kept::default();
        for row in (0..30).rev() {
            kept.add_worst(entry(row, (row / 2) as f64));
        }
        kept.add_worst(entry(99, f64::NAN));
        let rows: Vec<usize> = kept.worst.iter().map(|entry| entry.index[0]).collect();
        assert_eq!(rows, [99, 28, 29, 26, 27, 24, 25, 22, 23, 20]);
    }

    #[test]
    fn samples_do_not_depend_on_the_order() {
        let sample = |rows: &mut dyn Iterator<Item = usize>| {
            let mut kept = Kept::default();
            rows.for_each(|row| kept.add_sample(entry(row, (row % 3) as f64)));
            kept
        };
        let forward = sample(&mut (0..1000));
        assert_eq!(forward, sample(&mut (0..1000).rev()));
        let lengths = (forward.wrong.len(), forward.others.len());
        assert_eq!(lengths, (SAMPLES, SAMPLES));
        assert!(forward.wrong.iter().all(|entry| entry.index[0] % 3 == 2));
    }
}
