"""python -m tests.emitted update"""

import sys
import tempfile
from pathlib import Path

from tests.emitted import gluon_cases
from tests.emitted.cases import update

if sys.argv[1:] != ["update"]:
    sys.exit("usage: python -m tests.emitted update")
update()
gluon_cases.update()

from tests.emitted import onnx_text  # noqa: E402  # after the sources, which need no framework

with tempfile.TemporaryDirectory() as scratch:
    onnx_text.update(Path(scratch))
