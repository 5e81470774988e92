"""The checks of a linear layer with cross-entropy."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import _native
from ._arrays import prepare_all
from ._errors import CaseError
from ._layer_report import LayerReport

Model = str | os.PathLike[str] | Mapping[str, Any]
GIB = 1 << 30


def check(
    *,
    input: Any = None,
    weight: Any = None,
    target: Any = None,
    bias: Any = None,
    logits: Any = None,
    class_weight: Any = None,
    sample_weight: Any = None,
    grad: Any = None,
    grad_logits: Any = None,
    grad_weight: Any = None,
    grad_bias: Any = None,
    model: Model | None = None,
    tensors: Mapping[str, Any] | None = None,
    reduction: Literal["mean", "sum"] | None = None,
    label_smoothing: float | None = None,
    ignore_index: int | None = None,
    normalizer: float | None = None,
    weight_layout: Literal["kd", "dk"] | None = None,
    computed_in: str | None = None,
    wrt: str | Sequence[str] | None = None,
    self_test: bool = False,
    rtol: float | None = None,
    atol: float | None = None,
    min_power: float | None = None,
    eps: float | None = None,
    method: Literal["difference", "forward-pass"] | None = None,
    scheme: Literal["central", "forward", "five-point"] | None = None,
    precision: Literal["f32", "f64"] | None = None,
    compare: Literal["auto", "host", "device"] | None = None,
    rows: tuple[int, int] | None = None,
    sample: int | None = None,
    seed: int | None = None,
    device: str = "auto",
    memory: int = GIB,
    picture: bool | None = None,
    numeric: bool = False,
    server: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
) -> LayerReport:
    """Checks gradients of a linear layer with cross-entropy, or of a network, entry by entry.

    The loss is `F.cross_entropy(input @ weight.T + bias, target)`, or `F.cross_entropy(logits,
    target)` if `logits` is given in place of input and weight. Arrays are those of NumPy, PyTorch
    or JAX, and are read in place. Tensors may require grad.

    With `model`, the tensors are those of a network: `tensors` holds its parameters by the names of
    a `state_dict`, and the gradients as `grad.NAME`.

    Args:
        input: [n, d]; n may be several axes, as in [batch, sequence, d].
        weight: [k, d] as in nn.Linear, or [d, k] as in NumPy, Keras and flax.
        target: [n] class indices, or [n, k] class probabilities.
        bias: [k].
        logits: [n, k], or [n, k, h, w] with the classes on axis 1.
        class_weight: [k]. In F.cross_entropy it is called `weight`.
        sample_weight: [n], the upstream gradient of each sample's loss (reduction none).
        grad: The gradient with respect to the input that your code computed.
        grad_logits, grad_weight, grad_bias: Those with respect to the others.
        model: A chain such as "linear:fc1 relu linear:fc2 cross_entropy", a mapping or JSON in the
            format gradprobe.model/1, or the path of a .json file. docs/networks.md has all layers.
        tensors: The other tensors of a network, by name.
        reduction: "mean" or "sum". By default the mean, or the sum with sample_weight.
        label_smoothing: From 0 to 1.
        ignore_index: The target of samples that do not count; -100 by default.
        normalizer: The divisor of the sum of the losses, in place of that of the mean.
        weight_layout: The axes of weight, where the shapes leave it open (k equals d).
        computed_in: The dtype in which the gradients were computed, such as "bf16" under autocast.
        wrt: The gradients to check: "input", "logits", "weight", "bias", or tensors of a network;
            by default all that are given.
        self_test: True checks gradprobe's own backward pass.
        rtol, atol: Tolerances in place of the rounding of the gradient's dtype.
        min_power: The largest error in all entries that a pass may miss; 0.1 by default.
        eps, method, scheme, precision: The finite difference; the defaults suit.
        compare: The place of the comparison, on a GPU.
        rows: (start, stop): checks only these rows.
        sample: Checks this many rows, drawn at random with `seed`.
        device: "auto", "cpu", "gpu", "software", or a name or index of `devices()`.
        memory: Bytes for arrays apart from the weights.
        picture: True collects what `Report.to_html` draws, whatever the size; by default it is
            collected up to a million entries.
        numeric: True keeps the numeric gradients for `Report.numeric`.
        server: The address of a running `gradprobe serve`, which checks in place of this process.
        token_file: The file that holds the token of that service.

    Raises:
        CaseError: The arrays or settings cannot be checked, or there is no gradient.
        DeviceError: The device is missing or failed.
        GradprobeError: The service cannot be reached, or refuses the case.

    Example:
        >>> import gradprobe
        >>> report = gradprobe.check(
        ...     logits=[[0.0, 0.0], [0.0, 0.0]], target=[0, 1],
        ...     grad_logits=[[-0.5, 0.5], [0.5, -0.5]],
        ... )
        >>> report.verdict
        'fail'
        >>> report.checks[0].findings[0].code
        'sum-instead-of-mean'
    """
    arrays = {
        "input": input,
        "weight": weight,
        "target": target,
        "bias": bias,
        "logits": logits,
        "class_weight": class_weight,
        "sample_weight": sample_weight,
        "grad": grad,
        "grad_logits": grad_logits,
        "grad_weight": grad_weight,
        "grad_bias": grad_bias,
    }
    given = {name: array for name, array in arrays.items() if array is not None}
    if model is not None:
        given = {**(tensors or {}), **given}
    elif tensors is not None:
        raise CaseError("tensors are those of a network: pass its model too")
    elif "target" not in given:
        raise CaseError("target is None, but must hold class indices or probabilities")
    prepared, notes = prepare_all(given)
    case = _native.case_of_arrays(prepared)
    settings = _settings(
        reduction=reduction,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        normalizer=normalizer,
        weight_layout=weight_layout,
        computed_in=computed_in,
        model=model,
        wrt=wrt,
        self_test=self_test or None,
        rtol=rtol,
        atol=atol,
        min_power=min_power,
        eps=eps,
        method=method,
        scheme=scheme,
        precision=precision,
        compare=compare,
        rows=rows,
        sample=sample,
        seed=seed,
    )
    if server is None:
        return _checked(case, settings, notes, device, memory, picture, numeric)
    if numeric or device != "auto":
        raise CaseError("a service returns no numeric gradients, and chooses its own device")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "case.safetensors")
        # A model may be too long for an address.
        _native.save_case(path, prepared, [pair for pair in settings if pair[0] == "model"])
        return LayerReport(
            _native.check_by_service(
                path,
                [pair for pair in settings if pair[0] != "model"],
                notes=notes,
                server=server,
                token_file=token_file,
                picture=picture,
            )
        )


def check_file(
    path: str | os.PathLike[str],
    *,
    device: str = "auto",
    memory: int = GIB,
    picture: bool | None = None,
    numeric: bool = False,
    **settings: Any,
) -> LayerReport:
    """Checks the gradients in a .safetensors or .npz file.

    Settings are `model`, and those of `check` from `reduction` to `seed`. They come before those in
    the file.

    Raises:
        OSError: The file cannot be read.
        CaseError, DeviceError: As for `check`.
    """
    case = _native.case_of_file(path)
    return _checked(case, _settings(**settings), [], device, memory, picture, numeric)


def save_case(path: str | os.PathLike[str], **arrays_and_settings: Any) -> None:
    """Writes arrays and settings of `check` to a .safetensors file.

    `check_file` and the command read it. The tensors of a network are in `tensors`, as for `check`.

    Example:
        >>> gradprobe.save_case("case.safetensors", input=x, weight=w, target=t, grad=x.grad,
        ...     label_smoothing=0.1)  # doctest: +SKIP
    """
    settings = {name: arrays_and_settings.pop(name, None) for name in IN_FILES}
    tensors = arrays_and_settings.pop("tensors", None) or {}
    given = {name: value for name, value in arrays_and_settings.items() if value is not None}
    prepared, _ = prepare_all({**tensors, **given})
    _native.save_case(path, prepared, _settings(**settings))


IN_FILES = (
    "reduction",
    "label_smoothing",
    "ignore_index",
    "normalizer",
    "weight_layout",
    "computed_in",
    "model",
)
"""The settings that a file may hold."""


@dataclass(frozen=True)
class Device:
    """A device that can compute."""

    index: int
    name: str
    type: str
    """"cpu", "gpu", or "software" for an adapter that runs shaders on the CPU."""
    backend: str
    driver: str


def devices() -> list[Device]:
    """Returns the devices that can compute. `check` takes their index or name as `device`."""
    quiet_software_driver()
    return [Device(*row) for row in _native.devices()]


@dataclass(frozen=True)
class SweepPoint:
    """The mean relative errors of a gradient at one step."""

    eps: float
    difference: float
    """Against the difference that cannot cancel."""
    forward_pass: float
    """Against plain forward passes."""
    floor: float
    """The part of that which the rounding of the losses alone explains."""


@dataclass(frozen=True)
class Sweep:
    """The errors of one gradient over a range of steps. `print(sweep)` shows a table."""

    name: str
    points: tuple[SweepPoint, ...]
    conclusion: str | None
    """A sentence if the error is the same at every step: then the gradient is wrong."""
    text: str

    def __str__(self) -> str:
        return self.text.rstrip("\n")


def sweep(
    *,
    eps_from: float = 1.0,
    eps_to: float = 1e-8,
    precision: Literal["f32", "f64"] = "f32",
    device: str = "auto",
    **arrays_and_settings: Any,
) -> tuple[Sweep, ...]:
    """Measures the error of each gradient at every step size, a power of ten.

    Arrays and settings are those of `check`.
    """
    settings = {name: arrays_and_settings.pop(name, None) for name in (*IN_FILES, "wrt")}
    given = {name: value for name, value in arrays_and_settings.items() if value is not None}
    case = _native.case_of_arrays(prepare_all(given)[0])
    if device != "cpu":
        quiet_software_driver()
    spelled = _settings(precision=precision, **settings)
    swept = _native.sweep(case, spelled, steps=(eps_from, eps_to), device=device)
    return tuple(
        Sweep(name, tuple(SweepPoint(*point) for point in points), conclusion, text)
        for name, points, conclusion, text in swept
    )


def _checked(
    case: _native.Case,
    settings: list[tuple[str, str]],
    notes: list[str],
    device: str,
    memory: int,
    picture: bool | None,
    numeric: bool,
) -> LayerReport:
    if device != "cpu":
        quiet_software_driver()
    native = _native.check(
        case,
        settings,
        notes=notes,
        device=device,
        memory=memory,
        picture=picture,
        numeric=numeric,
    )
    return LayerReport(native)


def _settings(**settings: Any) -> list[tuple[str, str]]:
    """Returns settings as the command line spells them, without those that are not given."""
    return [(name, _spelled(name, it)) for name, it in settings.items() if it is not None]


def _spelled(name: str, value: Any) -> str:
    if name == "rows":
        start, stop = value
        return f"{start}..{stop}"
    if isinstance(value, bool):
        return str(value).lower()
    if name == "wrt" and not isinstance(value, str):
        return ",".join(value)
    if name == "computed_in":
        return _dtype_name(value)
    if name == "model":
        return _model_text(value)
    return str(value)


def _model_text(model: Model) -> str:
    """Returns a chain or JSON."""
    if isinstance(model, Mapping):
        return json.dumps(model)
    if not isinstance(model, (str, os.PathLike)):
        found = type(model).__qualname__
        raise CaseError(f"model has type {found}, but must be a chain, a mapping or a path")
    if os.fspath(model).endswith(".json"):
        return Path(model).read_text(encoding="utf-8")
    return os.fspath(model)


def _dtype_name(dtype: Any) -> str:
    """Returns a dtype's name. Takes those of PyTorch, NumPy and JAX too."""
    name = str(getattr(dtype, "__name__", dtype)).removeprefix("torch.")
    short = {"bfloat16": "bf16", "float16": "f16", "float32": "f32", "float64": "f64"}
    return short.get(name, name)


def quiet_software_driver() -> None:
    """Sets XDG_RUNTIME_DIR if it is unset, as in most containers.

    Mesa's software driver looks there for a display server, and complains on stderr.
    """
    if sys.platform == "linux":
        os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
