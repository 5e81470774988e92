"""Checks of gradients by PyTorch: those of a whole module, and gradcheck.

`record` checks every layer of an `nn.Module`, and names the one whose backward pass is wrong:

    with gradprobe.torch.record(model) as rec:
        loss = criterion(model(x), y)
    report = rec.check(loss)

`gradcheck` takes the arguments of `torch.autograd.gradcheck`.
"""

from __future__ import annotations

from torch import nn

from ._torch.gradcheck import gradcheck
from ._torch.recorder import Recorder
from ._torch.report import ModuleReport

__all__ = ["ModuleReport", "Recorder", "gradcheck", "record"]


def record(model: nn.Module) -> Recorder:
    """Records the layers of a model in a `with` block, to check their gradients.

    Call the model inside the block, and `check` of the recorder with the loss.

    Raises:
        CaseError: The model is compiled, so that no layer can be seen.
    """
    return Recorder(model)
