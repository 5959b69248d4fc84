"""What `cv2.dnn` did for a Caffe detector, with a converted file in onnxruntime.

python detections.py detect.onnx picture.png found.png     where WeChat's QR codes are
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw


def blob_from_image(
    image: np.ndarray,
    scalefactor: float = 1.0,
    mean: Sequence[float] = (0, 0, 0),
    swap_rb: bool = False,
) -> np.ndarray:
    """cv2.dnn.blobFromImage of an image (H, W) or (H, W, 3) that has the net's size: float32
    (1, C, H, W); `mean` is in the order of the result's channels, as there."""
    image = np.asarray(image, np.float32)
    image = image[:, :, None] if image.ndim == 2 else image
    image = image[:, :, ::-1] if swap_rb else image
    image = (image - np.float32(mean[: image.shape[2]])) * np.float32(scalefactor)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def as_opencv_4(rows: np.ndarray, keep_top_k: int) -> np.ndarray:
    """Caffe's rows (1, 1, N, 7) of one image in the order of OpenCV 4: by falling score, filled up
    with rows of 0."""
    found = rows[0, 0][rows[0, 0, :, 1] >= 0]  # where nothing is found, Caffe has a row of -1
    found = found[np.argsort(-found[:, 2], kind="stable")]
    filled = np.zeros((1, 1, keep_top_k, 7), np.float32)
    filled[0, 0, : len(found)] = found
    return filled


def boxes(rows: np.ndarray, width: int, height: int, least: float) -> list[tuple[float, ...]]:
    """Left, top, right and bottom in pixels of what has a score of `least`."""
    return [
        tuple(np.clip(row[3:], 0, 1) * (width, height, width, height))
        for row in rows[0, 0]
        if row[2] >= least
    ]


def qr_codes(
    session: onnxruntime.InferenceSession, picture: Image.Image
) -> list[tuple[float, ...]]:
    """Where the QR codes of a picture are, in its pixels."""
    gray = picture.convert("L").resize((384, 384), Image.Resampling.BILINEAR)
    blob = blob_from_image(np.asarray(gray), 1 / 255)
    (rows,) = session.run(["detection_output"], {"data": blob})
    return boxes(rows, *picture.size, least=0.5)


def main(model: str, source: str, target: str) -> None:
    """Draw a box around each QR code."""
    picture = Image.open(source).convert("RGB")
    for box in qr_codes(onnxruntime.InferenceSession(model), picture):
        print("QR code at", *(round(float(side)) for side in box))
        ImageDraw.Draw(picture).rectangle(
            [round(float(side)) for side in box], outline="red", width=3
        )
    picture.save(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
