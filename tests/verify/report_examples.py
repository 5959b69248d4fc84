"""Hand-made reports of format 2, for tests of what is drawn from them.

python -m tests.verify.report_examples DIR      write each as DIR/NAME.html and DIR/NAME.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = dict[str, Any]
Maps = dict[tuple[str, str, str], NDArray[np.float64]]
BACKENDS = ("onnx", "pytorch", "mxnet")
HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "' onmouseover='alert(3)",
    "<!--",
    "]]></title></svg><svg onload=alert(4)>",
    "{{ 7*7 }}{% raw %}",
    "evil\u202etxt.exe\x00\x1b[31m",
    "\ud800 lone",
    "&lt;amp&amp;",
    "n" * 300,
)


class Net:
    """Layers added one after the other; keys of blobs are made as the manifest's are."""

    def __init__(self) -> None:
        self.layers: list[Json] = []

    def add(self, kind: str, name: str, bottoms: Sequence[str], parameters: int = 0) -> str:
        index = len(self.layers)
        where = f"deploy.prototxt:{9 * index + 3}:1"
        self.layers.append(
            {"index": index, "name": name, "type": kind, "where": where,
             "bottoms": list(bottoms), "tops": [name], "parameters": parameters}
        )  # fmt: skip
        return name

    def rewrite(self, kind: str, name: str, blob: str, parameters: int = 0) -> str:
        """A layer in place: versions of the blob before the last get numbers."""
        versions = sum(blob in layer["tops"] for layer in self.layers)
        versions += sum(f"{blob}@{i}" in layer["tops"] for layer in self.layers for i in range(99))
        for layer in self.layers:
            layer["tops"] = [f"{blob}@{versions - 1}" if t == blob else t for t in layer["tops"]]
            layer["bottoms"] = [
                f"{blob}@{versions - 1}" if b == blob else b for b in layer["bottoms"]
            ]
        self.add(kind, name, [f"{blob}@{versions - 1}"], parameters)
        self.layers[-1]["tops"] = [blob]
        return blob


def squeezenet() -> Net:
    net = Net()
    x = net.add("Input", "data", [])
    x = net.rewrite("ReLU", "relu_conv1", net.add("Convolution", "conv1", [x], 14208))
    x = net.add("Pooling", "pool1", [x])
    for number in range(2, 10):
        name = f"fire{number}"
        s = net.add("Convolution", f"{name}/squeeze1x1", [x], 1024 * number)
        s = net.rewrite("ReLU", f"{name}/relu_squeeze1x1", s)
        a = net.add("Convolution", f"{name}/expand1x1", [s], 1088 * number)
        a = net.rewrite("ReLU", f"{name}/relu_expand1x1", a)
        b = net.add("Convolution", f"{name}/expand3x3", [s], 9280 * number)
        b = net.rewrite("ReLU", f"{name}/relu_expand3x3", b)
        x = net.add("Concat", f"{name}/concat", [a, b])
        if number in (4, 8):
            x = net.add("Pooling", f"pool{number}", [x])
    x = net.rewrite("Dropout", "drop9", x) if not x.startswith("pool") else x
    x = net.rewrite("ReLU", "relu_conv10", net.add("Convolution", "conv10", [x], 513000))
    net.add("Softmax", "prob", [net.add("Pooling", "pool10", [x])])
    return net


def residual(blocks: int = 62) -> Net:
    """Bottleneck blocks of eight layers with skip connections, and side outputs far apart."""
    net = Net()
    x = net.add("Convolution", "conv0", [net.add("Input", "data", [])], 9408)
    sides = []
    for block in range(blocks):
        y = x
        for part in "ab":
            y = net.add("Convolution", f"res{block}_branch2{part}", [y], 36864)
            y = net.rewrite("BatchNorm", f"bn{block}_{part}", y, 129)
            y = net.rewrite("ReLU", f"relu{block}_{part}", y)
        if block % 15 == 14:
            x = net.add("Convolution", f"res{block}_branch1", [x], 4096)
            sides.append(net.add("Pooling", f"side{block}", [y]))
        x = net.rewrite("ReLU", f"res{block}_relu", net.add("Eltwise", f"res{block}", [x, y]))
    x = net.add("Concat", "sides", [*sides, net.add("Pooling", "pool", [x])])
    net.add("Softmax", "prob", [net.add("InnerProduct", "fc", [x], 2049000)])
    return net


def hostile() -> Net:
    net = Net()
    x = net.add("Input", HOSTILE[0], [])
    for name in HOSTILE[1:]:
        net.add("ReLU", f"side {name}", [x])
        x = net.add("<script>alert(5)</script>" if "{" in name else "Convolution", name, [x], 12)
    return net


def blob_row(key: str, layer: int | None, ratio: float, random: np.random.Generator) -> Json:
    allowed = float(10 ** random.uniform(-7, -4))
    size, wrong = 64 * 55 * 55, 0 if ratio <= 1 else int(random.integers(1, 5000))
    return {
        "blob": key, "layer": layer, "shape": [1, 64, 55, 55], "kind": "local",
        "error": ratio * allowed, "allowed": allowed, "ratio": ratio, "median_ratio": ratio / 20,
        "unbounded": 0, "mismatched": wrong, "size": size, "where": [0, 3, 17, 21], "scale": 11.5,
        "drift": ratio * 1e-6, "cosine": 1 - ratio * 1e-12, "snr_db": 131.4, "passed": wrong == 0,
        "problem": None,
    }  # fmt: skip


def parity(net: Net) -> Json:
    rows = [
        {"layer": layer["name"], "source": layer["parameters"],
         "stored": layer["parameters"] - (layer["type"] == "BatchNorm"),
         "folded": int(layer["type"] == "BatchNorm"), "problems": [],
         "notes": ["scale_factor: divides"] if layer["type"] == "BatchNorm" else []}
        for layer in net.layers if layer["parameters"]
    ]  # fmt: skip
    total = 4 * sum(row["source"] for row in rows)
    return {"layers": rows, "memory_bytes": total, "disk_bytes": total + 9132, "constants": 0,
            "changed": 0, "dtype": "float32", "expected_bytes": total, "problems": [],
            "passed": True}  # fmt: skip


def report(net: Net, title: str, inputs: Sequence[str] = ("image",), seed: int = 4) -> Json:
    """A report of which every blob is within its bound."""
    random = np.random.default_rng(seed)
    results = []
    for feed in inputs:
        for backend in BACKENDS:
            blobs = []
            for layer in net.layers:
                moves = layer["type"] in ("Input", "ReLU", "Concat", "Pooling")
                for top in layer["tops"]:
                    ratio = 0.0 if moves else float(random.beta(1.2, 4))
                    blobs.append(blob_row(top, layer["index"], ratio, random))
            last = blobs[-1]["blob"]
            results.append(
                {"backend": backend, "inputs": feed, "version": f"{backend} 1.2.3", "passed": True,
                 "problem": None, "first_fault": None, "repro": None, "blobs": blobs,
                 "outputs": [{"blob": last, "top1": 1.0, "top5": 1.0, "drift": 1.3e-6}],
                 "parity": parity(net)}
            )  # fmt: skip
    return {
        "format": 2, "net": f"models/{title}/deploy.prototxt", "title": title, "drawn": False,
        "weights": f"models/{title}/{title}.caffemodel", "tolerance": {"kind": "derived"},
        "parameters": sum(layer["parameters"] for layer in net.layers),
        "command": f"verify models/{title}/deploy.prototxt models/{title}/{title}.caffemodel "
        "--image cat.jpg --report report",
        "environment": {"python": "3.11.9", "numpy": "1.23.5", "platform": "Linux x86_64"},
        "notes": ["layer loss: not of phase TEST, left out"], "verdict": "equivalent",
        "passed": True, "layers": net.layers, "results": results, "across": [],
    }  # fmt: skip


def passing() -> Json:
    made = report(squeezenet(), "SqueezeNet v1.0", ("image", "noise"))
    for result in made["results"]:
        result["blobs"].append(
            {**result["blobs"][-1], "blob": "prob (fused)", "kind": "optimised", "ratio": 0.31}
        )
    worst = made["results"][0]["blobs"][5]
    made["across"] = [
        {"first": "onnx", "second": "pytorch", "inputs": "image", "compared": 66, "passed": True,
         "worst": worst}
    ]  # fmt: skip
    return made


def with_images(made: Json, number: int = 500) -> Json:
    """Many images: one backend that agrees, one that is off at some, one that failed."""
    random = np.random.default_rng(7)
    names = [f"ILSVRC2012_val_{index:08}.JPEG" for index in range(number)]
    drifts: list[float | None] = [float(d) for d in 10 ** random.normal(-6.3, 0.3, number)]
    worst = int(np.argmax(drifts))
    good = {
        "backend": "onnx", "output": "prob", "images": number, "labelled": number - 3,
        "top1": number, "top5": number - 1, "right1": 280, "right5": 401, "reference_right1": 280,
        "reference_right5": 402, "drift": drifts[worst], "worst": names[worst], "off": [],
        "by_image": [list(pair) for pair in zip(names, drifts, strict=True)], "differing": [],
        "problem": None, "passed": True,
    }  # fmt: skip
    wrong: list[float | None] = [0.0, *drifts[1:]]
    wrong[40:43], wrong[60] = [0.2, 3.0, 2e-3], None
    pairs = [list(pair) for pair in zip(names, wrong, strict=True)]
    bad = {**good, "backend": "pytorch", "by_image": pairs,
           "off": [names[i] for i in (40, 41, 42, 60)], "differing": [names[41]], "passed": False,
           "drift": 3.0, "worst": names[41], "top1": number - 1}  # fmt: skip
    failed = {**good, "backend": "mxnet", "images": 0, "labelled": 0, "drift": 0.0, "worst": None,
              "by_image": [], "passed": False, "problem": f"{names[0]}: out of memory",
              **dict.fromkeys(("top1", "top5", "right1", "right5"))}  # fmt: skip
    made.update(images=[good, bad, failed], passed=False, verdict="NOT equivalent")
    return made


def images() -> Json:
    return with_images(report(squeezenet(), "SqueezeNet v1.0"))


def break_at(made: Json, backend: int, layer: int, ratio: float = 1873.0) -> None:
    """Make one backend break its bound first at a layer, and a later blob not comparable."""
    random = np.random.default_rng(1)
    result = made["results"][backend]
    rows = [blob for blob in result["blobs"] if blob["layer"] == layer]
    rows[0].update(blob_row(rows[0]["blob"], layer, ratio, random))
    later = next((b for b in result["blobs"] if (b["layer"] or 0) > layer + 5), rows[0])
    later.update(error=None, ratio=None, drift=None, cosine=None, snr_db=None, where=None,
                 passed=False, problem="3 of 1000 values of the backend are not finite",
                 allowed=None, median_ratio=None, scale=None, mismatched=0, size=0)  # fmt: skip
    named = next(one for one in made["layers"] if one["index"] == layer)
    result.update(passed=False, repro=f"repro/{result['backend']}", first_fault={
        "layer": named["name"], "index": layer, "type": named["type"], "blob": rows[0]["blob"],
        "ratio": ratio, "text": "1,204 of 193,600 values exceed their bounds"})  # fmt: skip
    made.update(passed=False, verdict="NOT equivalent")


def failing() -> Json:
    made = report(squeezenet(), "SqueezeNet v1.0")
    break_at(made, 1, 29)
    made["results"][1]["blobs"][40].update(ratio=4.2, passed=False, mismatched=7)
    problem = "the backend failed: the process ended with signal 11"
    made["results"][2].update(passed=False, blobs=[], parity=None, outputs=[], problem=problem)
    layer = made["results"][1]["parity"]["layers"][3]
    layer.update(problems=["weight differs in 12 of 16 values"], stored=layer["stored"] - 3)
    made["results"][1]["parity"]["passed"] = False
    return made


def large() -> Json:
    made = report(residual(), "resnet of 500 layers", seed=9)
    break_at(made, 0, 333)
    return made


def hostile_names() -> Json:
    made = report(hostile(), HOSTILE[0], (HOSTILE[1],))
    break_at(made, 1, 3)
    made["results"][0]["problem"] = HOSTILE[4]
    made["notes"] = list(HOSTILE)
    made["command"] = HOSTILE[0]
    made["environment"] = {HOSTILE[1]: HOSTILE[2]}
    with_images(made, 100)
    for row in made["images"]:
        row.update(output=HOSTILE[0], worst=HOSTILE[1], off=list(HOSTILE), differing=list(HOSTILE))
        row["by_image"] = [[name, 1e-6] for name in HOSTILE]
    made["images"][2]["problem"] = HOSTILE[4]
    made["results"][1]["first_fault"]["text"] = HOSTILE[0]
    made["results"][1]["repro"] = HOSTILE[1]
    return made


def empty() -> Json:
    """Nothing ran, and the net has no layers."""
    made = report(Net(), "nothing", ())
    made.update(passed=False, verdict="NOT verified: not every backend could be compared")
    return made


EXAMPLES: dict[str, Callable[[], Json]] = {
    "passing": passing,
    "failing": failing,
    "large": large,
    "hostile": hostile_names,
    "images": images,
    "empty": empty,
}


def example_maps(made: Json) -> Maps:
    """Two maps for the first backend: a gradient, and one with a fault and places unbounded."""
    blobs = [blob["blob"] for blob in made["results"][0]["blobs"]]
    rows, columns = np.mgrid[0:55, 0:55] / 55
    fault = 0.3 * rows + 12 * np.exp(-60 * ((rows - 0.4) ** 2 + (columns - 0.6) ** 2))
    fault[:4] = np.nan
    backend, inputs = made["results"][0]["backend"], made["results"][0]["inputs"]
    wide = np.tile(rows * columns, (3, 6))
    return {(backend, inputs, blobs[1]): wide, (backend, inputs, blobs[2]): fault}


if __name__ == "__main__":
    from verify.html_report import html

    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, example in EXAMPLES.items():
        content = example()
        maps = example_maps(content) if content["layers"] else None
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        (folder / f"{name}.html").write_text(html(content, maps), encoding="utf-8")
