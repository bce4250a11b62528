"""Everything that changes while a run goes on, and how it is taken up again."""

import math
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from equicomir.images.batches import Batches, check_modalities, in_order, mixed_seed
from equicomir.images.fingerprint import fingerprint
from equicomir.images.pairs import Scene
from equicomir.images.patches import patch_places
from equicomir.losses.rotated_pairs import turn_back, valid_disk
from equicomir.provenance import command, commit, machine, versions
from equicomir.representations import EncoderSettings, Representations, save
from equicomir.shapes import Stack
from equicomir.training.checkpoints import (
    LAST,
    difference,
    read_checkpoint,
    tidy,
    write_checkpoint,
)
from equicomir.training.processes import from_all_processes
from equicomir.training.schedule import MEASURED, rate
from equicomir.training.settings import INDIFFERENT, TrainingSettings
from equicomir.training.start import Loss, Penalty, coarse, new_model, objective, penalty_of
from equicomir.training.watching import EVERY, Watch

_UNTIMED = 2  # the first steps also build caches

#: How well a model does what it is for, higher is better: on validation scenes.
Validate = Callable[[Representations], float]


@dataclass(frozen=True)
class Trained:
    """What training gives back.

    Attributes:
        model: in eval mode; of the best validation, where there was one.
        settings: as given, with the number of steps that was planned.
        losses: one a step: InfoNCE in nats, and what penalties add (those of this process).
        seconds: wall time, of all parts of a run that was broken off.
        validations: (steps done, score) of each.
    """

    model: Representations
    settings: TrainingSettings
    losses: list[float]
    seconds: float
    validations: list[tuple[int, float]] = field(default_factory=list)


class _AsTheyAre(nn.Module):
    """A model that is given its images by a function, which Fabric does not look into: in mixed
    precision it casts all tensors, and layers of derivatives are made of images before autocast
    shortens anything.
    """

    def __init__(self, model: Representations) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Callable[[], Sequence[Stack]], modalities: Sequence[str]) -> Stack:
        seen: Stack = self.model(images(), modalities)
        return seen


class Run:
    """Everything that changes while a run goes on.

    Args:
        scenes: to learn from.
        encoder: of every modality.
        settings: of the training.
        loss: of representations; that of the settings if None.
        penalty: what is added to it, if anything.
        initial: a model to begin with; a new one if None.
        folder: of checkpoints and progress; neither is written if None.
        fabric: device, precision and processes.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        encoder: EncoderSettings,
        settings: TrainingSettings,
        loss: Loss | None,
        penalty: Penalty | None,
        initial: Representations | None,
        folder: Path | None,
        fabric: Fabric,
    ) -> None:
        self.begun, self.before = time.perf_counter(), 0.0
        self.settings, self.folder, self.fabric = settings, folder, fabric
        self.model = new_model(scenes, encoder, settings)
        if initial is not None:
            self.model.begin_with(initial)
        self.loss = objective(settings) if loss is None else loss
        self.coarse = objective(coarse(settings)) if loss is None else loss
        self.penalty = penalty_of(settings) if penalty is None else penalty
        learned = list(self.model.parameters())
        if isinstance(self.loss, nn.Module):
            learned += fabric.to_device(self.loss).parameters()
        self.network, self.optimiser = fabric.setup(
            _AsTheyAre(self.model), torch.optim.Adam(learned, lr=settings.learning_rate)
        )
        self.total = settings.steps
        self.losses: list[float] = []
        self.progress = ""  # the digest of what was written of it
        self.validations: list[tuple[int, float]] = []
        self.best: dict[str, Tensor] = {}
        self.averaged = self._state() if settings.average else {}
        self.identity = self._identity(scenes, encoder, folder)
        self._go_on()
        places = patch_places(scenes, settings.patch_size)
        self.batches = Batches(
            scenes,
            self.model.scalings,
            places,
            settings.batch,
            settings.seed,
            settings.turns,
            settings.scenes_at_once,
            settings.augmentation,
            (fabric.global_rank, fabric.world_size),
        )
        check_modalities(self.batches, fabric.world_size)

    def go(self, watch: Watch, validate: Validate | None, interrupted: threading.Event) -> None:
        """All steps that are left.

        Args:
            watch: notes how it goes.
            validate: scores a model; not asked if None.
            interrupted: set when the run is to end early.
        """
        first, each, saved = len(self.losses), list[float](), time.monotonic()
        ordered = in_order(self.batches, first, workers=self.settings.workers)
        mask = valid_disk(self.settings.patch_size)
        while not self._over():
            begun, step = time.perf_counter(), len(self.losses)
            learning_rate, momentum = self._set_rate(step)
            representations = self._step(step, ordered, momentum)
            each.append(time.perf_counter() - begun)
            if self.total is None and len(self.losses) == MEASURED:
                self._fix_steps(each[_UNTIMED:] or each)
            if step % EVERY == 0:
                watch.look(representations, mask)
            watch.step(step + 1, self.total, self.losses[-1], learning_rate)
            watch.write(self._validate(validate))
            self.progress = watch.digest()
            if interrupted.is_set():
                self._save()
                raise KeyboardInterrupt
            if time.monotonic() - saved > self.settings.checkpoint_seconds:
                self._save()
                saved = time.monotonic()

    def end(self) -> Trained:
        """The model that the run was for; saved, where there is a folder."""
        settings = replace(self.settings, steps=self.total)
        self._save()
        self._load(self.best or self.averaged)
        seconds = self.before + time.perf_counter() - self.begun
        model = self.model.cpu().eval()
        done = Trained(model, settings, self.losses, seconds, self.validations)
        if self.folder is not None and self.fabric.is_global_zero:
            facts = {
                "training": asdict(settings),
                "data": self.identity["data"],
                "losses": self.losses,
                "seconds": seconds,
                "validations": self.validations,
                "versions": versions(),
                "commit": commit(),
                "command": command(),
                "machine": machine(),
            }
            save(model, self.folder, **facts)
        return done

    def _over(self) -> bool:
        if self.total is not None and len(self.losses) >= self.total:
            return True
        patience, scores = self.settings.patience, [score for _, score in self.validations]
        if patience is None or len(scores) <= patience:
            return False
        return max(scores[-patience:]) <= max(scores[:-patience])

    def _set_rate(self, step: int) -> tuple[float, float]:
        s = self.settings
        learning_rate, momentum = rate(s.schedule, step, self.total, s.learning_rate, s.warm_up)
        for group in self.optimiser.param_groups:
            group["lr"], group["betas"] = learning_rate, (momentum, 0.999)
        return learning_rate, momentum

    def _step(self, step: int, ordered: Iterator[Any], momentum: float) -> Stack:
        """One batch, one step of the optimiser; the representations in the scenes' own frame."""
        draw, patches = next(ordered)
        # What layers draw for themselves (dropout) depends on the step alone; and not on whether
        # another process draws the batches, whose start draws a number here.
        torch.manual_seed(mixed_seed(self.settings.seed, step, self.fabric.global_rank))
        patches = [self.fabric.to_device(images) for images in patches]
        seen = self.network(lambda: patches, draw.modalities)
        straight = turn_back(seen, self.fabric.to_device(draw.degrees))
        every = from_all_processes(straight)
        of_batch = (self.coarse if self._at_first(step) else self.loss)(every)
        if self.penalty is not None:
            of_batch = of_batch + self.penalty(seen, patches)
        self.optimiser.zero_grad()
        self.fabric.backward(of_batch)
        if self.settings.clip is not None:
            self.fabric.clip_gradients(
                self.network,
                self.optimiser,
                max_norm=self.settings.clip,
                # In 16 bits they now and then are, and then the step is left out.
                error_if_nonfinite=False,
            )
        self.optimiser.step()
        self.losses.append(float(of_batch.detach()))
        if not math.isfinite(self.losses[-1]):
            raise ValueError(f"step {step + 1}: expected a finite loss, got {self.losses[-1]}.")
        if self.averaged:
            self._average(min(self.settings.average, (1 + step) / (10 + step)))
        return every.detach()

    def _at_first(self, step: int) -> bool:
        """Whether representations are compared as they are; so are they while the steps of a run
        by minutes are not fixed yet, and then also where they were said.
        """
        share = self.settings.coarse_first
        return share > 0 and (step < MEASURED or step < share * (self.total or math.inf))

    def _fix_steps(self, each: Sequence[float]) -> None:
        """Once, from the median time of the first steps: a machine that was busy for one of
        them does not make the run short.
        """
        left = self.settings.minutes * 60 - (time.perf_counter() - self.begun)
        planned = MEASURED + max(1, round(left / statistics.median(each)))
        self.total = int(self.fabric.broadcast(planned))

    def _validate(self, validate: Validate | None) -> float | None:
        """The score, where it is time to ask for it."""
        wanted, done = self.settings.validations, len(self.losses)
        if validate is None or not wanted or self.total is None:
            return None
        # Evenly over the run, the last at its very end.
        if done * wanted // self.total == (done - 1) * wanted // self.total:
            return None
        score = 0.0
        here = self._state()
        self._load(self.averaged)
        if self.fabric.is_global_zero:
            score = float(validate(self.model.eval()))
        score = float(self.fabric.broadcast(score))
        if math.isnan(score):
            raise ValueError(f"validate: expected a score, got {score} after {done} steps.")
        if not self.validations or score > max(old for _, old in self.validations):
            self.best = self._state()
        self.validations.append((done, score))
        self._load(here)
        self.model.train()
        return score

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value, 1 - decay)
            else:
                self.averaged[name].copy_(value)

    def _state(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    def _load(self, state: dict[str, Tensor]) -> None:
        if state:
            self.model.load_state_dict(state)

    def _identity(
        self, scenes: Sequence[Scene], encoder: EncoderSettings, folder: Path | None
    ) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        told = asdict(self.settings)
        for name in INDIFFERENT:
            del told[name]
        data = None if folder is None else fingerprint(scenes)
        return {"encoders": asdict(encoder), "training": told, "data": data}

    def _save(self) -> None:
        if self.folder is None or not self.fabric.is_global_zero:
            return
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": value for name, value in state.items()}
        if isinstance(self.loss, nn.Module):
            tensors |= {f"loss.{name}": v for name, v in self.loss.state_dict().items()}
        for kind, kept in (("averaged", self.averaged), ("best", self.best)):
            tensors |= {f"{kind}.{name}": value for name, value in kept.items()}
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        facts = {
            "identity": self.identity,
            "total": self.total,
            "seconds": self.before + time.perf_counter() - self.begun,
            "validations": self.validations,
            "progress": self.progress,
            "scaler": self.fabric.strategy.precision.state_dict(),
        }
        try:
            write_checkpoint(self.folder, tensors, facts)
        except OSError as error:
            if not self.losses:
                raise
            print(
                f"{self.folder / LAST}: expected room for a checkpoint, got: {error.strerror}; "
                "training goes on, and the checkpoint before it is kept.",
                file=sys.stderr,
            )

    def _go_on(self) -> None:
        """Take up what an earlier run left in the folder."""
        if self.folder is None:
            return
        if self.fabric.is_global_zero:
            tidy(self.folder)
        read = read_checkpoint(self.folder)
        if read is None:
            self._save()  # tells at once if the folder cannot be written
            return
        tensors, facts, said = read
        if said and self.fabric.is_global_zero:
            print(said, file=sys.stderr)
        noted = facts.get("identity")
        differs = difference(noted if isinstance(noted, dict) else {}, self.identity)
        if differs:
            raise ValueError(
                f"{self.folder}: expected an empty folder or a run with the same settings and "
                f"data, got another {differs}; choose another folder, or remove it."
            )
        try:
            self._take_up(tensors, facts)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160].rstrip(".")
            raise ValueError(
                f"{self.folder}: expected a checkpoint that this run can go on from, got another "
                f"({reason}); remove it to start anew."
            ) from error

    def _take_up(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Be where a checkpoint says that the run was."""
        named: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            named.setdefault(kind, {})[rest] = self.fabric.to_device(value)
        self.model.load_state_dict(named["model"])
        if isinstance(self.loss, nn.Module):
            self.loss.load_state_dict(named.get("loss", {}))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in named.get("optimiser", {}).items():
            number, _, part = name.partition(".")
            state.setdefault(int(number), {})[part] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        if facts.get("scaler"):  # of 16 bits alone
            self.fabric.strategy.precision.load_state_dict(facts["scaler"])
        self.averaged, self.best = named.get("averaged", {}), named.get("best", {})
        self.losses = [float(loss) for loss in tensors["losses"].tolist()]
        self.total, self.before = facts["total"], facts["seconds"]
        self.progress = facts.get("progress", "")
        self.validations = [(int(step), float(score)) for step, score in facts["validations"]]
