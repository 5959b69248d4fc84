"""Functions and classes that an emitted PyTorch file holds where it calls them, by name."""

from __future__ import annotations

__all__ = ["FUNCTIONS"]

_MAX_POOL_MASK = '''\
def max_pool_mask(
    x: torch.Tensor,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> torch.Tensor:
    """Index in its map of the greatest value of each window, -1 where a window has none.

    The map is padded by left, right, top and bottom.
    """
    padded = F.pad(x, padding, value=-torch.inf)
    _, index = F.max_pool2d(padded, kernel_size, stride, return_indices=True)
    height, width = x.shape[2:]
    row = index // padded.shape[3] - padding[2]
    column = index % padded.shape[3] - padding[0]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return torch.where(inside, row * width + column, -1).float()
'''

_AVERAGE_POOL = '''\
def average_pool(
    x: torch.Tensor,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> torch.Tensor:
    """Mean of each window within the padded map; no window starts past the map itself."""
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    rows = (x.shape[2] + padding[0] - 1) // stride[0] + 1
    columns = (x.shape[3] + padding[1] - 1) // stride[1] + 1
    pooled = F.avg_pool2d(padded, kernel_size, stride, ceil_mode=True)
    return pooled[:, :, :rows, :columns]
'''

_LAST_ARGMAX = '''\
def last_argmax(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Index of the greatest value, the last one of equals."""
    return (x.shape[dim] - 1 - x.flip(dim).argmax(dim, keepdim=True)).float()
'''

_TOP_INDICES = '''\
def top_indices(x: torch.Tensor, k: int, dim: int) -> torch.Tensor:
    """Indices of the k greatest values, greatest first, of equals the later one first."""
    order = torch.sort(x.flip(dim), dim=dim, descending=True, stable=True).indices
    return (x.shape[dim] - 1 - order.narrow(dim, 0, k)).float()
'''

_ROI_MAX_POOL = '''\
def roi_max_pool(
    x: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int], scale: float
) -> torch.Tensor:
    """Greatest value of each of size[0] x size[1] parts of every box, 0 in a part outside the map.

    A box is the index of its image and x1, y1, x2, y2, which are scaled and then rounded, halves
    away from 0; it holds the pixels from one corner to the other.
    """
    corners = boxes[:, 1:] * scale
    corners = corners.trunc() + corners.sign() * (corners.frac().abs() >= 0.5)

    def edges(axis: int, count: int, limit: int) -> tuple[list[list[int]], list[list[int]]]:
        start = corners[:, axis, None]
        length = (corners[:, axis + 2, None] - start + 1).clamp(min=1)
        step = length / length.new_tensor(count)
        part = torch.arange(count, dtype=x.dtype, device=x.device)
        first = (part * step).floor() + start
        last = ((part + 1) * step).ceil() + start
        return first.clamp(0, limit).int().tolist(), last.clamp(0, limit).int().tolist()

    left, right = edges(0, size[1], x.shape[3])
    top, bottom = edges(1, size[0], x.shape[2])
    pooled = x.new_zeros(len(boxes), x.shape[1], *size)
    for box, image in enumerate(boxes[:, 0].long().tolist()):
        for i in range(size[0]):
            rows = x[image, :, top[box][i] : bottom[box][i]]
            for j in range(size[1]):
                part = rows[:, :, left[box][j] : right[box][j]]
                if part.shape[1] and part.shape[2]:
                    pooled[box, :, i, j] = part.amax((1, 2))
    return pooled
'''

_FROZEN = '''\
class Frozen{name}(nn.{name}):
    """Keeps to its stored statistics in training too: Caffe's use_global_stats."""

    def train(self, mode: bool = True) -> "Frozen{name}":
        return super().train(False)
'''

FUNCTIONS = {
    **{
        f"Frozen{name}": _FROZEN.format(name=name)
        for name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
    },
    "max_pool_mask": _MAX_POOL_MASK,
    "average_pool": _AVERAGE_POOL,
    "last_argmax": _LAST_ARGMAX,
    "top_indices": _TOP_INDICES,
    "roi_max_pool": _ROI_MAX_POOL,
}
"""By name; in the order in which a file has them."""
