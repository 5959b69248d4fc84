"""The interface of a converted file, inputs and outputs in number and order, against the net's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prototxt.net import Blob, Net
from verify.runners.runner import Conversion, Runner

__all__ = ["interface_problem"]


def interface_problem(
    net: Net, keys: Mapping[Blob, str], conversion: Conversion, target: str, runner: Runner
) -> str | None:
    """What is wrong with the inputs and outputs that a file declares; None if nothing is.

    They are held to the net, whose inputs and outputs (less inputs that no layer reads) it must
    have in the net's order; and so must the manifest.

    Args:
        net: the net.
        keys: the manifest's key of each version of each blob.
        conversion: the conversion.
        target: which of its targets.
        runner: the target's runner.
    """
    inputs = list(net.inputs)
    outputs = [blob for blob in net.outputs if blob not in net.inputs]
    part = conversion.target(target)
    manifest = conversion.manifest
    declared = {
        ("manifest", "inputs"): [entry["blob"] for entry in manifest["inputs"]],
        ("manifest", "outputs"): [entry["blob"] for entry in manifest["outputs"]],
        (f"manifest's {target} part", "inputs"): list(part["inputs"]),
        (f"manifest's {target} part", "outputs"): part["outputs"],
    }
    for (where, what), names in declared.items():
        wanted = [blob.name for blob in (inputs if what == "inputs" else outputs)]
        if names != wanted:
            return _differ(f"the {where} lists the {what}", names, wanted)
    crops = _places((entry["layer"], entry["offset"]) for entry in manifest["net"]["crops"])
    read = _places((cut.layer, cut.offsets) for cut in net.cuts)
    if crops != read:
        return _differ("the manifest works out the crops", crops, read) + (
            ": give the --crop-offsets that it was converted with"
        )
    lacking = [keys[blob] for blob in outputs if keys[blob] not in part["blobs"]]
    if lacking:
        return f"the manifest does not say where the output {lacking[0]} is"
    found = runner.interface()
    wanted_inputs = [part["inputs"][blob.name] for blob in inputs]
    if found[0] != wanted_inputs:
        return _differ("the file declares the inputs", found[0], wanted_inputs)
    wanted_outputs = [part["blobs"][keys[blob]] for blob in outputs]
    if found[1] != wanted_outputs:
        return _differ("the file declares the outputs", found[1], wanted_outputs)
    return None


def _differ(what: str, found: Sequence[str], wanted: Sequence[str]) -> str:
    return f"{what} {_listed(found)}, and the net has {_listed(wanted)}"


def _places(crops: Iterable[tuple[str, Sequence[int]]]) -> list[str]:
    return [f'"{layer}" at ({", ".join(map(str, offset))})' for layer, offset in crops]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
