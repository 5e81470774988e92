//! `transposed`: a buffer that was written in row-major order and read in column-major order, or
//! the reverse.

use crate::{
    diagnose::{
        evidence::Evidence, hypothesis::Hypothesis, losses::cross_entropy, pair::Pair, words::Words,
    },
    report::Code,
};

/// Entries that are drawn if the gradient is too large to predict: each costs a row. Chosen.
const MOST_DRAWN: usize = 512;
/// Entries that are drawn even if their rows are long. Chosen.
const LEAST_DRAWN: usize = 8;
/// Multiply-adds of the rows of the drawn entries: about ten milliseconds.
const MOST_WORK: usize = 1 << 24;

/// Maps an entry to the row and column that it belongs to.
type Place<'a> = &'a dyn Fn(usize) -> (usize, usize);

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (rows, columns) = (evidence.problem.rows(evidence.wrt), pair.columns);
    if rows < 2 || columns < 2 {
        return None;
    }
    // The two directions are inverses of each other.
    let by_columns = move |entry: usize| (entry % rows, entry / rows);
    let by_rows = move |entry: usize| {
        let place = (entry % columns) * rows + entry / columns;
        (place / columns, place % columns)
    };
    let places: [Place; 2] = [&by_columns, &by_rows];
    let after = places
        .into_iter()
        .map(|place| {
            if evidence.is_whole() {
                whole(pair, place)
            } else {
                drawn(evidence, pair, place)
            }
        })
        .find(Pair::is_explained_up_to_factor)?;
    Some(Hypothesis::new(Code::Transposed, after, words(evidence)))
}

/// Returns the pair with every entry of a moved to its place.
fn whole(pair: &Pair, place: Place) -> Pair {
    let mut back = pair.a.clone();
    for (entry, a) in pair.a.iter().enumerate() {
        let (row, column) = place(entry);
        back[row * pair.columns + column] = *a;
    }
    pair.with(back)
}

/// Returns a draw of the entries of a, paired with the entries of g at their places.
fn drawn(evidence: &Evidence, pair: &Pair, place: Place) -> Pair {
    let row = evidence.problem.k() * evidence.problem.d().max(1);
    let drawn = (MOST_WORK / row).clamp(LEAST_DRAWN, MOST_DRAWN);
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
    let (mut g, mut allowed) = (pair.g.clone(), vec![0.0; pair.a.len()]);
    for (i, (&entry, (_, column))) in entries.iter().zip(&places).enumerate() {
        g[entry] = right[i * pair.columns + column];
        allowed[entry] = bounds[i * pair.columns + column];
    }
    let after = pair.against(g, allowed);
    after.without(|entry| entries.binary_search(&entry).is_err())
}

fn words(evidence: &Evidence) -> Words {
    let name = evidence.name();
    let (rows, columns) = (evidence.problem.rows(evidence.wrt), evidence.columns());
    Words {
        message: format!(
            "{name} holds the right numbers in the wrong order: its buffer was written in \
             column-major order and read in row-major order, or the reverse"
        ),
        correction: "read in the other order".into(),
        fix: format!(
            "save a row-major array of shape [{rows}, {columns}]: .t().contiguous() in PyTorch, \
             np.ascontiguousarray in NumPy; reshape and view do not transpose, order='F' does"
        ),
        ..Words::default()
    }
}
