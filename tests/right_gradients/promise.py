"""Scales gradients that passed by more than the error that the pass says it would have detected."""
import numpy as np
import torch
from safetensors.torch import load_file, save_file

import tables

FACTOR = 1.05  # of the error that would have been detected


def scale(file, folder, names, recipe, report):
    """Writes copies of `file` with every gradient that passed scaled up, and down. Returns a row for each gradient.

    `names` maps what a gradient is with respect to to its name in the file.
    """
    tensors = load_file(file)
    rest = {name: tensor for name, tensor in tensors.items() if name not in names.values()}
    rows = []
    for sign, word in ((1, "up"), (-1, "down")):
        wrong, name = {}, f"{file.stem}-{word}.safetensors"
        for check in report["checks"]:
            sees = tables.number(check["detectable"])
            if check["verdict"] != "pass" or not 0 < sees < 1e6:
                continue
            gradient = scaled_away(tensors[names[check["wrt"]]], 1 + sign * FACTOR * sees)
            if gradient is not None:
                wrong[names[check["wrt"]]] = gradient
                rows.append(tables.row(recipe, check) | {"file": name})
        if wrong:
            folder.mkdir(exist_ok=True)
            save_file(rest | wrong, folder / name, recipe["metadata"])
    return rows


def scaled_away(gradient, factor):
    """Returns gradient · factor, rounded away from the gradient. Returns `None` if it overflows or is all zeros."""
    exact = extended(gradient)
    wanted = exact * np.longdouble(factor)
    rounded = torch.from_numpy(wanted.astype(np.float64)).to(gradient.dtype)
    up = torch.from_numpy(wanted > exact)
    short = torch.from_numpy(np.where(up, extended(rounded) < wanted, extended(rounded) > wanted))
    farther = torch.nextafter(rounded, torch.where(up, torch.inf, -torch.inf).to(gradient.dtype))
    result = torch.where(short, farther, rounded)
    return result if torch.isfinite(result).all() and result.any() else None


def extended(tensor):
    return tensor.double().numpy().astype(np.longdouble)
