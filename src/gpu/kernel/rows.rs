//! shaders/rows.wgsl: the constants and workgroups of kernels that take one row of classes at a
//! time.

use super::{Constant, GROUP};

/// Returns the constants of a kernel whose rows have `classes` classes. A row of few classes gets
/// one thread. Otherwise it gets a whole workgroup, whose pairwise sums are also more accurate.
pub(super) fn constants(classes: u32) -> Vec<Constant> {
    let threads = if classes as usize > GROUP { GROUP } else { 1 };
    vec![Constant("threads_per_row", threads)]
}

/// Returns the number of workgroups for `rows` rows.
pub(super) fn workgroups(rows: u32, constants: &[Constant]) -> usize {
    let threads = constants.first().map_or(1, |Constant(_, value)| *value);
    (rows as usize * threads).div_ceil(GROUP)
}
