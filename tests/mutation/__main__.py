"""Put faults into converted files and see whether the verification finds them.

`python -m tests.mutation [--backends B ...] [--write]`: exit code 1 where an effective mutant is
not caught at its layer, or a faultless conversion is flagged.  The published models are found as
tests/real_models.py says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.mutation.run import everything
from tests.mutation.table import survivors, table, wrong
from tests.mutation.trial import Trial

DOCUMENT = Path(__file__).parents[2] / "docs" / "mutation.md"
MARK = "<!-- written by python -m tests.mutation --write -->\n"


def written(trials: list[Trial]) -> str:
    """The part of the document that a run makes."""
    nets = Counter(t.backend for t in trials if t.kind == "none")
    refused = sum(t.judgement is None for t in trials)
    flagged = sum(t.caught and not t.effective and t.kind != "none" for t in trials)
    counts = ", ".join(f"{backend} {count}" for backend, count in nets.items())
    inside = [t for t in trials if t.judgement and t.truth.changed and not t.caught]
    stored = sum(not trial.judgement.parity for trial in inside if trial.judgement)
    faultless = [trial for trial in trials if trial.kind == "none"]
    paragraphs = (
        MARK + table(trials),
        (
            f"Faultless conversions (nets by backend: {counts}): "
            f"{sum(trial.caught for trial in faultless)} flagged."
        ),
        (
            f"Mutants whose graph the target's emitter refuses, which are not counted: {refused}.  "
            f"Mutants inside the bound that rounding takes outside and that are flagged: {flagged}."
        ),
        "## Survivors",
        (
            "One ulp of the greatest weight lies inside the bound of nearly every layer: rounding "
            "one weight is one of the roundings that the bound allows.  What another kind changes "
            "inside the bound is small beside the sum of the absolute products that rounding is a "
            f"share of.  The check of stored parameters flags {stored} of the {len(inside)} "
            "survivors inside the bound.  Those of other kinds than the ulp:"
        ),
        listed(survivors(trials)),
        "## Missed, misplaced, or flagged without a fault",
        listed(wrong(trials)),
    )
    return "\n\n".join(paragraphs) + "\n"


def listed(lines: Iterable[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines) or "None."


def main() -> int:
    """Run, print and perhaps write."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--backends", nargs="+", default=["onnx", "pytorch", "mxnet"])
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT.name}")
    arguments = parser.parse_args()
    trials, begun = [], time.monotonic()
    for trial in everything(arguments.backends):
        trials.append(trial)
        if trial.kind == "none":
            print(f"{time.monotonic() - begun:5.0f} s {trial.backend} {trial.net}",
                  file=sys.stderr, flush=True)  # fmt: skip
    text = written(trials)
    print(text)
    if arguments.write:
        head = DOCUMENT.read_text(encoding="utf-8").partition(MARK)[0]
        DOCUMENT.write_text(head + text, encoding="utf-8", newline="\n")
    return 1 if wrong(trials) else 0


if __name__ == "__main__":
    sys.exit(main())
