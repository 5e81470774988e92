//! `transposed`: a buffer that was written row by row and read column by column, or the other way round.

use super::{
    evidence::{Evidence, cross_entropy},
    hypothesis::Hypothesis,
    pair::Pair,
};
use crate::report::Code;

/// Entries that are looked at where the gradient is too large to hold: each costs a row.
const DRAWN: usize = 512;
const LEAST_DRAWN: usize = 8;
/// Multiply-adds of the rows that they lie in.
const MOST_WORK: usize = 1 << 24;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (rows, columns) = (evidence.problem.rows(evidence.wrt), pair.columns);
    if rows < 2 || columns < 2 {
        return None;
    }
    // Where the entry that was read there belongs; the second is the first backwards.
    let by_columns = move |entry: usize| (entry % rows, entry / rows);
    let by_rows = move |entry: usize| {
        let place = (entry % columns) * rows + entry / columns;
        (place / columns, place % columns)
    };
    let after = [&by_columns as &dyn Fn(usize) -> (usize, usize), &by_rows]
        .into_iter()
        .map(|place| {
            if evidence.is_whole() {
                whole(pair, place)
            } else {
                drawn(evidence, pair, place)
            }
        })
        .find(|after| after.is_explained() || after.is_scaled())?;
    let name = evidence.name();
    Some(Hypothesis::new(
        Code::Transposed,
        after,
        "read in the other order",
        format!(
            "{name} holds the right numbers in the wrong order: its buffer was written column by column and read row by row, or the other way round"
        ),
        format!(
            "save a row-major copy of shape [{rows}, {columns}]: .t().contiguous() in PyTorch, np.ascontiguousarray in NumPy; reshape and view do not transpose, order='F' does"
        ),
    ))
}

fn whole(pair: &Pair, place: &dyn Fn(usize) -> (usize, usize)) -> Pair {
    let mut back = pair.a.clone();
    for (entry, a) in pair.a.iter().enumerate() {
        let (row, column) = place(entry);
        back[row * pair.columns + column] = *a;
    }
    pair.with(back)
}

fn drawn(evidence: &Evidence, pair: &Pair, place: &dyn Fn(usize) -> (usize, usize)) -> Pair {
    let row = evidence.problem.k() * evidence.problem.d();
    let drawn = (MOST_WORK / row).clamp(LEAST_DRAWN, DRAWN);
    let every = (pair.a.len() / drawn).max(1);
    let entries: Vec<usize> = (0..pair.a.len())
        .step_by(every)
        .filter(|&e| pair.is_live(e))
        .collect();
    let places: Vec<(usize, usize)> = entries
        .iter()
        .map(|e| place(evidence.rows[e / pair.columns] * pair.columns + e % pair.columns))
        .collect();
    let rows: Vec<usize> = places.iter().map(|(row, _)| *row).collect();
    let right = evidence.predict_rows(&rows, &evidence.layer, &cross_entropy);
    let bounds = evidence.allowed_rows(&rows, &evidence.layer, &cross_entropy, &right, pair.dtype);
    let (mut g, mut allowed) = (pair.g.clone(), vec![f64::INFINITY; pair.a.len()]);
    for (i, (&entry, (_, column))) in entries.iter().zip(&places).enumerate() {
        g[entry] = right[i * pair.columns + column];
        allowed[entry] = bounds[i * pair.columns + column];
    }
    pair.against(g, allowed)
}
