"""Ultra-Light-Fast-Generic-Face-Detector's slim-320, whose boxes are decoded outside the net.

python faces.py slim_320.onnx picture.jpg found.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw

sys.path.append(str(Path(__file__).parent))
from detections import blob_from_image

WIDTH, HEIGHT = 320, 240
SIDES = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}
"""By the stride of a map, the sides of the boxes at each of its cells."""


def priors() -> np.ndarray:
    """(4420, 4) float32: centre x and y, width and height, as parts of the image."""
    found = []
    for stride, sides in SIDES.items():
        columns, rows = -(-WIDTH // stride), -(-HEIGHT // stride)
        for row in range(rows):
            for column in range(columns):
                x, y = (column + 0.5) / columns, (row + 0.5) / rows
                found += [(x, y, side / WIDTH, side / HEIGHT) for side in sides]
    return np.array(found, np.float32)


def decoded(locations: np.ndarray) -> np.ndarray:
    """(N, 4): left, top, right, bottom, as parts of the image; variances 0.1 and 0.2."""
    boxes = priors()
    centre = boxes[:, :2] + locations[:, :2] * 0.1 * boxes[:, 2:]
    half = boxes[:, 2:] * np.exp(locations[:, 2:] * 0.2) / 2
    return np.hstack([centre - half, centre + half])


def suppressed(boxes: np.ndarray, scores: np.ndarray, most: float) -> list[int]:
    """The boxes that are kept, the best first: none shares more than `most` with a better one."""
    kept: list[int] = []
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for index in np.argsort(-scores):
        low = np.maximum(boxes[index, :2], boxes[kept, :2])
        high = np.minimum(boxes[index, 2:], boxes[kept, 2:])
        both = np.prod(np.clip(high - low, 0, None), axis=1)
        if np.all(both <= most * (areas[index] + areas[kept] - both)):
            kept.append(int(index))
    return kept


def faces(session: onnxruntime.InferenceSession, picture: Image.Image) -> np.ndarray:
    """(N, 5): left, top, right and bottom in pixels, and the score."""
    small = picture.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    # The net was trained on RGB, so that code with cv2.imread says swapRB=True; Pillow gives RGB.
    blob = blob_from_image(np.asarray(small), 1 / 128, (127, 127, 127))
    scores, locations = session.run(["scores", "boxes"], {"input": blob})
    chosen = scores[0, :, 1] > 0.7
    boxes, sure = decoded(locations[0])[chosen], scores[0, chosen, 1]
    kept = suppressed(boxes, sure, 0.3)
    return np.hstack([boxes[kept] * (picture.size * 2), sure[kept, None]])


def main(model: str, source: str, target: str) -> None:
    """Draw a box around each face."""
    picture = Image.open(source).convert("RGB")
    for *box, score in faces(onnxruntime.InferenceSession(model), picture):
        print("face at", *(round(float(side)) for side in box), f"score {score:.2f}")
        ImageDraw.Draw(picture).rectangle([float(side) for side in box], outline="red", width=3)
    picture.save(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
