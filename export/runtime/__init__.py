"""Pictures from a bundle, with numpy and onnxruntime alone: no torch, no compiled part of everface.

    from everface.export.runtime import Runtime
    images = Runtime.open("me.bundle").generate(4, seed=0)  # uint8 [4, r, r, 3]

``python -m everface.export.runtime me.bundle -n 4 --out pictures`` does the same. Bundles may come from anyone:
``container`` checks the file and its hashes, ``manifest`` what it claims, ``guard`` the graphs, all before
anything large is allocated or ONNX Runtime sees a byte. Only encrypted bundles need the package cryptography.
"""

from everface.export.runtime.session import Runtime

__all__ = ["Runtime"]
