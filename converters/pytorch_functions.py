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

_UNPOOL = '''\
def unpool(
    x: torch.Tensor,
    mask: torch.Tensor,
    height: int,
    width: int,
) -> torch.Tensor:
    """Zeros, but for each value at its place in the mask; the last of several there."""
    places = mask.long().flatten(2)
    order = torch.arange(places.shape[2], device=x.device).expand_as(places)
    last = torch.full((*x.shape[:2], height * width), -1, device=x.device)
    last = last.scatter_reduce(2, places, order, "amax")
    values = x.flatten(2).gather(2, last.clamp(min=0))
    return torch.where(last >= 0, values, 0.0).unflatten(2, (height, width))
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

_PRIOR_BOXES = '''\
def prior_boxes(
    maps: torch.Tensor,
    boxes: torch.Tensor,
    variances: torch.Tensor,
    image: tuple[int, int],
    step: tuple[float, float] | None = None,
    offset: float = 0.5,
    clip: bool = False,
) -> torch.Tensor:
    """Boxes around each place of maps, in parts of the image, and variances of each.

    Takes corners (K, 4) around (0, 0), in pixels, and height and width of the image; makes
    (1, 2, places * K * 4).
    """
    height, width = image
    step = step or (height / maps.shape[2], width / maps.shape[3])
    rows, columns = (
        (torch.arange(count, dtype=boxes.dtype, device=boxes.device) + offset) * by
        for count, by in zip(maps.shape[2:], step)
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centres = torch.stack((x, y, x, y), 2).unsqueeze(2)
    corners = (centres + boxes) / boxes.new_tensor((width, height, width, height))
    corners = corners.clamp(0, 1) if clip else corners
    spread = variances.expand_as(corners)
    return torch.stack((corners.flatten(), spread.flatten()))[None]
'''

_MULTICLASS_NMS = '''\
def multiclass_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    background: int,
    score_threshold: float,
    iou_threshold: float,
    eta: float = 1.0,
    top_k: int = -1,
    keep_top_k: int = -1,
    agnostic: bool = False,
    first_label: int = 0,
    blanks: int = -1,
) -> torch.Tensor:
    """Rows of image, class, score and corners, without boxes that overlap with better ones.

    Takes corners (N, P, 1 or C, 4) and scores (N, P, C); makes (1, 1, boxes, 7), or a row of -1
    an image (or `blanks` rows), behind its number, where there is no box at all. `agnostic`: with
    better ones of any class.
    """
    classes = scores.shape[2]
    if agnostic:
        boxes = boxes.expand(-1, -1, classes, -1).flatten(1, 2).unsqueeze(2)
        scores = scores.flatten(1).unsqueeze(2)
    labels = [label for label in range(scores.shape[2]) if label != background]
    shared = boxes.shape[2] == 1
    boxes = boxes.expand(-1, -1, len(labels), -1) if shared else boxes[:, :, labels]
    scores = scores[:, :, labels].transpose(1, 2)
    scores, order = scores.sort(dim=2, descending=True, stable=True)
    count = int((scores > score_threshold).sum(2).max())
    count = min(count, top_k) if top_k > -1 else count
    scores, order = scores[:, :, :count], order[:, :, :count]
    boxes = boxes.transpose(1, 2).gather(2, order.unsqueeze(3).expand(-1, -1, -1, 4))
    low, high = boxes[..., :2], boxes[..., 2:]
    area = (high - low).clamp(min=0).prod(3)
    above = scores > score_threshold
    kept = torch.zeros_like(above)
    limit = scores.new_full(scores.shape[:2], iou_threshold)
    for i in range(count):
        sides = torch.minimum(high, high[:, :, i : i + 1])
        sides = sides - torch.maximum(low, low[:, :, i : i + 1])
        both = sides.clamp(min=0).prod(3)
        share = both / (area + area[:, :, i : i + 1] - both)
        worst = torch.where(kept & (both > 0), share, 0.0).amax(2)
        keep = above[:, :, i] & (worst <= limit)
        kept[:, :, i] = keep
        limit = torch.where(keep & (limit > 0.5), limit * eta, limit)
    if -1 < keep_top_k < kept.shape[1] * kept.shape[2]:
        left = torch.where(kept, scores, -torch.inf).flatten(1)
        best = left.sort(dim=1, descending=True, stable=True).indices[:, :keep_top_k]
        kept = kept & torch.zeros_like(left).scatter(1, best, 1).view_as(kept).bool()
    image, place, _ = kept.nonzero(as_tuple=True)
    label = torch.tensor(labels, device=scores.device)[place]
    label = (order[kept] % classes if agnostic else label) + first_label
    rows = [image[:, None], label[:, None], scores[kept][:, None], boxes[kept]]
    if len(image) == 0:
        count = len(kept) if blanks < 0 else blanks
        numbers = torch.arange(count, device=scores.device)
        rows = [numbers[:, None], scores.new_full((len(numbers), 6), -1.0)]
    return torch.cat(rows, 1)[None, None]
'''
_FROZEN = '''\
class Frozen{name}(nn.{name}):
    """Keeps to its stored statistics in training too: Caffe's use_global_stats."""

    def train(self, mode: bool = True) -> "Frozen{name}":
        return super().train(False)
'''

_SCALE = '''\
class Scale(nn.Module):
    """A factor and a term for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight + self.bias
'''

FUNCTIONS = {
    "Scale": _SCALE,
    **{
        f"Frozen{name}": _FROZEN.format(name=name)
        for name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
    },
    "max_pool_mask": _MAX_POOL_MASK,
    "unpool": _UNPOOL,
    "average_pool": _AVERAGE_POOL,
    "last_argmax": _LAST_ARGMAX,
    "top_indices": _TOP_INDICES,
    **ROI_FUNCTIONS,
    "prior_boxes": _PRIOR_BOXES,
    "multiclass_nms": _MULTICLASS_NMS,
    **FLOW_FUNCTIONS,
}
"""By name; in the order in which a file has them."""
