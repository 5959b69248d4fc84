"""caffe2onnx on every net of a folder; run under the Python that has it (3.7), one process a net.

python37.py FOLDER SECONDS: NAME.onnx is written beside each NAME.prototxt and NAME.caffemodel; a
JSON object is printed: "refusals", by NAME why there is no file (the last line that the converter
wrote), and "versions".  A crash or a hang of one net is a refusal of that net.
"""

import json
import os
import random
import signal
import sys
import time
from argparse import Namespace
from pathlib import Path

import pkg_resources
from caffe2onnx import convert

PACKAGES = ("caffe2onnx", "onnx", "protobuf", "numpy")


def convert_one(folder, name):
    """In the child: what the converter's own command line does; never returns."""
    os.chdir(str(folder))
    log = os.open(name + ".log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    random.seed(0)  # it draws names of values
    # Bare file names: the path becomes the name of the graph.
    paths = {"prototxt": name + ".prototxt", "caffemodel": name + ".caffemodel"}
    convert.main(Namespace(onnx=name + ".onnx", frozen=None, **paths))


def outcome(folder, name, seconds):
    """None where the converter wrote a file, else the reason."""
    written = folder / (name + ".onnx")
    if written.exists():
        written.unlink()
    child = os.fork()
    if not child:
        convert_one(folder, name)
        sys.exit(0)
    end = time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return f"no answer in {seconds:g} s"
        time.sleep(0.002)
    if os.WIFSIGNALED(status):
        return f"ended by signal {os.WTERMSIG(status)}"
    if os.WEXITSTATUS(status) == 0 and written.exists():
        return None
    lines = (folder / (name + ".log")).read_text().strip().splitlines()
    return lines[-1] if lines else f"exit code {os.WEXITSTATUS(status)}"


def main():
    """Every net of the folder."""
    folder, seconds = Path(sys.argv[1]).resolve(), float(sys.argv[2])
    names = sorted(path.stem for path in folder.glob("*.prototxt"))
    # A child's SystemExit or exception unwinds from here too, past the printing.
    outcomes = {name: outcome(folder, name, seconds) for name in names}
    versions = {name: pkg_resources.get_distribution(name).version for name in PACKAGES}
    versions["Python"] = ".".join(map(str, sys.version_info[:2]))
    refusals = {name: reason for name, reason in outcomes.items() if reason is not None}
    json.dump({"versions": versions, "refusals": refusals}, sys.stdout)


main()
