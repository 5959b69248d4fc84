"""Run the benchmarks.  Exit code 1: a limit is exceeded; 2: one could not be run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench import emitted, large, parse, startup, verification
from bench.measure import BenchError, machine, python_environment
from bench.result import show

BENCHMARKS = {
    "startup": startup.measure,
    "parse": parse.measure,
    "large": large.measure,
    "emitted": emitted.measure,
    "verification": verification.measure,
}


def main() -> int:
    """Run what was asked for and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=BENCHMARKS, help="one benchmark; default: all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--runs",
        type=int,
        help="runs of each command; default: 21, of large 5, of emitted 41, of verification 15",
    )
    parser.add_argument("--folder", type=Path, help="where temporary files go; large needs 2.2 GB")
    arguments = parser.parse_args()
    facts = machine()
    found = {}
    try:
        with python_environment() as environment:
            for name in [arguments.only] if arguments.only else BENCHMARKS:
                found[name] = BENCHMARKS[name](environment, arguments.runs, arguments.folder)
                if not arguments.json:
                    show(name, found[name])
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        figures = {name: [figure.to_json() for figure in rows] for name, rows in found.items()}
        print(json.dumps({"machine": facts, "benchmarks": figures}, indent=1))
    else:
        print("measured on:", ", ".join(f"{key}: {value}" for key, value in facts.items()))
    return 0 if all(figure.within for rows in found.values() for figure in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
