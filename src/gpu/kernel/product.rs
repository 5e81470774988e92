//! shaders/tile.wgsl: the constants and workgroups of kernels that compute a product in tiles.

use super::{Constant, GROUP, TILE_COLUMNS};
use crate::report::DeviceKind;

/// Rows of a tile, `TILE_ROWS` in the shader.
pub(in crate::gpu) const TILE_ROWS: usize = 8;

/// The largest share of a workgroup's lanes that may lie past the last column (chosen).
const MOST_IDLE: f64 = 0.1;

/// Returns the constants of a product with `columns` columns.
pub(super) fn constants(columns: u32, kind: DeviceKind) -> Vec<Constant> {
    // Narrower workgroups leave vector units idle: a GPU's are 32 lanes wide, a software adapter's
    // 8.
    let (least, shares) = match kind {
        DeviceKind::Software => (8, 0),
        _ => (32, 1),
    };
    vec![
        Constant("lanes", lanes(columns as usize / TILE_COLUMNS, least)),
        Constant("shares", shares),
    ]
}

/// Returns the number of workgroups for a product of `rows` by `columns`.
pub(super) fn workgroups(rows: u32, columns: u32, constants: &[Constant]) -> usize {
    let lanes = constants.first().map_or(GROUP, |Constant(_, value)| *value);
    let tiles = columns as usize / TILE_COLUMNS;
    (rows as usize).div_ceil(TILE_ROWS) * tiles.div_ceil(lanes)
}

/// Returns the lanes of the widest workgroup that leaves at most a share [`MOST_IDLE`] of its lanes
/// idle in a row of `tiles` tiles, and has at least `least` lanes. If there is none, returns the
/// width that leaves the fewest lanes idle.
fn lanes(tiles: usize, least: usize) -> usize {
    let idle = |lanes: &usize| (tiles.next_multiple_of(*lanes) - tiles) as f64 / tiles as f64;
    let choices = || [64, 32, 16, 8].into_iter().filter(|lanes| *lanes >= least);
    choices()
        .find(|lanes| idle(lanes) <= MOST_IDLE)
        .or_else(|| choices().min_by(|a, b| idle(a).total_cmp(&idle(b))))
        .unwrap_or(GROUP)
}
