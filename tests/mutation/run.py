"""Running all mutants of nets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from tests.mutation import op_faults, weight_faults
from tests.mutation.faults import KINDS, mutants
from tests.mutation.subjects import goldens, models
from tests.mutation.trial import Subject, Trial

__all__ = ["KINDS", "everything", "trials"]

MODULES = (op_faults, weight_faults)
"""Importing them registers their kinds; naming them keeps the imports from looking unused."""

SAMPLE = 6
"""Of the goldens, each how-many-th the other backends are held to."""


def trials(subjects: Iterable[Subject], backends: Iterable[str], each: int) -> Iterator[Trial]:
    """Faultless conversions and, of each kind of fault, up to `each` mutants a net."""
    wanted = list(backends)
    for subject in subjects:
        for mutant in [subject.faultless(), *mutants(subject.graph, subject.loaded.net, each)]:
            truth = subject.truth(mutant)
            for backend in wanted:
                yield subject.trial(mutant, backend, truth)


def everything(backends: Iterable[str]) -> Iterator[Trial]:
    """ONNX on all nets, the others on a sample of the goldens and the small models."""
    for backend in backends:
        if backend == "onnx":
            yield from trials(goldens(), [backend], 3)
            yield from trials(models(), [backend], 3)
        else:
            yield from trials(islice(goldens(), 0, None, SAMPLE), [backend], 1)
            small = (s for s in models() if s.name.startswith(("mtcnn", "lenet", "cifar")))
            yield from trials(small, [backend], 1)
