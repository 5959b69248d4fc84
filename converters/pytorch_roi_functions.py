"""Functions of PyTorch files that look at boxes of images: PyTorch without torchvision has none."""

from __future__ import annotations

__all__ = ["ROI_FUNCTIONS"]

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

    def edges(axis: int, count: int, limit: int) -> list[list[list[int]]]:
        start = corners[:, axis, None]
        length = (corners[:, axis + 2, None] - start + 1).clamp(min=1)
        step = length / length.new_tensor(count)
        part = torch.arange(count, dtype=x.dtype, device=x.device)
        first = (part * step).floor() + start
        last = ((part + 1) * step).ceil() + start
        return [place.clamp(0, limit).int().tolist() for place in (first, last)]

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

_ROI_MEAN_POOL = '''\
def roi_mean_pool(
    x: torch.Tensor, boxes: torch.Tensor, channels: int, parts: int, scale: float
) -> torch.Tensor:
    """Mean of each of parts x parts parts of every box, 0 in a part outside the map.

    Each part has as many channels as are made of its own.  A box is the index of its image and
    x1, y1, x2, y2, which are rounded, halves away from 0; it reaches, scaled, to behind the second.
    """
    corners = boxes[:, 1:]
    corners = corners.trunc() + corners.sign() * (corners.frac().abs() >= 0.5)
    start, end = corners[:, :2] * scale, (corners[:, 2:] + 1) * scale
    step = (end - start).clamp(min=0.1) / start.new_tensor(parts)
    part = torch.arange(parts, dtype=x.dtype, device=x.device)

    def inside(axis: int, limit: int) -> torch.Tensor:
        first = (part * step[:, axis, None] + start[:, axis, None]).floor()
        last = ((part + 1) * step[:, axis, None] + start[:, axis, None]).ceil()
        place = torch.arange(limit, dtype=x.dtype, device=x.device)
        return ((place >= first[..., None]) & (place < last[..., None])).to(x.dtype)

    columns, rows = inside(0, x.shape[3]), inside(1, x.shape[2])
    area = rows.sum(2)[:, :, None] * columns.sum(2)[:, None]
    total = x.new_zeros(len(boxes), channels, parts, parts)
    for image, maps in enumerate(x.unflatten(1, (channels, parts, parts))):
        mine = boxes[:, 0].long() == image
        shares = rows[mine], columns[mine]
        total[mine] = torch.einsum("rih,rjw,cijhw->rcij", *shares, maps)
    return total / area.clamp(min=1)[:, None]
'''

_ROI_SAMPLE = '''\
def roi_sample(
    x: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int], scale: float
) -> torch.Tensor:
    """Values at size[0] x size[1] points of every box, from edge to edge, between pixels linear.

    A box is the index of its image and x1, y1, x2, y2.  More than half a pixel outside the map all
    is 0, and so it is in a box without width or height.
    """
    corners = boxes[:, 1:] * scale - 0.5
    length = corners[:, 2:] - corners[:, :2]
    sound = (length > 0).all(1)

    def points(axis: int, count: int, limit: int) -> tuple[torch.Tensor, ...]:
        part = torch.arange(count, dtype=x.dtype, device=x.device)
        step = length[:, axis, None] / length.new_tensor(count - 1)
        place = corners[:, axis, None] + part * step
        inside = (place >= -0.5) & (place <= limit - 0.5)
        first = place.floor().clamp(0, limit - 1)
        second = (place.floor() + 1).clamp(0, limit - 1)
        return inside, first.long(), second.long(), place.clamp(0, limit - 1) - first

    in_column, left, right, x_share = points(0, size[1], x.shape[3])
    in_row, upper, lower, y_share = points(1, size[0], x.shape[2])
    image = boxes[:, 0].long()[:, None, None]

    def pixels(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        return x[image, :, row[:, :, None], column[:, None]]

    x_share, y_share = x_share[:, None, :, None], y_share[:, :, None, None]
    above = pixels(upper, left) * (1 - x_share) + pixels(upper, right) * x_share
    below = pixels(lower, left) * (1 - x_share) + pixels(lower, right) * x_share
    made = above * (1 - y_share) + below * y_share
    seen = sound[:, None, None] & in_row[:, :, None] & in_column[:, None]
    return torch.where(seen[..., None], made, 0.0).permute(0, 3, 1, 2)
'''

ROI_FUNCTIONS = {
    "roi_max_pool": _ROI_MAX_POOL,
    "roi_mean_pool": _ROI_MEAN_POOL,
    "roi_sample": _ROI_SAMPLE,
}
"""By name; in the order in which a file has them."""
