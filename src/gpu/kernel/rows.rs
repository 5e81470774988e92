//! shaders/rows.wgsl: the shape of the kernels that take one row of classes at a time.

use super::{Constant, GROUP};

/// Returns the constants of a kernel whose rows have `classes` classes: one thread for each row if
/// that is as fast, else a whole workgroup, whose pairwise sums are also more accurate.
pub(super) fn constants(classes: u32) -> Vec<Constant> {
    let threads = if classes as usize > GROUP { GROUP } else { 1 };
    vec![Constant("threads_per_row", threads)]
}

/// Returns the workgroups for `rows`.
pub(super) fn workgroups(rows: u32, constants: &[Constant]) -> usize {
    let threads = constants.first().map_or(1, |Constant(_, value)| *value);
    (rows as usize * threads).div_ceil(GROUP)
}
