"""Figures of other people's code on seeded random maps, for test_pixel_metrics.py to agree with.

    python -m venv /tmp/references && /tmp/references/bin/pip install adeval==1.1.0 anomalib==2.7.0
    /tmp/references/bin/python tests/evaluation/make_reference_metrics.py \
        > tests/evaluation/reference_metrics.json

These tools are needed only to make the file, so they are no requirement of the project.
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version

import numpy as np

SEED, PHOTOS, DEFECTIVE, SIDE, BLOCK = 6, 10, 7, 96, 8


def reference_maps() -> tuple[np.ndarray, np.ndarray]:
    """Maps, (10, 96, 96) float32, and masks, bool: squares that touch by sides and by corners."""
    rng = np.random.default_rng(SEED)
    coarse = rng.random((PHOTOS, SIDE // BLOCK, SIDE // BLOCK)) < 0.08
    coarse[DEFECTIVE:] = False
    masks = coarse.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)
    noise = rng.random((PHOTOS, SIDE, SIDE), dtype=np.float32)
    strength = rng.random((PHOTOS, 1, 1), dtype=np.float32)
    return noise + strength * masks.astype(np.float32), masks


def digest(maps: np.ndarray, masks: np.ndarray) -> str:
    """Whether two machines speak of the same maps."""
    return hashlib.sha256(maps.tobytes() + masks.tobytes()).hexdigest()


def main() -> None:
    """Print the file."""
    import torch
    from adeval.au_pro import calculate_au_pro  # a copy of MVTec's own code
    from anomalib.metrics.aupr import _AUPR
    from anomalib.metrics.aupro import _AUPRO
    from anomalib.metrics.auroc import _AUROC
    from anomalib.metrics.f1_score import _F1Max

    maps, masks = reference_maps()
    normal = int((~masks).sum())
    flat = torch.from_numpy(maps.ravel()), torch.from_numpy(masks.ravel().astype(int))
    pictures = torch.from_numpy(maps), torch.from_numpy(masks.astype(int))

    def anomalib(metric: object, values: tuple[torch.Tensor, torch.Tensor]) -> float:
        metric.update(*values)
        return float(metric.compute())

    def mvtec(limit: float, thresholds: int) -> float:
        return float(calculate_au_pro(list(masks), list(maps), limit, thresholds)[0])

    json.dump(
        {
            "made_by": "tests/evaluation/make_reference_metrics.py, which says how",
            "versions": {
                name: version(name) for name in ("adeval", "anomalib", "torchmetrics", "numpy")
            },
            "sha256": digest(maps, masks),
            "adeval": {"aupro": mvtec(0.3, normal), "aupro_5": mvtec(0.05, normal)},
            "anomalib": {
                "pixel_auroc": anomalib(_AUROC(), flat),
                "pixel_average_precision": anomalib(_AUPR(), flat),
                "pixel_f1_max": anomalib(_F1Max(), flat),
                "aupro": anomalib(_AUPRO(fpr_limit=0.3), pictures),
                "aupro_5": anomalib(_AUPRO(fpr_limit=0.05), pictures),
            },
        },
        sys.stdout,
        indent=2,
    )
    print()


if __name__ == "__main__":
    main()
