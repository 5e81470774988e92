//! Matching of the vectors of one matrix to those of another, by a few random projections. The
//! nearest match wins, and each vector is used once.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// Projections of a vector.
pub(super) type Signature = [f64; PROJECTIONS];

/// Projections in a signature. Vectors are sorted by the first; all of them decide. Chosen.
const PROJECTIONS: usize = 6;

/// Vectors that others are projected on.
pub(super) type Directions = [Vec<f64>; PROJECTIONS];

/// Neighbours compared on either side, in the order of the first projection. Chosen.
const WINDOW: usize = 24;

/// Returns the directions that vectors of `length` entries are projected on.
pub(super) fn directions(length: usize) -> Directions {
    let mut rng = ChaCha8Rng::seed_from_u64(length as u64);
    [(); PROJECTIONS].map(|()| (0..length).map(|_| rng.random_range(-1.0..1.0)).collect())
}

/// Returns the projections of a vector.
pub(super) fn signature(vector: impl Iterator<Item = f64> + Clone, on: &Directions) -> Signature {
    std::array::from_fn(|i| vector.clone().zip(&on[i]).map(|(v, d)| v * d).sum())
}

/// Matches each vector on the left to the nearest one on the right that is still free. Returns
/// `None` if no match is left for a vector.
pub(super) fn match_up(left: &[Signature], right: &[Signature]) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..right.len()).collect();
    order.sort_by(|&a, &b| right[a][0].total_cmp(&right[b][0]));
    // Contiguous, because there may be millions, and the signatures of a window are read together.
    let sorted: Vec<Signature> = order.iter().map(|&i| right[i]).collect();
    let mut free = Free::new(order.len());
    let nearest = |signature: &Signature| {
        let middle = sorted.partition_point(|it| it[0] < signature[0]);
        let window = free.around(middle).into_iter();
        let window = window.map(|place| (place, distance(&sorted[place], signature)));
        let (place, _) = window.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        free.take(place);
        Some(order[place])
    };
    left.iter().map(nearest).collect()
}

/// Returns the largest difference of two projections.
fn distance(a: &Signature, b: &Signature) -> f64 {
    let offs = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    offs.fold(0.0, f64::max)
}

/// The free places 0..n, with links to the next one. The links keep the search fast if many vectors
/// are equal, such as zeros.
struct Free {
    /// For place i, a link towards the first free place at or after it. Place n is always free.
    next: Vec<usize>,
    /// For place i + 1, a link towards the last free place at or before it. Place 0 is always free.
    previous: Vec<usize>,
}

impl Free {
    fn new(n: usize) -> Self {
        Self {
            next: (0..=n).collect(),
            previous: (0..=n).collect(),
        }
    }

    /// Returns up to [`WINDOW`] free places on either side of a place.
    fn around(&mut self, middle: usize) -> Vec<usize> {
        let n = self.next.len() - 1;
        let mut places = Vec::new();
        let mut place = follow(&mut self.next, middle);
        while place < n && places.len() < WINDOW {
            places.push(place);
            place = follow(&mut self.next, place + 1);
        }
        let above = places.len();
        let mut place = follow(&mut self.previous, middle);
        while place > 0 && places.len() < above + WINDOW {
            places.push(place - 1);
            place = follow(&mut self.previous, place - 1);
        }
        places
    }

    fn take(&mut self, place: usize) {
        self.next[place] = place + 1;
        self.previous[place + 1] = place;
    }
}

/// Follows links to the place that links to itself, and shortens the links on the way.
fn follow(links: &mut [usize], mut at: usize) -> usize {
    while links[at] != at {
        links[at] = links[links[at]];
        at = links[at];
    }
    at
}

/// Describes a permutation: "in reverse order", "shifted up by 3". Returns `None` for the identity.
pub(super) fn describe(permutation: &[usize]) -> Option<String> {
    let n = permutation.len();
    let displaced = displaced(permutation).count();
    if displaced == 0 {
        return None;
    }
    let by = (permutation[0] + n) % n;
    let places = || permutation.iter().enumerate();
    let is_shift = places().all(|(i, &p)| p == (i + by) % n);
    let is_reversal = places().all(|(i, &p)| p == n - 1 - i);
    Some(if is_reversal {
        "in reverse order".to_owned()
    } else if !is_shift {
        format!("in another order ({displaced} of {n} are displaced)")
    } else if by <= n / 2 {
        format!("shifted up by {by}")
    } else {
        // A shift up by n - 1 is a shift down by 1.
        format!("shifted down by {}", n - by)
    })
}

/// Returns the places that a permutation changes.
pub(super) fn displaced(permutation: &[usize]) -> impl Iterator<Item = usize> + '_ {
    let places = permutation.iter().enumerate();
    places.filter(|(i, p)| i != *p).map(|(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn match_up_finds_a_permutation() {
        let on = directions(5);
        let vectors: Vec<Vec<f64>> = (0..40)
            .map(|i| (0..5).map(|c| f64::from(i * 7 + c * c).sin()).collect())
            .collect();
        let signatures: Vec<Signature> = vectors
            .iter()
            .map(|v| signature(v.iter().copied(), &on))
            .collect();
        let shifted: Vec<Signature> = (0..40).map(|i| signatures[(i + 3) % 40]).collect();
        let permutation = match_up(&shifted, &signatures).unwrap();
        assert_eq!(describe(&permutation).unwrap(), "shifted up by 3");
        assert_eq!(describe(&match_up(&signatures, &signatures).unwrap()), None);
    }
}
