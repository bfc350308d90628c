"""``footfall --help`` against a bare interpreter: the overview has to come at once (bound: 0.3 s)."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

BOUND_S = 0.3
RUNS = 7


def median_s(command: list[str]) -> float:
    """Median wall time of a command over a few runs, seconds."""
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[RUNS // 2]


def main() -> int:
    """Print both and their ratio; 1 above the bound."""
    shown = median_s([str(Path(sys.executable).with_name("footfall")), "--help"])
    bare = median_s([sys.executable, "-c", "pass"])
    print(f"footfall --help {shown:.3f} s, bare interpreter {bare:.3f} s, ratio {shown / bare:.1f}")
    return int(shown > BOUND_S)


if __name__ == "__main__":
    sys.exit(main())
