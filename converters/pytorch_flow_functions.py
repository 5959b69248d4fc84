"""Functions of PyTorch files that compare maps, or read one where another says."""

from __future__ import annotations

__all__ = ["FLOW_FUNCTIONS"]

_CORRELATION = '''\
def correlation(
    first: torch.Tensor,
    second: torch.Tensor,
    displacement: int,
    kernel_size: int = 1,
    stride: int = 1,
    step: int = 1,
    padding: int = 0,
) -> torch.Tensor:
    """Mean of {what}, in windows of all channels.

    A channel for each displacement of the second, up to `displacement` to each side by
    `step`; the windows of the first keep as far from the edges.
    """
    first, second = (F.pad(x, (padding,) * 4) for x in (first, second))
    rows, columns = (size - 2 * displacement for size in first.shape[2:])
    hop = stride if kernel_size == 1 else 1
    first = first.narrow(2, displacement, rows).narrow(3, displacement, columns)
    first = first[:, :, ::hop, ::hop]
    reach = displacement // step * step
    starts = range(displacement - reach, displacement + reach + 1, step)
    maps = [
        {product}.mean(1)
        for y in starts
        for x in starts
    ]
    found = torch.stack(maps, 1)
    return found if kernel_size == 1 else F.avg_pool2d(found, kernel_size, stride)
'''
_DISPLACED = "second[:, :, y : y + rows : hop, x : x + columns : hop]"

_WARP = '''\
def warp(x: torch.Tensor, flow: torch.Tensor, outside: float = 0.0) -> torch.Tensor:
    """Values at where the flow points to from each place, between pixels linear.

    Its first channel is how far to the right, its second how far down.  Behind the last pixel, by
    less than one, all is as there.
    """
    height, width = x.shape[2:]
    column = torch.arange(width, dtype=x.dtype, device=x.device) + flow[:, 0]
    row = torch.arange(height, dtype=x.dtype, device=x.device)[:, None] + flow[:, 1]
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row = (torch.where(inside, place, 0.0) for place in (column, row))
    left, upper = column.floor(), row.floor()
    right, lower = (left + 1).clamp(max=width - 1), (upper + 1).clamp(max=height - 1)
    image = torch.arange(len(x), device=x.device)[:, None, None]

    def pixels(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        return x[image, :, row.long(), column.long()]

    x_share, y_share = (column - left)[..., None], (row - upper)[..., None]
    above = pixels(upper, left) * (1 - x_share) + pixels(upper, right) * x_share
    below = pixels(lower, left) * (1 - x_share) + pixels(lower, right) * x_share
    made = above * (1 - y_share) + below * y_share
    return torch.where(inside[:, None], made.permute(0, 3, 1, 2), outside)
'''

FLOW_FUNCTIONS = {
    "correlation": _CORRELATION.format(
        what="the product of two maps", product=f"(first * {_DISPLACED})"
    ),
    "correlation_of_differences": _CORRELATION.format(
        what="how far two maps are apart", product=f"(first - {_DISPLACED}).abs()"
    ).replace("def correlation(", "def correlation_of_differences("),
    "warp": _WARP,
}
"""By name; in the order in which a file has them."""
