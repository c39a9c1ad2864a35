"""Reading other projects' checkpoints without running anything in them, and writing them as safetensors.

A checkpoint of NVIDIA's, a ``.pt`` of rosinality's or a model of MyStyle's is a pickle: a program for a small stack
machine that may call any function there is. Here that machine is our own (``machine``), it knows only a short list of
names (``names``), calls nothing but our own functions, and yields inert values: numbers, text, records and references
to tensors. Tensors are read from the file only once the importer has chosen them.
"""

from everface.engine.generators.importing.convert import ImportReport, import_checkpoint

__all__ = ["ImportReport", "import_checkpoint"]
