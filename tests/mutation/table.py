"""The table of a mutation run, and why its survivors survive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.mutation.trial import Trial

FIXED = 1e-4
"""The fixed part of a blob's scale that derived bounds are held against."""
HEAD = ("fault", "mutants", "effective", "caught", "located", "within 1e-4", "parity", "survivors")


@dataclass(frozen=True)
class Row:
    """One kind of faults, over all nets and backends."""

    kind: str
    trials: tuple[Trial, ...]

    @property
    def written(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.judgement is not None]

    @property
    def effective(self) -> list[Trial]:
        return [trial for trial in self.written if trial.effective]

    @property
    def survivors(self) -> list[Trial]:
        return [trial for trial in self.written if not trial.caught]

    @property
    def cells(self) -> list[str]:
        effective = self.effective
        parity = [t for t in self.written if t.judgement is not None and not t.judgement.parity]
        fixed = [t for t in effective if t.truth.drift <= FIXED]
        counts = [len(self.written), len(effective), sum(t.caught for t in effective),
                  sum(t.located for t in effective), len(fixed), len(parity)]  # fmt: skip
        return [self.kind, *map(str, counts), self.reasons]

    @property
    def reasons(self) -> str:
        """Why survivors survive, with the greatest share of the bound that they take."""
        same = [t for t in self.survivors if not t.truth.changed]
        inside = [t for t in self.survivors if t.truth.changed and not t.effective]
        missed = [t for t in self.survivors if t.effective]
        parts = []
        if inside:
            share = max(t.truth.ratio for t in inside)
            parts.append(f"{len(inside)} inside the bound (at most {share:.2g} of it)")
        if same:
            parts.append(f"{len(same)} compute the same")
        if missed:
            parts.append(f"{len(missed)} MISSED")
        return ", ".join(parts) or "none"


def rows(trials: Sequence[Trial]) -> list[Row]:
    """A row a kind, in the order in which the kinds are listed, and the sum of all."""
    kinds = list(dict.fromkeys(trial.kind for trial in trials if trial.kind != "none"))
    found = [Row(kind, tuple(t for t in trials if t.kind == kind)) for kind in sorted(kinds)]
    return [*found, Row("all", tuple(t for t in trials if t.kind != "none"))]


def table(trials: Sequence[Trial]) -> str:
    """The table, in Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |",
             "|---|" + "---:|" * (len(HEAD) - 2) + "---|"]  # fmt: skip
    lines += ["| " + " | ".join(row.cells) + " |" for row in rows(trials)]
    return "\n".join(lines)


def survivors(trials: Sequence[Trial]) -> Iterator[str]:
    """Each survivor and why, those of an ulp, of which there are many, left to the table."""
    for trial in trials:
        if trial.kind in ("none", "one weight off by an ulp") or trial.judgement is None:
            continue
        if not trial.caught:
            yield f"{trial.backend}, {trial.net}, `{trial.mutant}`, {trial.kind}: {why(trial)}"


def why(trial: Trial) -> str:
    """Why a mutant survives."""
    truth = trial.truth
    if not truth.stored:
        return "the files are the same: zeros, a symmetric or repeated kernel, a map of 1 x 1"
    if not truth.changed:
        return "no blob changes: what it meets is 0, or only its shape is read"
    if not trial.effective:
        return f"{truth.ratio:.2g} of the rounding bound of its layer"
    return f"MISSED: {trial.truth.ratio:.3g} times the bound"


def wrong(trials: Sequence[Trial]) -> list[str]:
    """What must not be: an effective mutant that is not caught, or at another layer; a faultless
    conversion that is flagged."""
    found = []
    for trial in trials:
        if trial.judgement is None:
            continue
        name = f"{trial.backend}, {trial.net}, {trial.kind}, {trial.mutant}"
        if trial.kind == "none":
            if trial.effective:
                found.append(f"{name}: the graph itself is {trial.truth.ratio:.3g} bounds off")
            if trial.caught or not trial.judgement.parity:
                found.append(f"{name}: flagged: {trial.judgement.text}")
        elif trial.effective and not trial.located:
            said = trial.judgement.text if trial.caught else "not caught"
            found.append(f"{name}: at layer {trial.truth.layer}, "
                         f"{trial.truth.ratio:.3g} bounds: {said}")  # fmt: skip
    return found
