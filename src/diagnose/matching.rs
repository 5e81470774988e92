//! Which row of one matrix is which of another: by a few random projections, nearest first, each used once.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// Projections of a vector.
pub(super) type Signature = [f64; PROJECTIONS];

/// The first is sorted by, all decide.
const PROJECTIONS: usize = 6;

/// The vectors that others are projected on.
pub(super) type Directions = [Vec<f64>; PROJECTIONS];

/// Neighbours in the first projection that are looked at.
const WINDOW: usize = 24;

/// The directions that vectors of that length are projected on.
pub(super) fn directions(length: usize) -> Directions {
    let mut rng = ChaCha8Rng::seed_from_u64(length as u64);
    [(); PROJECTIONS].map(|()| (0..length).map(|_| rng.random_range(-1.0..1.0)).collect())
}

/// The projections of a vector.
pub(super) fn signature(vector: impl Iterator<Item = f64> + Clone, on: &Directions) -> Signature {
    std::array::from_fn(|i| vector.clone().zip(&on[i]).map(|(v, d)| v * d).sum())
}

/// For each vector on the left the one on the right that is nearest and not yet taken; none where some find nobody.
pub(super) fn match_up(left: &[Signature], right: &[Signature]) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..right.len()).collect();
    order.sort_by(|&a, &b| right[a][0].total_cmp(&right[b][0]));
    // Side by side what is looked at together: there may be millions.
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

/// The largest difference of two projections.
fn distance(a: &Signature, b: &Signature) -> f64 {
    let offs = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    offs.fold(0.0, f64::max)
}

/// The places that are not taken, with a short way to the next: equal vectors, such as zeros, may be many.
struct Free {
    /// A free place at or after place i, or one nearer to it; place n is always free.
    next: Vec<usize>,
    /// The same downwards, one up: place 0 is always free.
    previous: Vec<usize>,
}

impl Free {
    fn new(n: usize) -> Self {
        Self {
            next: (0..=n).collect(),
            previous: (0..=n).collect(),
        }
    }

    /// Up to [`WINDOW`] free places on either side of a place.
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

/// Follows links to the one that points at itself, and shortens them.
fn follow(links: &mut [usize], mut at: usize) -> usize {
    while links[at] != at {
        links[at] = links[links[at]];
        at = links[at];
    }
    at
}

/// What a permutation is, in words; none where it changes nothing.
pub(super) fn describe(permutation: &[usize]) -> Option<String> {
    let n = permutation.len();
    let moved = permutation
        .iter()
        .enumerate()
        .filter(|(i, p)| i != *p)
        .count();
    if moved == 0 {
        return None;
    }
    let by = (permutation[0] + n) % n;
    let is_shift = permutation
        .iter()
        .enumerate()
        .all(|(i, &p)| p == (i + by) % n);
    let is_reversal = permutation.iter().enumerate().all(|(i, &p)| p == n - 1 - i);
    Some(if is_reversal {
        "in reverse order".to_owned()
    } else if is_shift {
        // By n - 1 forwards is by one backwards.
        if by <= n / 2 {
            format!("moved up by {by}")
        } else {
            format!("moved down by {}", n - by)
        }
    } else {
        format!("in another order ({moved} of {n} are elsewhere)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_is_found_again() {
        let on = directions(5);
        let vectors: Vec<Vec<f64>> = (0..40)
            .map(|i| (0..5).map(|c| f64::from(i * 7 + c * c).sin()).collect())
            .collect();
        let signatures: Vec<Signature> = vectors
            .iter()
            .map(|v| signature(v.iter().copied(), &on))
            .collect();
        let moved: Vec<Signature> = (0..40).map(|i| signatures[(i + 3) % 40]).collect();
        let permutation = match_up(&moved, &signatures).unwrap();
        assert_eq!(describe(&permutation).unwrap(), "moved up by 3");
        assert_eq!(describe(&match_up(&signatures, &signatures).unwrap()), None);
    }
}
