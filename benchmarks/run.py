"""All benchmarks, one process each, peers in the same run; results are ratios.

    python benchmarks/run.py [--large]

``--large`` takes the sizes that the bounds speak of (50 million events, 20 million edges beside the peers, a million
people), which needs an hour, 16 GB of memory and 30 GB of disk.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SMALL = {
    "cli": ["cli/run.py"],
    "solver": ["solver/run.py"],
    "import": ["import/bench_import.py", "--rows", "1000000", "--repeat", "2"],
    "facts": ["facts/run.py", "--events", "5000000"],
    "a long tail of providers": ["providers/run.py", "--providers", "20_000"],
    "collect": ["service/collect.py"],
    "decide": ["service/decide.py"],
    "decide over HTTP": ["service/decide_http.py"],
    "lifetimes": ["retain/lifetime.py"],
    "a round of journeys": ["retain/round.py", "--people", "100000"],
    "mail": ["retain/smtp.py", "--messages", "1000"],
}
LARGE = {
    "solver": ["solver/run.py", "--long"],
    "import": ["import/bench_import.py", "--rows", "5000000", "--repeat", "3"],
    "facts": ["facts/run.py", "--events", "50000000"],
    "a long tail of providers": ["providers/run.py", "--providers", "250_000"],
    "a round of journeys": ["retain/round.py", "--people", "1000000"],
    "mail": ["retain/smtp.py", "--messages", "10000"],
}


def main() -> int:
    """Run them one after the other; 1 where one misses its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    chosen = SMALL | (LARGE if parser.parse_args().large else {})
    missed = []
    for name, (script, *options) in chosen.items():
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(HERE / script), *options], check=False).returncode:
            missed.append(name)
        print(flush=True)
    print(f"missed: {', '.join(missed)}" if missed else "every bound was met")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
