"""Writes `caffe_pb2.py` and `caffe_pb2.pyi` anew from `caffe.proto`: `python -m prototxt.generate`.

Needs grpcio-tools 1.60 (`pip install 'grpcio-tools==1.60.*' 'setuptools<80'`, in an environment of
its own): modules of that protoc run with every protobuf from 4.25 on, whereas a newer protoc adds a
check that refuses runtimes older than itself.  Same schema, same bytes.  In an environment that has
nothing else, run this file by its path: it imports nothing of the package.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import tempfile
from importlib import metadata
from pathlib import Path

__all__ = ["GRPCIO_TOOLS", "compile_schema", "digest", "main"]

GRPCIO_TOOLS = "1.60"
PACKAGE = Path(__file__).resolve().parent
SCHEMA = PACKAGE / "caffe.proto"
OUTPUTS = ("caffe_pb2.py", "caffe_pb2.pyi")
STAMP = "# sha256 of caffe.proto: "


def digest(schema: Path = SCHEMA) -> str:
    """The sha256 of the schema's text, as hexadecimal digits, whatever its line ends."""
    return hashlib.sha256(schema.read_text(encoding="utf-8").encode()).hexdigest()


def compile_schema(*options: str) -> None:
    """Runs protoc on the schema, under the name `prototxt/caffe.proto`, with these output options.

    Raises:
        RuntimeError: grpcio-tools is not installed, or protoc has refused the schema and said why.
    """
    try:
        protoc = importlib.import_module("grpc_tools.protoc")
    except ImportError as error:
        raise RuntimeError(f"protoc is missing: {error}") from error
    name = SCHEMA.relative_to(PACKAGE.parent).as_posix()
    if protoc.main(["protoc", f"--proto_path={PACKAGE.parent}", *options, name]):
        raise RuntimeError(f"protoc has refused {SCHEMA}")


def generated() -> dict[str, str]:
    """The text of both generated files, by name."""
    with tempfile.TemporaryDirectory() as directory:
        compile_schema(f"--python_out={directory}", f"--pyi_out={directory}")
        texts = {
            name: (Path(directory) / PACKAGE.name / name).read_text(encoding="utf-8")
            for name in OUTPUTS
        }
    # protoc of this version leaves the bare `_Mapping` that mypy --strict refuses.
    return {
        name: f"{STAMP}{digest()}\n" + text.replace("_Mapping]", "_Mapping[str, object]]")
        for name, text in texts.items()
    }


def main() -> int:
    """Writes both files; returns 0, or 2 after one line on what is missing."""
    try:
        found = metadata.version("grpcio-tools")
    except metadata.PackageNotFoundError:
        found = "none"
    if not found.startswith(GRPCIO_TOOLS + "."):
        need = f"grpcio-tools=={GRPCIO_TOOLS}.*"
        print(
            f"error: generating the schema's module needs {need}, found {found}; "
            f"in a fresh environment: pip install '{need}' 'setuptools<80'",
            file=sys.stderr,
        )
        return 2
    try:
        texts = generated()
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, text in texts.items():
        (PACKAGE / name).write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
