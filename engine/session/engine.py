"""The engine: a personal model in a workspace, and the verbs of the command line."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.config import EngineConfig
from everface.engine.errors import MissingBackendError, NothingToDoError, UsageError, WorkspaceError
from everface.engine.generators.base_files import EMBEDDED_2D, EMBEDDED_3D
from everface.engine.generators.eg3d import TriPlaneGenerator
from everface.engine.generators.eg3d.mesh import Mesh
from everface.engine.generators.protocol import FaceGenerator
from everface.engine.generators.stylegan2 import Generator
from everface.engine.latents.sample import sample_p0_by_timestamp
from everface.engine.ops.synthesis.inference import PackedSynthesis
from everface.engine.photos.camera import orbit
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.replay.policies.choose import choose_memories
from everface.engine.replay.policies.registry import policy
from everface.engine.replay.store import CompactReport, ForgetReport, Key, ReplayStore
from everface.engine.report import render_report
from everface.engine.session.kit import Kit, to_images
from everface.engine.session.portrait import EnhanceOptions, Portrait, edit_photo, enhance_photo, reconstruct_photo
from everface.engine.session.review import review
from everface.engine.session.turn import Heads, Turntable, check_yaw, random_cameras, require_3d, turned_photo
from everface.engine.session.update import UpdateContext, run_update
from everface.engine.session.values import MemoryStatus, Status, UpdateReport

__all__ = ["Engine"]

_MOST_SAMPLES = 100_000
_PIXELS_AT_ONCE = 16 * 64**2


class Engine:
    """A personal model in a workspace. Use :meth:`create` or :meth:`open`; it is a context manager.

    Example:
        >>> with Engine.create("me.everface", EngineConfig(budget_bytes=131072)) as engine:  # doctest: +SKIP
        ...     report = engine.update(["holiday/"])
        ...     images = engine.generate(8, seed=0)
    """

    def __init__(self, path: Path, store: ReplayStore, *, readonly: bool = False) -> None:
        self.path, self.store, self.readonly = path, store, readonly
        self.config = EngineConfig.from_json(store.state.config_json)
        self.kit = Kit(self.config)

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], config: EngineConfig | None = None, *, key: Key | None = None
    ) -> Engine:
        """Makes a workspace.

        Args:
            path: the folder to make, by custom ``NAME.everface``; it must not exist.
            config: the settings, kept in the workspace.
            key: encrypts the workspace.

        Raises:
            WorkspaceError: the folder exists or cannot be made.
            BudgetError: the budget cannot hold anything.
            UsageError: an unknown policy or dimension.
            CheckpointError: an unknown base.
        """
        config = config or EngineConfig()
        policy(config.policy)
        if config.base not in (*EMBEDDED_2D, *EMBEDDED_3D):
            # A workspace is opened from other folders too.
            config = replace(config, base=str(Path(config.base).resolve()))
        resolution = Kit(config).resolution
        if resolution < 16:
            raise UsageError("base", expected="at least 16 pixels", found=str(resolution))
        store = ReplayStore.create(path, budget_bytes=config.budget_bytes, config_json=config.to_json(), key=key)
        return cls(Path(path), store)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, key: Key | None = None, readonly: bool = False) -> Engine:
        """Opens a workspace; model files that no commit names are swept away.

        Raises:
            WorkspaceError: there is none, it is in use by another writer, or from a newer version.
            IntegrityError: it is damaged.
            KeyMismatchError: it is encrypted, and the key is missing or wrong.
        """
        store = ReplayStore.open(path, key=key, readonly=readonly)
        try:
            engine = cls(Path(path), store, readonly=readonly)
            if not readonly:
                store.models.sweep([store.state.model])
        except BaseException:
            store.close()
            raise
        return engine

    def close(self) -> None:
        """Closes the workspace; more than once is harmless."""
        self.store.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def update(
        self,
        photos: Sequence[str | os.PathLike[str]],
        *,
        max_minutes: float | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> UpdateReport:
        """Learns one batch of photos: one batch is one timestamp.

        Args:
            photos: files and folders.
            max_minutes: ends the update, with a commit, after about this long.
            on_progress: hears the stages ``"photos"``, ``"invert"`` and ``"tune"``.

        Raises:
            NothingToDoError: no photo was usable; nothing was changed.
            UsageError: no photos are named, one does not exist, or the time is not positive.
            WorkspaceError: it cannot be written; nothing was changed.
        """
        if max_minutes is not None and not (math.isfinite(max_minutes) and max_minutes > 0):
            raise UsageError("max_minutes", expected="a positive number", found=str(max_minutes))
        if self.readonly:
            remedy = "open it without readonly"
            raise WorkspaceError(str(self.path), expected="opened for writing", found="opened read-only", remedy=remedy)
        deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        context = UpdateContext(self.path, self.store, self.kit, self.config, on_progress, deadline)
        report = run_update(context, [Path(photo) for photo in photos])
        for stale in ("model", "generator", "_renderer", "heads"):
            self.__dict__.pop(stale, None)
        return report

    @cached_property
    def model(self) -> FaceGenerator:
        """The personal generator, 2D or 3D, the base before the first update; do not change it."""
        model = self.store.state.model
        return self.kit.generator(self.store.models.get(model) if model else None)

    @cached_property
    def generator(self) -> Generator:
        """The personal generator of a 2D workspace; do not change it.

        Raises:
            UsageError: it is a 3D one.
        """
        if self.model.dimension != "2d":
            remedy = "use a 2D workspace for this, or Engine.model"
            raise UsageError(str(self.path), expected="a 2D workspace", found="a 3D one", remedy=remedy)
        return cast(Generator, self.model)

    @cached_property
    def heads(self) -> Heads:
        """Views of the personal generator of a 3D workspace, with the planes of the last heads kept.

        Raises:
            UsageError: it is a 2D one.
        """
        require_3d(self)
        return Heads(cast(TriPlaneGenerator, self.model))

    @cached_property
    def _renderer(self) -> Callable[[Tensor], Tensor]:
        """Renders styles: with weights packed once where the processor's own operators cover the network."""
        try:
            packed = PackedSynthesis(self.generator.synthesis.arrays())
        except MissingBackendError:
            return self.generator.synthesis
        return lambda codes: torch.from_numpy(packed(codes.numpy()))

    def sample_codes(self, n: int, seed: int = 0) -> NDArray[np.float32]:
        """W codes [n, w_dim] of P0 samples, dealt evenly to the timestamps.

        Raises:
            UsageError: n or seed out of range.
            NothingToDoError: nothing was learned yet.
        """
        if not 0 <= n <= _MOST_SAMPLES:
            raise UsageError("n", expected=f"0 to {_MOST_SAMPLES}", found=str(n))
        if seed < 0:
            raise UsageError("seed", expected="0 or more", found=str(seed))
        anchors = [codes for _, codes in self.store.anchors()]
        if not anchors:
            remedy = "run `everface update` with photos first"
            raise NothingToDoError(str(self.path), expected="a person", found="no update yet", remedy=remedy)
        return sample_p0_by_timestamp(anchors, n, np.random.default_rng(seed))

    def generate(self, n: int, seed: int = 0, *, yaw: tuple[float, float] | None = None) -> NDArray[np.uint8]:
        """Pictures of the person, uint8 [n, R, R, 3]: P0 samples of the personal subspace.

        Args:
            n: how many.
            seed: of the random choices.
            yaw: in 3D, lowest and highest yaw in degrees, of which each head gets a random one; frontal for None.

        Raises:
            UsageError: n, seed or yaw out of range, or a yaw for a 2D workspace.
            NothingToDoError: nothing was learned yet.
        """
        if yaw is not None:
            require_3d(self)
        low, high = check_yaw(yaw or (0.0, 0.0))
        codes = self.sample_codes(n, seed)
        return self.render(codes, random_cameras(n, (low, high), seed) if self.kit.is_3d else None)

    def view(
        self,
        photo: str | os.PathLike[str],
        *,
        yaw: tuple[float, float] = (-30.0, 30.0),
        frames: int = 25,
        on_progress: OnProgress = ignore_progress,
    ) -> Turntable:
        """The person's head of a photo, turned from one side to the other; of a 3D workspace.

        Args:
            photo: a file that shows the person.
            yaw: first and last, in degrees.
            frames: how many views, evenly spaced.
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            as :meth:`reconstruct`, and UsageError for a 2D workspace or a range outside of +-90 degrees.
        """
        return turned_photo(self, Path(photo), yaw, frames, on_progress)

    def mesh(self, photo: str | os.PathLike[str], *, side: int = 96, on_progress: OnProgress = ignore_progress) -> Mesh:
        """The surface of the person's head of a photo, with colours; of a 3D workspace.

        Args:
            photo: a file that shows the person.
            side: points of the grid across, 8 to 512.
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            as :meth:`view`.
        """
        require_3d(self)
        portrait = reconstruct_photo(self, Path(photo), refine=False, on_progress=on_progress)
        return self.heads.mesh(torch.from_numpy(portrait.styles), side)

    @torch.no_grad()
    def render(self, codes: NDArray[np.float32], cameras: NDArray[np.floating] | None = None) -> NDArray[np.uint8]:
        """Pictures uint8 [n, R, R, 3] of W codes [n, w_dim] or W+ codes [n, num_ws, w_dim].

        In 3D they are seen from cameras [n, 25], from the front for None.
        """
        if self.kit.is_3d:
            return self.heads.of(codes, orbit([0.0] * len(codes)) if cameras is None else cameras)
        side = self.kit.resolution
        # As many at a time as keep the activations small; the speed of an image hardly depends on it.
        count = min(16, max(1, _PIXELS_AT_ONCE // side**2))
        chunks = [
            to_images(self._renderer(torch.from_numpy(codes[i : i + count]))) for i in range(0, len(codes), count)
        ]
        return np.concatenate(chunks) if chunks else np.zeros((0, side, side, 3), np.uint8)

    def reconstruct(
        self, photo: str | os.PathLike[str], *, refine: bool = False, on_progress: OnProgress = ignore_progress
    ) -> Portrait:
        """The picture of the personal model that is nearest to a photo, inside the person's dilated hull P_beta.

        Args:
            photo: a file that shows the person.
            refine: also change each layer's style a little (W+): nearer to the photo, less personal.
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            NothingToDoError: nothing was learned yet.
            UsageError: no such file.
            PhotoRejectedError: it shows no face.
        """
        return reconstruct_photo(self, Path(photo), refine=refine, on_progress=on_progress)

    def enhance(
        self,
        photo: str | os.PathLike[str],
        options: EnhanceOptions | None = None,
        *,
        on_progress: OnProgress = ignore_progress,
    ) -> Portrait:
        """Restores a small, blurred, noisy or covered photo by what is known of the person (MyStyle, section 4.2).

        Args:
            photo: a file that shows the person.
            options: what happened to it.
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            as :meth:`reconstruct`, and UsageError for a mask that does not fit.
        """
        return enhance_photo(self, Path(photo), options or EnhanceOptions(), on_progress)

    def edit(
        self,
        photo: str | os.PathLike[str],
        changes: Mapping[str, float],
        *,
        stay: float = 1.0,
        on_progress: OnProgress = ignore_progress,
    ) -> Portrait:
        """Changes pose, smile or light of a photo, and stays the person.

        Args:
            photo: a file that shows the person.
            changes: amounts by the name of a direction (``kit.directions``), in its unit.
            stay: 0 moves freely, which soon shows somebody else; 1 moves only as far as the person's hull reaches
                (MyStyle, section 4.3).
            on_progress: hears the stages ``"invert"`` and ``"search"``.

        Raises:
            as :meth:`reconstruct`, and UsageError for a direction that the base does not have.
        """
        return edit_photo(self, Path(photo), changes, stay=stay, on_progress=on_progress)

    def status(self) -> Status:
        """The workspace at a glance."""
        state, memories = self.store.state, self.store.memories()
        told = tuple(
            MemoryStatus(
                one.id, one.timestamp, one.bytes, one.codec, one.resolution,
                None if math.isnan(one.loss) else one.loss, one.reason,
            )
            for one in memories
        )  # fmt: skip
        return Status(
            timestamps=state.timestamps, memories=told, budget_bytes=state.budget_bytes, used_bytes=state.used_bytes,
            file_bytes=state.used_bytes, room_bytes=state.room_bytes,
            bytes_per_memory=sum(one.bytes for one in told) / len(told) if told else 0.0, model=state.model,
            policy=self.config.policy, base=self.config.base, dimension=self.config.dimension,
            encrypted=state.encrypted, still_derived=tuple(dict.fromkeys(one for one, _ in state.forgotten)),
        )  # fmt: skip

    def report(self, out: str | os.PathLike[str]) -> Path:
        """Writes the report: one self-contained HTML page.

        Args:
            out: the file; replaced where it exists, written whole or not at all.

        Raises:
            UsageError: ``out`` is a folder.
        """
        path = Path(out)
        if path.is_dir():
            raise UsageError(
                "out", expected="a file", found=f"the folder {path}", remedy="name a file such as report.html"
            )
        text = render_report(review(self))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
        return path

    def forget(self, photo_id: str) -> ForgetReport:
        """Erases a memory: its image, W code and every copy; says what still derives from it.

        Raises:
            UsageError: no such memory.
        """
        return self.store.forget(photo_id)

    def set_budget(self, budget_bytes: int) -> tuple[str, ...]:
        """Raises or lowers the budget in one transaction; returns the ids of memories that had to go.

        Raises:
            BudgetError: it is too small for what must stay; nothing was changed.
        """
        chooser, rng = policy(self.config.policy), np.random.default_rng([self.config.seed, 2])
        return self.store.set_budget(budget_bytes, lambda pool, room: choose_memories(pool, chooser, room, rng))

    def compact(self, *, on_progress: OnProgress = ignore_progress) -> CompactReport:
        """Encodes the memories more densely. Made for idle time."""
        return self.store.compact(on_progress)
