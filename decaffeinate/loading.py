"""Reading a net and its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from decaffeinate.plugins import Plugin, read_with_plugins
from prototxt.bn_form import with_stored_form
from prototxt.errors import DecaffeinateError, UsageError
from prototxt.load import load_net, with_input_shapes
from prototxt.net import Layer, Net
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import NetShapes, infer_shapes
from prototxt.weights import Weights, read_weights

if TYPE_CHECKING:
    from decaffeinate.keywords import ReadOptions

__all__ = ["Loaded", "load", "loaded_from"]


@dataclass(frozen=True)
class Loaded:
    """A net with its shapes and parameters, ready to be converted or verified."""

    net: Net
    shapes: NetShapes
    parameters: Parameters
    weights: Path | None
    seed: int
    plugins: tuple[Plugin, ...] = ()
    """Those that have layers in the net."""

    @property
    def notes(self) -> list[str]:
        """What the user should know: unknown fields, drawn parameters, layers of the weights left
        out."""
        return [*self.net.warnings, *self.parameters.notes, *_state_notes(self.net)]

    def resized(self, input_shapes: Mapping[str, Sequence[int]]) -> Loaded:
        """The same for inputs of other shapes, by blob.

        Raises:
            NetError: the net does not take them.
        """
        net = with_input_shapes(self.net, input_shapes)
        return replace(self, net=net, shapes=infer_shapes(net))


def load(
    net: str | Path,
    weights: str | Path | None = None,
    *,
    phase: str = "TEST",
    stages: Sequence[str] = (),
    level: int = 0,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    input_layers: str = "input",
    plugins: Sequence[str | Path] = (),
    detections: str = "rows",
    crop_offsets: str = "caffe",
    strict: bool = False,
) -> Loaded:
    """Read a net and its weights; without weights, parameters are drawn from the net's fillers with
    `seed`.

    Args:
        net: the prototxt; or a binary `.caffemodel`, for the net inside it.
        weights: the weights file; of a `.caffemodel` its own by default.
        phase: "TEST" or "TRAIN".
        stages: stages of the net's state.
        level: level of the net's state.
        input_shapes: shapes to use instead of the declared ones, by input blob.
        seed: seed of drawn parameters.
        input_layers: what becomes of layers that read data from files: "input" or "error".
        plugins: Python files that register further layer types; see `decaffeinate.plugins`.
        detections: what a DetectionOutput gives: "rows", as in Caffe, or "raw": boxes and scores
            before suppression, see docs/detections.md.
        crop_offsets: where a Crop without a crop_param begins: "caffe", at 0, or "fork", where
            forks of 2015 work out that its bottoms lie on each other.
        strict: refuse what is otherwise noted: fields that are not known, shapes that are assumed,
            layers of the weights that are left out without it being known what for.

    Raises:
        DecaffeinateError: anything wrong with the files; see `prototxt.errors`.
    """
    if seed < 0:
        raise UsageError(f"seed {seed} cannot be used", expected="a whole number from 0 on")
    parsed, used = read_with_plugins(
        plugins,
        lambda: load_net(
            net, phase, stages, level, input_shapes, input_layers, detections, crop_offsets
        ),
    )
    if weights is None and parsed.stored:
        weights = net
    if not strict:
        return _with_weights(parsed, weights, seed, used)[0]
    from decaffeinate.strictness import net_doubts, refuse_doubts, weights_doubts

    doubts = net_doubts(parsed)
    try:
        loaded, stored = _with_weights(parsed, weights, seed, used)
        doubts += weights_doubts(loaded.net, loaded.parameters, stored)
    except DecaffeinateError:
        refuse_doubts(parsed, doubts)  # which may be why
        raise
    refuse_doubts(parsed, doubts)
    return loaded


def loaded_from(
    net: str | Path | Loaded, weights: str | Path | None, options: ReadOptions
) -> Loaded:
    """What a public function was given: a net that is loaded, or what `load` takes.

    Raises:
        UsageError: a loaded net, with weights or options that are no longer of use.
        DecaffeinateError: see `load`.
    """
    if not isinstance(net, Loaded):
        return load(net, weights, **options)
    given = [*(["weights"] if weights is not None else []), *options]
    if given:
        raise UsageError(
            f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} given with a net that is "
            "loaded already",
            expected="none: decaffeinate.load takes what says how a net is read",
        )
    return net


def _with_weights(
    net: Net, weights: str | Path | None, seed: int, plugins: tuple[Plugin, ...]
) -> tuple[Loaded, Weights | None]:
    """A net with its shapes and parameters, and what its file of weights holds."""
    shapes = infer_shapes(net)
    stored = read_weights(weights, net, shapes) if weights is not None else None
    formed = with_stored_form(net, stored)
    shapes = shapes if formed is net else infer_shapes(formed)
    parameters = bind_parameters(formed, shapes, stored, seed)
    source = Path(weights) if weights is not None else None
    return Loaded(formed, shapes, parameters, source, seed, plugins), stored


def _state_notes(net: Net) -> list[str]:
    """Where Caffe's result is random, or depends on the pass before, and ours cannot."""

    def names(layers: list[Layer]) -> str:
        return ", ".join(f'"{layer.name}"' for layer in layers)

    notes = []
    dropped = [layer for layer in net if layer.type == "Dropout"]
    if net.phase == "TRAIN" and dropped:
        notes.append(f"Dropout is random at TRAIN ({names(dropped)}): what is verified is its "
                     "expectation, the identity")  # fmt: skip
    going_on = [layer for layer in net if _goes_on(layer)]
    if going_on:
        begun = f"each pass starts from a state of 0 ({names(going_on)})"
        notes.append(f"{begun}; Caffe goes on from the pass before where cont is not 0: "
                     "expose_hidden makes the state an input")  # fmt: skip
    return notes


def _goes_on(layer: Layer) -> bool:
    """Whether Caffe keeps a layer's state from one pass for the next."""
    if layer.type == "Lstm":
        return len(layer.bottoms) > 1
    exposed = layer.message.recurrent_param.expose_hidden
    return layer.type in ("LSTM", "RNN") and not exposed
