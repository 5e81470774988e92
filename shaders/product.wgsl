// What the kernels share that multiply [rows,k]·[k,m]: a kernel declares the operands `left` and `right`.

// The terms [tile_begin, tile_end) of one entry of left · right, whose row of left begins at `row_start`.
fn tile_sum(row_start: u32, column: u32) -> f32 {
    // Four sums side by side: a shorter chain of additions.
    var sums = vec4(0.0);
    var c = params.tile_begin;
    for (; c + 4u <= params.tile_end; c += 4u) {
        let l = row_start + c;
        let r = c * params.columns + column;
        sums += vec4(left[l], left[l + 1u], left[l + 2u], left[l + 3u])
            * vec4(right[r], right[r + params.columns], right[r + 2u * params.columns], right[r + 3u * params.columns]);
    }
    for (; c < params.tile_end; c += 1u) {
        sums.x += left[row_start + c] * right[c * params.columns + column];
    }
    return (sums.x + sums.y) + (sums.z + sums.w);
}
