"""A survey of many nets: how many pass, by layer type, and why the others do not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from decaffeinate.options import INTERRUPTED
from decaffeinate.pairing import Gathered
from decaffeinate.worker import Outcome
from prototxt.errors import DecaffeinateError
from prototxt.fields import is_solver
from prototxt.files import read_text
from prototxt.geometry import counted
from prototxt.text import parse_fields

__all__ = ["ReasonRow", "Survey", "TypeRow"]


@dataclass(frozen=True)
class TypeRow:
    """A layer type: how many nets use it, how many of those pass, and how many layers it has.

    `status` is that of `decaffeinate.inspection.LayerRow`, followed by ", in part" where a plugin
    brings some of them."""

    type: str
    status: str
    nets: int
    passed: int
    layers: int


@dataclass(frozen=True)
class ReasonRow:
    """Why nets do not pass: `nets` all that have this reason, `alone` how many have no other, and
    `example` the message of the first."""

    subject: str
    why: str
    nets: tuple[str, ...]
    alone: int
    example: str


@dataclass(frozen=True)
class Survey:
    """What came of the nets of some folders; `interrupted`: Ctrl-C ended it."""

    gathered: Gathered
    outcomes: Sequence[Outcome]
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0, whatever it found; 130 after Ctrl-C."""
        return INTERRUPTED if self.interrupted else 0

    @cached_property
    def folder(self) -> str:
        """The innermost folder that all files lie in, as it was named; "" where there is none."""
        paths = [*(found.net for found in self.gathered.nets), *self.gathered.passed_over]
        try:
            return os.path.commonpath([path.parent for path in paths])
        except ValueError:  # some absolute, some not; or several drives
            return ""

    def shown(self, text: str) -> str:
        """A path, or a message that names some, with what all files have in common left out."""
        return text.replace(self.folder + os.sep, "") if self.folder else text

    @cached_property
    def nets(self) -> list[dict[str, Any]]:
        """Each net: what its job found; of one whose process died, that reason alone."""
        rows = []
        for found, outcome in zip(self.gathered.nets, self.outcomes, strict=True):
            content = outcome.content or _died(outcome)
            rows.append({
                "net": str(found.net),
                "passed": not content["reasons"],
                **{name: value for name, value in content.items() if name != "exit_code"},
                "seconds": round(outcome.seconds, 3),
            })  # fmt: skip
        return rows

    @property
    def passed(self) -> int:
        """How many nets pass."""
        return sum(net["passed"] for net in self.nets)

    @cached_property
    def types(self) -> list[TypeRow]:
        """The layer types, the most used first."""
        using: dict[str, list[tuple[bool, int, str]]] = {}
        for net in self.nets:
            for kind, found in net["types"].items():
                entry = net["passed"], found["layers"], found["status"]
                using.setdefault(kind, []).append(entry)
        rows = [
            TypeRow(
                kind,
                _together({status for _, _, status in entries}),
                len(entries),
                sum(passed for passed, _, _ in entries),
                sum(layers for _, layers, _ in entries),
            )
            for kind, entries in using.items()
        ]
        return sorted(rows, key=lambda row: (-row.nets, row.type))

    @cached_property
    def reasons(self) -> list[ReasonRow]:
        """The reasons of the nets that do not pass, those of most nets first."""
        found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        examples: dict[tuple[str, str], str] = {}
        for net in self.nets:
            for reason in net["reasons"]:
                key = reason["subject"], reason["why"]
                examples.setdefault(key, reason["message"])
                if not found.setdefault(key, []) or found[key][-1] is not net:
                    found[key].append(net)
        rows = [
            ReasonRow(
                subject,
                why,
                tuple(net["net"] for net in nets),
                sum(len(net["reasons"]) == 1 for net in nets),
                examples[subject, why],
            )
            for (subject, why), nets in found.items()
        ]
        return sorted(rows, key=lambda row: (-len(row.nets), row.subject, row.why))

    @cached_property
    def fields(self) -> list[tuple[str, int]]:
        """The fields that are not known and were ignored, and how many nets have each."""
        count = Counter(
            field for net in self.nets for field in {entry["field"] for entry in net["ignored"]}
        )
        return sorted(count.items(), key=lambda item: (-item[1], item[0]))

    @cached_property
    def solvers(self) -> list[str]:
        """The texts that define solvers."""
        return [str(path) for path in self.gathered.passed_over if _is_solver(path)]

    @cached_property
    def others(self) -> list[str]:
        """The texts that define neither nets nor solvers."""
        solvers = set(self.solvers)
        return [str(path) for path in self.gathered.passed_over if str(path) not in solvers]

    @property
    def total(self) -> str:
        """One line on all of them."""
        count = len(self.nets)
        share = f" ({100 * self.passed / count:.0f}%)" if count else ""
        line = f"{counted(count, 'net')}: {self.passed} pass{share}, {count - self.passed} do not"
        for texts, what in (
            (self.solvers, "solver"), (self.others, "other text"),
        ):  # fmt: skip
            line += f"; {counted(len(texts), what)} passed over" if texts else ""
        return line

    def to_json(self) -> dict[str, Any]:
        """As `--json` writes it."""
        return {
            "nets": len(self.nets),
            "passed": self.passed,
            "interrupted": self.interrupted,
            "by_type": [asdict(row) for row in self.types],
            "by_reason": [asdict(row) for row in self.reasons],
            "by_field": [{"field": name, "nets": nets} for name, nets in self.fields],
            "each": self.nets,
            "solvers": self.solvers,
            "others": self.others,
        }


def _died(outcome: Outcome) -> dict[str, Any]:
    """What is said of a net whose job gave nothing."""
    message = outcome.error or ""
    why = message.partition("\n")[0]
    return {
        "name": None, "layers": 0, "parameters": None, "macs": None, "types": {},
        "reasons": [{"subject": "", "why": why, "message": message}], "ignored": [],
    }  # fmt: skip


def _together(statuses: set[str]) -> str:
    """One status for a type that may differ from net to net."""
    worst = max(statuses)
    return f"{worst}, in part" if len(statuses) > 1 else worst


def _is_solver(path: Path) -> bool:
    try:
        return is_solver(parse_fields(read_text(path), str(path)))
    except DecaffeinateError:
        return False
