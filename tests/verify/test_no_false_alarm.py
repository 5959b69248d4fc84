"""No equivalent conversion is flagged: a part of `python -m tests.verify.rounding_survey`.

Two seeds that the survey in docs/rounding.md does not have, at three scales, on a quarter of the
goldens, by the hash of their names.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from tests.frameworks import require
from tests.golden_cases import CASES
from tests.verify.alarm_survey import SCALES, Tally, golden, verified
from tests.verify.rounding_survey import BEGIN, END, document_part
from tests.verify.test_backends import PACKAGES
from verify.forward import BACKENDS
from verify.rounding_table import CONSTANTS

SEEDS = (101, 102)
PARTS = 4
SAMPLE = [case for case in CASES if zlib.crc32(case.id.encode()) % PARTS == 0]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "rounding.md"


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_equivalent_conversion_is_flagged(backend: str) -> None:
    require(PACKAGES[backend])
    found = Tally()
    for case in SAMPLE:
        for _, report, where in verified(golden(case), case.id, backend, SEEDS):
            found.add(report, where)
    assert not found.alarms
    assert found.verified == len(SAMPLE) * len(SEEDS) * len(SCALES)
    assert found.blobs > 3 * found.verified
    assert max(ratio for ratio, _ in found.nearest.values()) > 0.5


def test_every_constant_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for kind, constant in CONSTANTS.items():
        assert f"| {kind} | {constant.c:g} | {constant.reason} |" in text


def test_the_documents_survey_is_what_the_command_writes_and_has_no_alarm() -> None:
    part = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    nothing = {backend: {scale: Tally() for scale in SCALES} for backend in BACKENDS}
    seeds = int(DOCUMENT.read_text(encoding="utf-8").partition("--seeds ")[2].split()[0])
    form = document_part({"goldens": nothing, "models": nothing}, seeds).splitlines()
    assert [line for line in part.splitlines() if not line.startswith("|")] == [
        line for line in form if not line.startswith("|")
    ]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines()]
    found = [row for row in rows if row and row[0] in BACKENDS]
    runs = len(found) // 2
    assert runs == len(BACKENDS) * len(SCALES)
    assert {row[2] for row in found[:runs]} == {f"{len(CASES) * seeds:,}"}
    assert all(row[-1] == "0" and float(row[5]) <= 1 and row[3] != "0" for row in found)
