"""Functions and classes that an emitted PyTorch file holds where it calls them, by name."""

from __future__ import annotations

from converters.pytorch_flow_functions import FLOW_FUNCTIONS
from converters.pytorch_roi_functions import ROI_FUNCTIONS

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
    **ROI_FUNCTIONS,
    **FLOW_FUNCTIONS,
}
"""By name; in the order in which a file has them."""
