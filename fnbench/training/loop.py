"""The training run: from a recipe and data to weights, a log, and a checkpoint that goes on exactly where it stopped.

    RUN/recipe.toml          the complete recipe
    RUN/log.csv              losses, rate and throughput; validation by the benchmark's own metric
    RUN/weights.safetensors  the weights with the lowest validation error so far, whole network
    RUN/predict.safetensors  of these, in half precision, what prediction needs
    RUN/checkpoint.safetensors, RUN/cache   to go on; may be deleted when the run is finished

A step depends on the recipe, the data and its number alone, so a resumed run equals an uninterrupted one. Under
``torchrun`` every process takes its share of each step, gradients are averaged, and the first one writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fnbench import metrics
from fnbench.errors import FnbenchError, InvalidSettingError
from fnbench.files import check_writable, write_text
from fnbench.models.torch_estimator import out_of_memory
from fnbench.training.cache import Cache, Tell
from fnbench.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from fnbench.training.data import Batch, Feeder, Sources, in_order, seed_of
from fnbench.training.journal import Journal
from fnbench.training.kinds import kind_of
from fnbench.training.networks import Trained, network_of, start_from, trained_weights
from fnbench.training.process import Where, asked_to_stop, processes
from fnbench.training.recipe import Recipe, written
from fnbench.training.sources import sources_of

_log = logging.getLogger("fnbench")


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a run ended.

    best: lowest mean error on the validation split, degrees, and its step; None when nothing was validated.
    skipped: pictures that could not be read.
    first: whether this process is the one that validates, writes and reports.
    """

    run: Path
    steps: int
    interrupted: bool
    best: tuple[float, int] | None
    skipped: tuple[str, ...]
    first: bool = True

    def lines(self) -> list[str]:
        """For a terminal."""
        score = "not validated" if self.best is None else f"{self.best[0]:.2f} degrees at step {self.best[1]}"
        state = "interrupted" if self.interrupted else "finished"
        listed = [f"skipped {line}" for line in self.skipped[:10]]
        more = len(self.skipped) - len(listed)
        listed += [f"skipped {more} more pictures"] if more > 0 else []
        return [*listed, f"{self.run}: {state} after {self.steps} steps; mean error in the validation split {score}"]


def train(
    recipe: Recipe,
    run: Path,
    *,
    data: Sequence[Path],
    normals: Sequence[Path] = (),
    images: Path | None = None,
    positions: Sequence[Path] = (),
    init: Path | None = None,
    device: str | None = None,
    resume: bool = True,
    tell: Tell = lambda line: None,
) -> TrainReport:
    """Train one network.

    run: the folder of the run; one with a checkpoint of the same recipe and data is continued.
    data: rendered files, training and validation split.  normals: rendered files used for their normals alone.
    images: a folder of pictures, or a rendered file used for its pictures alone.
    positions: for models that predict a mesh, the position file of each file of ``data``.
    init: weights to start from: of this model, or an ImageNet ResNet-18 for crossmodal of width 64.
    Ctrl-C ends the run in order: a checkpoint is written and the report says ``interrupted``.

    Raises InvalidSettingError (another recipe in this folder, unknown model), InvalidStoreError, InvalidDataError,
    InvalidWeightsError, OutputError.
    """
    kind = kind_of(recipe)
    if kind.positions and len(positions) != len(data):
        raise InvalidSettingError(
            f"Recipe {recipe.name}: {recipe.model} is trained on vertex positions; give one --positions file for each "
            f"--data file, {len(data)} and not {len(positions)} (fnbench positions makes them)."
        )
    check_writable(run / "log.csv")
    with processes(device) as where:
        sources, valid = sources_of(recipe, run, data, normals, images, positions, where, tell)
        return _Run(recipe, run, sources, valid, where, tell).follow(init, resume)


class _Run:
    """One run on its way."""

    def __init__(self, recipe: Recipe, run: Path, sources: Sources, valid: Cache, where: Where, tell: Tell) -> None:
        self.recipe, self.run, self.sources, self.valid, self.where, self.tell = (
            recipe, run, sources, valid, where, tell,
        )  # fmt: skip
        self.kind = kind_of(recipe)
        torch.manual_seed(seed_of(recipe.seed, 4))
        self.network = network_of(recipe).to(where.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = _copied(self.network)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=recipe.optimiser.rate,
            betas=recipe.optimiser.betas,
            weight_decay=recipe.optimiser.decay,
        )
        self.scaler = torch.amp.GradScaler(where.device.type, enabled=recipe.optimiser.precision == "float16")
        self.step, self.pieces = 0, 1
        self.best: tuple[float, int] | None = None
        self.journal = Journal(run / "log.csv")

    def follow(self, init: Path | None, resume: bool) -> TrainReport:
        """Train to the end or to the interrupt."""
        begun = self._begin(init, resume)
        with asked_to_stop() as stopping:
            self._steps(stopping)
        interrupted = bool(stopping)
        if interrupted and self.where.first and self.step > begun:
            self._save()
        skipped = self.sources.images[0].skipped if self.sources.images else ()
        return TrainReport(self.run, self.step, interrupted, self.best, skipped, self.where.first)

    def _begin(self, init: Path | None, resume: bool) -> int:
        """Load a checkpoint or the initial weights; returns the step to go on from."""
        path = self.run / "checkpoint.safetensors"
        identity = {"recipe": written(self.recipe), "data": self._provenance()}
        self.identity = identity
        if resume and path.is_file():
            self._load(read_checkpoint(path, identity))
            self.tell(f"going on from step {self.step} of {self.recipe.steps}")
        elif init is not None:
            start_from(self.network, init, self.recipe)
            self.average = _copied(self.network)
        if self.where.first:
            write_text(self.run / "recipe.toml", identity["recipe"])
            self.journal.cut(self.step)
        self.where.together()
        return self.step

    def _steps(self, stopping: list[int]) -> None:
        recipe, check = self.recipe, self.recipe.check
        feeder = Feeder(recipe, self.sources, self.where.device, self.where.rank, self.where.world)
        network: nn.Module = self.network
        if self.where.world > 1:
            # A batch may leave a path out, and an auto-encoding path alone leaves out a whole encoder or decoder.
            network = DistributedDataParallel(self.network, find_unused_parameters=True)
        each = recipe.batch.accumulate
        batches = feeder.batches(self.step * each, recipe.steps * each)
        clock, seen, logged = time.monotonic(), 0, self.step
        losses: dict[str, float] = {}
        while self.step < recipe.steps and not stopping:
            self._rate()
            self.optimiser.zero_grad(set_to_none=True)
            for k in range(each):
                batch = next(batches)
                seen += _size(batch) * self.where.world
                for name, value in self._pass(network, batch, last=k == each - 1).items():
                    losses[name] = losses.get(name, 0.0) + value
            self._update()
            self.step += 1
            if _due(self.step, check.log, recipe.steps):
                count = (self.step - logged) * each
                elapsed = time.monotonic() - clock
                self._tell_losses({name: value / count for name, value in losses.items()}, seen / elapsed)
                clock, seen, logged, losses = time.monotonic(), 0, self.step, {}
            if _due(self.step, check.validate, recipe.steps):
                self._validate()
                clock, seen = time.monotonic(), 0
            if self.where.first and _due(self.step, check.save, recipe.steps):
                self._save()

    def _rate(self) -> None:
        rate = rate_at(self.step, self.recipe)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def _pass(self, network: nn.Module, batch: Batch, *, last: bool) -> dict[str, float]:
        """Forward and backward of one micro-batch, in pieces where the memory does not hold it at once."""
        while True:
            try:
                return self._pieces(network, batch, last=last)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or self.where.world > 1:
                    raise
            # Outside the handler, so that the traceback no longer keeps the failed pass alive.
            if self.pieces * 2 > max(len(batch), 1):
                raise FnbenchError(
                    f"Recipe {self.recipe.name}: out of memory for one sample of {self.recipe.crop.size} pixels on "
                    f"{self.where.device}. Use a smaller crop.size or network width."
                )
            self.pieces *= 2
            self.optimiser.zero_grad(set_to_none=True)
            if self.where.device.type == "cuda":
                torch.cuda.empty_cache()
            _log.warning(
                "Out of memory with %d pairs at once; going on with %d pieces of a batch. The pass is repeated.",
                len(batch), self.pieces,
            )  # fmt: skip

    def _pieces(self, network: nn.Module, batch: Batch, *, last: bool) -> dict[str, float]:
        network.train()
        parts = batch.parts(self.pieces) if self.pieces > 1 else [batch]
        scale = 1 / (self.recipe.batch.accumulate * len(parts))
        found: dict[str, float] = {}
        for position, part in enumerate(parts):
            final = last and position == len(parts) - 1  # gradients travel once a step
            with network.no_sync() if isinstance(network, DistributedDataParallel) and not final else nullcontext():
                with self._precision():
                    terms = self.kind.losses(network, part, self.recipe)
                torch.autograd.backward(self.scaler.scale(torch.stack(list(terms.values())).sum() * scale))
            for name, value in terms.items():
                found[name] = found.get(name, 0.0) + float(value.detach()) / len(parts)
        return found

    def _precision(self) -> Any:
        kind = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(self.recipe.optimiser.precision)
        if kind is None:
            return nullcontext()
        return torch.autocast(self.where.device.type, kind)

    def _update(self) -> None:
        clip = self.recipe.optimiser.clip
        if clip:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.network.parameters(), clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        # A young average follows quickly, so that it is not held back by random weights.
        keep = min(self.recipe.optimiser.average, (1 + self.step) / (10 + self.step))
        follow_average(self.average, self.network.state_dict(), keep)

    def _tell_losses(self, losses: Mapping[str, float], throughput: float) -> None:
        rate = self.optimiser.param_groups[0]["lr"]
        if self.where.first:
            self.journal.add(
                self.step,
                {"rate": rate, "images_per_second": round(throughput, 2), **losses, "total": sum(losses.values())},
            )
            left = (self.recipe.steps - self.step) * _per_step(self.recipe) * self.where.world / max(throughput, 1e-9)
            shown = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
            self.tell(f"step {self.step}/{self.recipe.steps}  {shown}  {throughput:.1f} images/s, {_clock(left)} left")

    def _validate(self) -> None:
        """Mean error of the averaged weights on the validation samples; the best weights are written."""
        if self.where.first:
            network = network_of(self.recipe).to(self.where.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            network.load_state_dict(self.average)
            found = validation(network.eval(), self.recipe, self.valid, self.where.device)
            self.journal.add(self.step, {f"val_{name}": value for name, value in found.items()})
            self.tell(f"step {self.step}  validation: " + ", ".join(f"{k} {v:.2f}" for k, v in found.items()))
            if self.best is None or found["mean_img"] < self.best[0]:
                self.best = (found["mean_img"], self.step)
                trained_weights(self.run, self.average, self.recipe, self._described())
        self.where.together()

    def _described(self) -> Trained:
        return Trained(self._provenance(), self.step, self.best[0] if self.best else float("nan"))

    def _provenance(self) -> str:
        """What the weights were trained on, in words."""
        kinds = {"pairs": self.sources.paired, "images": self.sources.images, "normals": self.sources.normals}
        return "; ".join(
            f"{len(rows)} {kind} of {cache.source}" for kind, (cache, rows) in
            ((kind, source) for kind, source in kinds.items() if source is not None)
        )  # fmt: skip

    def _save(self) -> None:
        moments = {
            f"{index}.{name}": value
            for index, values in self.optimiser.state_dict()["state"].items()
            for name, value in values.items()
        }
        about = {"step": self.step, "best": self.best, "scale": self.scaler.state_dict(), **self.identity}
        write_checkpoint(
            self.run / "checkpoint.safetensors", Checkpoint(self.network.state_dict(), self.average, moments, about)
        )

    def _load(self, found: Checkpoint) -> None:
        self.network.load_state_dict(found.network)
        self.average = {name: value.to(self.where.device) for name, value in found.average.items()}
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in found.moments.items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.step = int(found.about["step"])
        self.best = tuple(found.about["best"]) if found.about["best"] else None
        if found.about["scale"]:
            self.scaler.load_state_dict(found.about["scale"])


def rate_at(step: int, recipe: Recipe) -> float:
    """Learning rate of a step: linear warm-up, constant, linear to zero over the last ``fade`` of the steps."""
    optimiser = recipe.optimiser
    warm = min(1.0, (step + 1) / optimiser.warm_up) if optimiser.warm_up else 1.0
    fading = optimiser.fade * recipe.steps
    fade = min(1.0, (recipe.steps - step) / fading) if fading else 1.0
    return optimiser.rate * warm * fade


@torch.no_grad()
def follow_average(average: Mapping[str, Tensor], now: Mapping[str, Tensor], keep: float) -> None:
    """Move the average towards the weights of now; counters are copied."""
    names = [name for name, value in average.items() if value.is_floating_point()]
    torch._foreach_lerp_([average[name] for name in names], [now[name] for name in names], 1 - keep)
    for name, value in average.items():
        if not value.is_floating_point():
            value.copy_(now[name])


@torch.inference_mode()
def validation(network: nn.Module, recipe: Recipe, valid: Cache, device: torch.device) -> dict[str, float]:
    """Averages over images of the benchmark's own metric, in the protocol's crop at the recipe's size."""
    found = []
    for images, normals, mask in in_order(valid, recipe.crop.size, device):
        predicted = kind_of(recipe).normals(network, images)
        arrays = (value.permute(0, 2, 3, 1).cpu().numpy() for value in (predicted, normals, mask))
        for vectors, target, inside in zip(*arrays, strict=True):
            if inside.any():
                errors = metrics.errors(vectors, target, inside[..., 0] > 0)
                found.append(metrics.image_metrics(metrics.tally(errors)))
    names = ("mean", "median", "acc@20", "acc@30")
    return {f"{name}_img": float(np.mean([one[name] for one in found])) for name in names}


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _due(step: int, every: int, end: int) -> bool:
    return step == end or (every > 0 and step % every == 0)


def _size(batch: Batch) -> int:
    more = (batch.unpaired, batch.alone)
    return len(batch) + sum(len(tensor) for tensor in more if tensor is not None)


def _per_step(recipe: Recipe) -> int:
    return (recipe.batch.paired + recipe.batch.images + recipe.batch.normals) * recipe.batch.accumulate


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
