"""gradprobe.torch.gradcheck on a fixed draw of PyTorch's operators, right and wrong.

`python python/tests/operators.py --all` runs all of them, with torch's gradcheck beside it.
"""

from __future__ import annotations

import torch
from operators import draw, operators, runs, surprises, table

COUNT = 100
# Those of the draw that are not called right and wrong as they should be, and why.
KNOWN = {
    "sparse.sampled_addmm": "its inputs are sparse",
    # Off by 2e-7 just above 5 (SciPy is not), so that their derivatives differ from each other.
    "special.bessel_j0": "torch computes it in single precision",
    "special.bessel_y1": "torch computes it in single precision",
}


def test_a_draw_of_pytorchs_operators() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ops = draw(operators(), COUNT)
        found = [run for op in ops for run in runs(op, tools=("gradprobe",))]
    finally:
        torch.set_num_threads(threads)
    lines = list(surprises(found))
    assert {line.partition("[")[0] for line in lines} == set(KNOWN), "\n".join(lines)
    print(table(found))
