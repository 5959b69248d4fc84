"""From text to the frozen net: parse, upgrade, filter by rules, resolve in-place tops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prototxt import caffe_pb2 as pb
from prototxt.blobs import Origin, resolve_blobs
from prototxt.crops import CHOICES as CROP_OFFSETS
from prototxt.crops import with_crops
from prototxt.data_layers import DataInputs, inputs_for_data, refuse_data_layers
from prototxt.definition import Parsed, parse_definition
from prototxt.errors import NetError, UsageError
from prototxt.fields import UNREAD, UnknownField
from prototxt.files import is_binary, read_text
from prototxt.fork_fields import not_handled, noted, unread
from prototxt.input_layer import declaring
from prototxt.measures import without_measures
from prototxt.net import Field, Layer, Net
from prototxt.raw_detections import CHOICES as DETECTIONS
from prototxt.raw_detections import with_raw_detections
from prototxt.rules import included

__all__ = ["declared_types", "load_net", "parse_net", "with_input_shapes"]

INPUT_LAYERS = ("input", "error")
"""What becomes of layers that read data from files."""

Shape = tuple[int, ...]


def load_net(
    path: str | Path,
    phase: str = "TEST",
    stages: Sequence[str] = (),
    level: int = 0,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input_layers: str = "input",
    detections: str = "rows",
    crop_offsets: str = "caffe",
) -> Net:
    """Read a `.prototxt` as Caffe would for a phase, stages and a level.

    Args:
        path: the file; V0, V1 and V2 definitions alike.  Of a binary `.caffemodel` it is the net
            inside, to which Caffe has applied the rules of its phase: what these leave out at TEST
            is kept where no other layer makes a blob that is read.
        phase: "TEST" or "TRAIN".
        stages: stages of the net state, added to those that the file itself sets.
        level: level of the net state.
        input_shapes: shapes to use instead of the declared ones, by input blob.
        input_layers: what becomes of layers that read data from files, or draw it anew each pass:
            "input" makes them inputs, "error" refuses them.
        detections: what a DetectionOutput gives: "rows", as in Caffe, or "raw", which puts a layer
            in its place whose tops are the boxes and scores before suppression, TOP_boxes and
            TOP_scores.
        crop_offsets: where a Crop begins that has no crop_param: "caffe", at 0 as in Caffe 1.0, or
            "fork", where forks of 2015 work out that its bottoms lie on each other.

    A data layer's shapes follow from the net as far as it tells them; where it does not, and
    `input_shapes` does not either, the net holds it in `unsized`, and `infer_shapes` refuses it.

    Raises:
        FileError: the file is missing, empty, or evidently something else.
        PrototxtError: the text is not a network definition; line and column.
        WeightsError: a damaged `.caffemodel`.
        NetError: Caffe would refuse the definition, or a `.caffemodel` holds none; an offset that
            has to be worked out does not follow from the net.
        UsageError: an input shape for a blob that is no input; raw detections of a net that has
            none.
        UnsupportedError: data layers, where `input_layers` is "error".
    """

    def parse(shapes: Mapping[str, Sequence[int]]) -> Parsed:
        if is_binary(Path(path)):
            from prototxt.stored_net import read_stored  # NumPy takes 100 ms

            return read_stored(Path(path), shapes)
        return parse_definition(read_text(Path(path)), str(path), shapes)

    how = _Reading(phase, stages, level, input_shapes or {}, input_layers, detections, crop_offsets)
    return _net(parse, str(path), how)


def parse_net(
    text: str,
    path: str = "<text>",
    phase: str = "TEST",
    stages: Sequence[str] = (),
    level: int = 0,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input_layers: str = "input",
    detections: str = "rows",
    crop_offsets: str = "caffe",
) -> Net:
    """As `load_net`, from a string; `path` is what messages call it."""

    def parse(shapes: Mapping[str, Sequence[int]]) -> Parsed:
        return parse_definition(text, path, shapes)

    how = _Reading(phase, stages, level, input_shapes or {}, input_layers, detections, crop_offsets)
    return _net(parse, path, how)


@dataclass(frozen=True)
class _Reading:
    """How a definition is read, as `load_net` takes it."""

    phase: str
    stages: Sequence[str]
    level: int
    input_shapes: Mapping[str, Sequence[int]]
    input_layers: str
    detections: str
    crop_offsets: str

    def check(self, path: str) -> None:
        """Refuse choices that there are not, and shapes that cannot be.

        Raises:
            UsageError: the first of them.
        """
        for what, chosen, choices in (
            ("data layers", self.input_layers, INPUT_LAYERS),
            ("detections", self.detections, DETECTIONS),
            ("crop offsets", self.crop_offsets, CROP_OFFSETS),
        ):
            if chosen not in choices:
                raise UsageError(f'unknown choice "{chosen}" for {what}',
                                 expected=" or ".join(choices))  # fmt: skip
        _check_sizes(self.input_shapes, path)


def _net(parse: Callable[[Mapping[str, Sequence[int]]], Parsed], path: str, how: _Reading) -> Net:
    """What a definition is in a state of the net; `parse` is given the shapes that the user
    gives."""
    wanted = _wanted_state(how.phase, how.stages, how.level)
    how.check(path)
    parsed = parse(how.input_shapes)
    state = pb.NetState()
    state.CopyFrom(parsed.message.state)
    state.MergeFrom(wanted)
    kept, left_out, notes = _filtered(parsed, state, path)
    asked, (kept, measures) = kept, without_measures(kept)
    kept = with_raw_detections(kept, path) if how.detections == "raw" else kept
    read = _with_inputs(kept, how.input_shapes, path, how.input_layers)
    layers, outputs, finals = resolve_blobs(read.layers, left_out, how.phase)
    if parsed.stored:
        from prototxt.stored_net import about_outputs

        notes += about_outputs(layers, outputs)
    crops = with_crops(layers, how.crop_offsets)
    layers = crops.layers
    unknown = _unread(_less(parsed.unknown, asked, kept), layers, left_out)
    own = _of_this_net(unknown, layers)
    doubtful = [item for item in not_handled(own) if not item.again and noted(item) is None]
    return Net(
        name=parsed.message.name,
        path=path,
        layers=layers,
        inputs=tuple(top for layer in layers if layer.type == "Input" for top in layer.tops),
        outputs=outputs,
        phase=how.phase,
        level=how.level,
        stages=tuple(state.stage),
        warnings=(
            *parsed.notes,
            *notes,
            *_unknown_warnings(not_handled(unknown)),
            *measures,
            *crops.notes,
            *read.notes,
        ),
        finals=finals,
        preprocessing=tuple(read.preprocessing),
        unsized=tuple(read.unsized),
        unread=_lost(parsed, layers, path) if parsed.stored else unread(own),
        doubts=(*_unknown_warnings(doubtful), *crops.doubts, *read.assumed),
        stored=parsed.stored,
        cuts=tuple(crops.worked_out),
    )


def declared_types(path: str | Path) -> tuple[str, ...]:
    """The types of all layers that a `.prototxt` declares, whatever their rules: once a layer.

    Raises:
        FileError: see `load_net`.
        PrototxtError: the text is not a network definition.
        NetError: its old form cannot be upgraded.
    """
    parsed = parse_definition(read_text(Path(path)), str(path), {})
    return tuple(origin.message.type for origin in parsed.layers)


def with_input_shapes(net: Net, shapes: Mapping[str, Sequence[int]]) -> Net:
    """A copy of a loaded net whose Input layers declare other shapes.

    Args:
        net: the net; it stays as it is.
        shapes: shapes by input blob, for all inputs or some; the others keep theirs.

    Raises:
        UsageError: a shape for a blob that is no input, or sizes that are not positive.
    """
    _check_sizes(shapes, net.path)
    _check_names(shapes, [blob.name for blob in net.inputs], net.path)
    layers = tuple(
        replace(layer, message=declaring(layer.message, layer.where, shapes))
        if layer.type == "Input"
        else layer
        for layer in net
    )
    unsized = tuple(u for u in net.unsized if not any(blob in shapes for blob in u.blobs))
    return replace(net, layers=layers, unsized=unsized)


def _wanted_state(phase: str, stages: Sequence[str], level: int) -> pb.NetState:
    if phase not in ("TEST", "TRAIN"):
        raise UsageError(f'unknown phase "{phase}"', expected="TEST or TRAIN")
    if not -(2**31) <= level < 2**31:
        raise UsageError(f"level {level} cannot be used", expected="a number of 32 bits")
    state = pb.NetState(phase=pb.TEST if phase == "TEST" else pb.TRAIN, level=level)
    for stage in stages:
        try:
            state.stage.append(stage)
        except UnicodeEncodeError:
            raise UsageError(f"stage {stage!r} cannot be used", expected="UTF-8 text") from None
    return state


def _filtered(
    parsed: Parsed, state: pb.NetState, path: str
) -> tuple[list[Origin], list[Origin], list[str]]:
    """The layers that belong to the net of this state, the others, and notes."""
    kept: list[Origin] = []
    left_out: list[Origin] = []
    for origin in parsed.layers:
        try:
            (kept if included(origin.message, state) else left_out).append(origin)
        except NetError as error:
            error.where = origin.where
            raise
    if not kept:
        name = "TEST" if state.phase == pb.TEST else "TRAIN"
        raise NetError(
            f"in phase {name} the net has no layers: its rules leave out every one",
            where=path,
            expected="at least one layer",
            hint="choose a phase, stages or a level that the rules allow"
            " (--phase, --stage, --level)",
        )
    if parsed.stored:
        from prototxt.stored_net import with_makers

        return with_makers(parsed.layers, kept)
    return kept, left_out, []


# --- unknown fields -------------------------------------------------------------------------------


def _unread(
    unknown: list[UnknownField], layers: Sequence[Layer], left_out: Sequence[Origin]
) -> list[UnknownField]:
    """The unknown fields less those that a plugin reads, or would in another phase."""
    if not UNREAD:
        return unknown
    read: set[int] = set()
    rest: list[UnknownField] = []
    for layer in layers:
        found = UNREAD[layer.type](layer) if layer.type in UNREAD else None
        if found is not None:
            read |= _ids(layer.unknown)
            rest += found
    for origin in left_out:
        if origin.message.type in UNREAD:
            read |= _ids(origin.unknown)
    rest += [item for item in unknown if id(item.field) not in read]
    return sorted(rest, key=lambda item: (item.field.where.line, item.field.where.column))


def _less(
    unknown: list[UnknownField], all_layers: Sequence[Origin], kept: Sequence[Origin]
) -> list[UnknownField]:
    """The unknown fields but those of layers that are left out with a note."""
    noted_already = _ids([field for one in all_layers for field in one.unknown])
    noted_already -= _ids([field for one in kept for field in one.unknown])
    return [item for item in unknown if id(item.field) not in noted_already]


def _of_this_net(unknown: list[UnknownField], layers: Sequence[Layer]) -> list[UnknownField]:
    """Those of layers that the net has in its phase, and of the net itself."""
    kept = set[int]().union(*(_ids(layer.unknown) for layer in layers))
    return [item for item in unknown if id(item.field) in kept or item.message == "NetParameter"]


def _lost(parsed: Parsed, layers: Sequence[Layer], path: str) -> tuple[str, ...]:
    """Of a stored net what the schema does not know, less that of layers that only read data."""
    types = {layer.name: layer.type for layer in layers if layer.type != "Input"} | {"": ""}
    return tuple(
        f'{path}: layer "{name}" ({types[name]}): {what}' if name else f"{path}: {what}"
        for name, what in parsed.lost
        if name in types
    )


def _ids(fields: Sequence[Field]) -> set[int]:
    inner = (_ids(field.value) for field in fields if not isinstance(field.value, str))
    return {id(field) for field in fields}.union(*inner)


def _unknown_warnings(unknown: list[UnknownField]) -> list[str]:
    grouped: dict[str, list[UnknownField]] = {}
    for item in unknown:
        grouped.setdefault(item.path, []).append(item)
    warnings = []
    for path, items in grouped.items():
        times = f" ({len(items)} times)" if len(items) > 1 else ""
        if items[0].again:
            warnings.append(
                f'{items[0].field.where}: "{path}" is given again{times}, as a fork allows; '
                "the first counts"
            )
            continue
        entry = noted(items[0])
        if entry is not None:
            field = f'field "{path}", of forks, is ignored{times}'
            warnings.append(f"{items[0].field.where}: {field}: {entry.reason}")
            continue
        meant = f'; the nearest known is "{items[0].nearest}"' if items[0].nearest else ""
        warnings.append(f'{items[0].field.where}: unknown field "{path}" is ignored{times}{meant}')
    return warnings


# --- inputs ---------------------------------------------------------------------------------------


def _check_sizes(shapes: Mapping[str, Sequence[int]], path: str) -> None:
    for name, shape in shapes.items():
        if not shape or min(shape) < 1 or max(shape) >= 2**31:
            raise UsageError(
                f'input shape {list(shape)} of "{name}" cannot be used',
                where=path,
                expected="positive sizes such as 1,3,227,227",
            )


def _check_names(names: Iterable[str], inputs: Sequence[str], path: str) -> None:
    for name in names:
        if name not in inputs:
            raise UsageError(
                f'input shape given for "{name}", which is no input of the net',
                where=path,
                expected="one of " + ", ".join(inputs) if inputs else "a net with inputs",
            )


def _with_inputs(
    layers: list[Origin], shapes: Mapping[str, Sequence[int]], path: str, input_layers: str
) -> DataInputs:
    """The layers with inputs in the place of data layers, and the user's shapes."""
    if input_layers == "error":
        refuse_data_layers(layers)
    found = inputs_for_data(layers, shapes, path)
    sized = [o for o in found.layers if o.message.type in ("Input", "DummyData")]
    _check_names(shapes, [top for origin in sized for top in origin.message.top], path)
    return found
