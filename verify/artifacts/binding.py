"""Which input and output of a file is which blob of the net: by `--map`, by name, by order and
shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from prototxt.errors import UsageError
from prototxt.net import Blob, Net
from verify.artifacts.layouts import input_axes, named_layout
from verify.artifacts.names import likeness
from verify.artifacts.trace import Artifact, Port

__all__ = ["Binding", "bind"]

Shape = tuple[int, ...]
Sizes = Callable[[Mapping[Blob, Port], Mapping[Blob, tuple[int, ...]]], Mapping[str, Shape]]
"""From the ports of inputs, and the order of axes in which each is fed, to the shapes of what a run
of the file gives out, by name."""


@dataclass(frozen=True)
class Binding:
    """`inputs` and `outputs` are ports by blob; `axes` the order of a blob's axes in which an input
    is fed; `told` what the map says of other blobs, names of values."""

    inputs: Mapping[Blob, Port]
    axes: Mapping[Blob, tuple[int, ...]]
    outputs: Mapping[Blob, Port]
    told: Mapping[Blob, str]
    missing: tuple[Blob, ...] = ()
    """Outputs of the net that the file has not."""
    permuted: bool = False
    """Whether outputs may have their axes in another order than Caffe's: an input is fed so, or the
    map says so."""
    notes: list[str] = field(default_factory=list)


def bind(
    net: Net,
    shapes: Mapping[Blob, Shape],
    keys: Mapping[Blob, str],
    artifact: Artifact,
    told: Mapping[str, str],
    where: str,
    sizes: Sizes | None = None,
) -> Binding:
    """Put a file's inputs and outputs to a net's.

    Args:
        net: the net.
        shapes: of its blobs.
        keys: what reports call each blob, which is what the map may name.
        artifact: the file.
        told: the map: a blob's key to the name of an input, an output or another value; behind an
            input's name ":NHWC" or the like says how it is laid out.
        where: the file's path.
        sizes: what shapes a run gives, which is asked where several outputs declare none.

    Raises:
        UsageError: the map names what is not there, or it remains open what is what.
    """
    blobs = {key: blob for blob, key in keys.items()}
    unknown = [key for key in told if key not in blobs]
    if unknown:
        raise UsageError(
            f'the map names "{unknown[0]}", which is no blob of the net', where=net.path,
            expected="one of " + ", ".join(blobs),
        )  # fmt: skip
    said = {blobs[key]: name for key, name in told.items()}
    task = _Task(shapes, keys, where)
    outputs = [blob for blob in net.outputs if blob not in net.inputs]
    inputs, axes = task.inputs(list(net.inputs), artifact.inputs, said)
    ports = artifact.outputs
    if sizes is not None and len(ports) > 1 and any(port.shape is None for port in ports):
        made = sizes(inputs, axes)
        ports = tuple(replace(port, shape=made.get(port.name, port.shape)) for port in ports)
    told_layouts = [blob for blob in outputs if task.strip_layout(blob, said, ports)]
    given, missing = task.outputs(outputs, ports, said)
    rest = {b: name for b, name in said.items() if b not in net.inputs and b not in given}
    permuted = bool(told_layouts) or any(list(a) != sorted(a) for a in axes.values())
    return Binding(inputs, axes, given, rest, missing, permuted, task.notes)


@dataclass
class _Task:
    shapes: Mapping[Blob, Shape]
    keys: Mapping[Blob, str]
    where: str
    notes: list[str] = field(default_factory=list)

    def inputs(
        self, blobs: Sequence[Blob], ports: Sequence[Port], said: Mapping[Blob, str]
    ) -> tuple[dict[Blob, Port], dict[Blob, tuple[int, ...]]]:
        """The ports of the net's inputs, and in which order of axes each is fed."""
        layouts = {}
        names = {}
        for blob in blobs:
            if blob in said:
                names[blob], layouts[blob] = self._told_input(said[blob], ports)

        def fits(blob: Blob, port: Port) -> bool:
            return bool(self._orders(blob, port, layouts.get(blob)))

        found = self._paired("input", blobs, ports, names, fits)
        left = [port for port in ports if port not in found.values()]
        if left:
            raise self._open("input", blobs, ports, [blob for blob in blobs if blob not in found])
        for blob in blobs:
            if blob not in found:
                self.notes.append(f'the file has no input "{self.keys[blob]}": it reads none')
        axes = {blob: self._axes(blob, port, layouts.get(blob)) for blob, port in found.items()}
        return found, axes

    def strip_layout(self, blob: Blob, said: dict[Blob, str], ports: Sequence[Port]) -> bool:
        """Take ":NHWC" off what the map says of an output; whether it was there."""
        name, colon, layout = said.get(blob, "").rpartition(":")
        whole = said.get(blob) in {port.name for port in ports}
        if whole or not colon or named_layout(layout) is None:
            return False
        said[blob] = name
        return True

    def _told_input(self, name: str, ports: Sequence[Port]) -> tuple[str, tuple[int, ...] | None]:
        names = [port.name for port in ports]
        rest, colon, layout = name.rpartition(":")
        axes = named_layout(layout) if colon else None
        if name in names or axes is None:
            return name, None
        if not rest and len(names) == 1:
            rest = names[0]
        return ("" if rest == "input" and rest not in names and len(names) == 1 else rest), axes

    def _orders(
        self, blob: Blob, port: Port, axes: tuple[int, ...] | None
    ) -> list[tuple[int, ...]]:
        orders = input_axes(port.shape, self.shapes[blob])
        if port.shape is None and axes is not None:
            return [axes]
        return orders if axes is None else [order for order in orders if order == axes]

    def _axes(self, blob: Blob, port: Port, axes: tuple[int, ...] | None) -> tuple[int, ...]:
        orders = self._orders(blob, port, axes)
        own = tuple(range(len(self.shapes[blob])))
        if axes is None and own in orders:
            if any(order[1:2] != own[1:2] for order in orders):
                self.notes.append(f'the input "{port.name}" is fed in Caffe\'s order of axes; its '
                                  "sizes would allow others (--map BLOB=NAME:NHWC)")  # fmt: skip
            return own
        order = orders[0]
        if order != own:
            listed = ", ".join(map(str, order))
            self.notes.append(f'the input "{port.name}" is fed "{self.keys[blob]}" with its axes '
                              f"in the order {listed}")  # fmt: skip
        return order

    def outputs(
        self, blobs: Sequence[Blob], ports: Sequence[Port], said: Mapping[Blob, str]
    ) -> tuple[dict[Blob, Port], tuple[Blob, ...]]:
        """The ports of the net's outputs, and those outputs that the file has not."""
        names = {port.name for port in ports}
        told = {blob: said[blob] for blob in blobs if said.get(blob) in names}
        open_blobs = [blob for blob in blobs if blob in told or blob not in said]
        found = self._paired("output", open_blobs, ports, told, self._may_be)
        missing = tuple(blob for blob in open_blobs if blob not in found)
        left = [port for port in ports if port not in found.values()]
        if (open_blobs and not found) or (missing and left and len(ports) >= len(blobs)):
            raise self._open("output", blobs, ports, list(missing))
        for port in left:
            self.notes.append(
                f'the output "{port.name}" of the file is none of the net: not judged'
            )
        return found, missing

    def _may_be(self, blob: Blob, port: Port) -> bool:
        """Whether an output may hold a blob, by its declared shape: wrong sizes are for the
        comparison to tell."""
        if port.shape is None or None in port.shape:
            return True
        return prod(size or 1 for size in port.shape) == prod(self.shapes[blob])

    def _paired(
        self, what: str, blobs: Sequence[Blob], ports: Sequence[Port],
        told: Mapping[Blob, str], fits: object,
    ) -> dict[Blob, Port]:  # fmt: skip
        """Blobs and ports by the map, by name, and the rest by order where shapes leave no
        choice."""
        assert callable(fits)
        by_name = {port.name: port for port in ports}
        found: dict[Blob, Port] = {}
        for blob, name in told.items():
            if name == "" and len(ports) == 1:
                name = ports[0].name
            if name not in by_name:
                raise UsageError(
                    f'the map says "{self.keys[blob]}={name}", and the file has no {what} of that '
                    "name", where=self.where, expected="one of " + ", ".join(by_name),
                )  # fmt: skip
            if what == "input" and not fits(blob, by_name[name]):
                raise self._open(what, blobs, ports, [blob])
            found[blob] = by_name[name]
        for level in (3, 2, 1):
            for blob, port in self._alike(level, blobs, ports, found):
                if what == "output" or fits(blob, port):
                    found[blob] = port
        rest = [blob for blob in blobs if blob not in found]
        left = [port for port in ports if port not in found.values()]
        choices = {blob: [port for port in left if fits(blob, port)] for blob in rest}
        if len(rest) == len(left) == 1 and choices[rest[0]]:
            found[rest[0]] = left[0]
        elif rest and left:
            single = {b: c[0] for b, c in choices.items() if len(c) == 1}
            if len(single) == len(rest) == len({p.name for p in single.values()}):
                found |= single
            elif any(choices.values()):
                raise self._open(what, blobs, ports, rest)
        return found

    def _alike(
        self, level: int, blobs: Sequence[Blob], ports: Sequence[Port], found: Mapping[Blob, Port]
    ) -> Iterator[tuple[Blob, Port]]:
        """Pairs whose names are alike, where each is alike to one alone."""
        left = [port for port in ports if port not in found.values()]
        rest = [blob for blob in blobs if blob not in found]
        for blob in rest:
            own = [port for port in left if likeness(port.name, [blob.name]) >= level]
            if len(own) == 1:
                others = [b for b in rest if likeness(own[0].name, [b.name]) >= level]
                if others == [blob]:
                    yield blob, own[0]

    def _open(
        self, what: str, blobs: Sequence[Blob], ports: Sequence[Port], rest: Sequence[Blob]
    ) -> UsageError:
        if what == "input" and len(blobs) == len(ports) == 1 and ports[0].shape is not None:
            return self._of_other_sizes(blobs[0], ports[0], ports[0].shape)
        first = rest[0] if rest else blobs[0] if blobs else None
        example = "" if first is None or not ports else (
            f": --map {self.keys[first]}={ports[-1].name}"
        )  # fmt: skip
        return UsageError(
            f"it cannot be told which {what} of the file is which of the net",
            where=self.where,
            details=[f"the net's {what}s: " + _listed(
                         (self.keys[blob], self.shapes[blob]) for blob in blobs),
                     f"the file's {what}s: " + _listed((p.name, p.shape) for p in ports)],
            expected="one for each, of the same name, or of a shape that no other has",
            hint=f"say which is which{example}; sizes of the net's inputs are changed with "
            "--input-shape",
        )  # fmt: skip

    def _of_other_sizes(
        self, blob: Blob, port: Port, declared: tuple[int | None, ...]
    ) -> UsageError:
        """Of the only input on each side: what is which is clear, but it does not fit."""
        key, own = self.keys[blob], self.shapes[blob]
        both = f"{_listed([(port.name, declared)])}; the net's is {_listed([(key, own)])}"
        if input_axes(declared, own):
            return UsageError(
                f"the order of axes that the map says does not give the sizes of the file's input "
                f"{both}", where=self.where, expected="an order that does",
                hint="leave the order out: it is found by the sizes",
            )  # fmt: skip
        sizes = ",".join("N" if size is None else str(size) for size in declared)
        return UsageError(
            f"the sizes do not fit: the file's input is {both}", where=self.where,
            expected="the same sizes, in Caffe's order of axes or another",
            hint=f"if it is the same net at other sizes: --input-shape {key}={sizes}, in Caffe's "
            "order of axes",
        )  # fmt: skip


def _listed(rows: object) -> str:
    parts = []
    for name, shape in rows:  # type: ignore[attr-defined]
        sizes = "of any shape" if shape is None else "x".join(
            "?" if size is None else str(size) for size in shape) or "scalar"  # fmt: skip
        parts.append(f"{name} ({sizes})")
    return ", ".join(parts) or "none"
