"""The command `gradprobe`, also as `python -m gradprobe`."""

from __future__ import annotations

import sys

from . import _native
from ._check import quiet_software_driver


def main() -> int:
    """Runs the command line, and returns its exit code."""
    quiet_software_driver()
    code, error = _native.run(["gradprobe", *sys.argv[1:]])
    if error is not None:
        print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
