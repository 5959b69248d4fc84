"""Reading a net and its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from decaffeinate.plugins import Plugin, read_with_plugins
from prototxt.bn_form import with_stored_form
from prototxt.errors import UsageError
from prototxt.load import load_net, with_input_shapes
from prototxt.net import Layer, Net
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import NetShapes, infer_shapes
from prototxt.weights import read_weights

__all__ = ["Loaded", "load"]


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

    Raises:
        DecaffeinateError: anything wrong with the files; see `prototxt.errors`.
    """
    if seed < 0:
        raise UsageError(f"seed {seed} cannot be used", expected="a whole number from 0 on")
    parsed, used = read_with_plugins(
        plugins, lambda: load_net(net, phase, stages, level, input_shapes, input_layers)
    )
    shapes = infer_shapes(parsed)
    if weights is None and parsed.stored:
        weights = net
    stored = read_weights(weights, parsed, shapes) if weights is not None else None
    parsed, given = with_stored_form(parsed, stored), parsed
    shapes = shapes if parsed is given else infer_shapes(parsed)
    parameters = bind_parameters(parsed, shapes, stored, seed)
    source = Path(weights) if weights is not None else None
    return Loaded(parsed, shapes, parameters, source, seed, used)


def _state_notes(net: Net) -> list[str]:
    """Where Caffe's result is random, or depends on the pass before, and ours cannot."""

    def names(layers: list[Layer]) -> str:
        return ", ".join(f'"{layer.name}"' for layer in layers)

    notes = []
    dropped = [layer for layer in net if layer.type == "Dropout"]
    if net.phase == "TRAIN" and dropped:
        notes.append(f"Dropout is random at TRAIN ({names(dropped)}): what is verified is its "
                     "expectation, the identity")  # fmt: skip
    going_on = [
        layer
        for layer in net
        if layer.type in ("LSTM", "RNN") and not layer.message.recurrent_param.expose_hidden
    ]
    if going_on:
        begun = f"each pass starts from a state of 0 ({names(going_on)})"
        notes.append(f"{begun}; Caffe goes on from the pass before where cont is not 0: "
                     "expose_hidden makes the state an input")  # fmt: skip
    return notes
