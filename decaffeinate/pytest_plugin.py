"""The pytest plugin: keeps converted models honest in other projects' tests; see docs/pytest.md.

pytest imports this module whenever it starts, so it imports nothing else of ours before a test asks
for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from typing import Unpack

    from decaffeinate.api import Conversion
    from decaffeinate.keywords import AssertOptions
    from verify.report import Report

__all__ = ["assert_equivalent", "equivalence_assertion", "net_conversion"]


def assert_equivalent(
    net: str | Path,
    weights: str | Path | None = None,
    *,
    backends: str | Sequence[str] | None = None,
    manifest: str | Path | None = None,
    image: str | Path | None = None,
    mean: str | None = None,
    **options: Unpack[AssertOptions],
) -> Report:
    """Fail unless what a net was converted to computes what Caffe computes, blob by blob, with the
    same parameters.

    Args:
        net: the prototxt.
        weights: the weights; None draws from the net's fillers.
        backends: names of backends; by default those of `manifest`, else those that are installed.
            One that cannot run is a failure, not a skip.
        manifest: NAME.manifest.json of files that `convert` wrote, which are verified then; by
            default the net is converted into a temporary folder.
        image: fed to the net's image input; by default noise is.
        mean: subtracted from the image, as `verify --mean` takes it; with `preprocess`, embedded
            too.
        options: further arguments of `decaffeinate.verify` and `decaffeinate.load`.

    Returns:
        The report.

    Raises:
        AssertionError: it does not; the report is the message.
        DecaffeinateError: the net, or an option, cannot be used; see `prototxt.errors`.
    """
    __tracebackhide__ = True
    from decaffeinate import api
    from decaffeinate.feeds import make_feeds
    from decaffeinate.keywords import AssertOptions, apart, refuse_unknown
    from prototxt.errors import UsageError

    refuse_unknown("assert_equivalent", options, AssertOptions.__annotations__)
    given: Any = options
    reading, checking = apart(given)
    checks: dict[str, Any] = {**checking}
    if mean is not None and image is None and not checks.get("preprocess"):
        raise UsageError("a mean is given without an image",
                         expected="an image that it is subtracted from")  # fmt: skip
    if image is not None and checks.get("feeds") is not None:
        raise UsageError("an image is given beside feeds", expected="one of them")
    loaded = api.load(net, weights, **reading)
    if checks.get("preprocess"):
        checks["mean"] = mean
    if image is not None:
        checks["feeds"] = make_feeds(loaded, {}, Path(image), mean, checks)
    report = api.verify(loaded, backends=_names(backends, manifest), manifest=manifest, **checks)
    if not report.passed:
        raise AssertionError(_text(report))
    return report


@pytest.fixture(name="assert_equivalent")
def equivalence_assertion(tmp_path: Path) -> Callable[..., Report]:
    """The function `assert_equivalent`; where it fails, the first layer that is wrong is left as a
    net of its own in `tmp_path / "repro"`."""

    def assert_in_test(
        net: str | Path, weights: str | Path | None = None, **options: Any
    ) -> Report:
        __tracebackhide__ = True
        return assert_equivalent(net, weights, **{"repro": tmp_path / "repro", **options})

    return assert_in_test


@pytest.fixture(name="convert_net")
def net_conversion(tmp_path: Path) -> Callable[..., Conversion]:
    """A function that converts a net, as `decaffeinate.convert` does, into a folder of this test's
    own."""

    def convert_net(net: str | Path, weights: str | Path | None = None, **options: Any) -> Any:
        from decaffeinate import api

        return api.convert(net, weights, **{"output": tmp_path / "converted", **options})

    return convert_net


def _names(backends: str | Sequence[str] | None, manifest: str | Path | None) -> list[str]:
    if backends is not None:
        return [backends] if isinstance(backends, str) else list(backends)
    if manifest is not None:
        from verify.runners.runner import read_conversion

        return list(read_conversion(Path(manifest)).manifest["targets"])
    from decaffeinate.feeds import installed_backends

    return installed_backends()


def _text(report: Report) -> str:
    """The report as the command line prints it."""
    import io
    from contextlib import redirect_stderr, redirect_stdout

    from decaffeinate.terminal import show_report

    with io.StringIO() as stream:
        with redirect_stdout(stream), redirect_stderr(stream):
            show_report(report)
        lines = stream.getvalue().splitlines()
    left = [f"{result.backend}: the first layer that is wrong, as a net of its own: {result.repro}"
            for result in report.results if result.repro is not None]  # fmt: skip
    return "\n".join([report.verdict, *left, *(line.rstrip() for line in lines)])
