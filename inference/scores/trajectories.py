"""How well a model of several balls infers, forecasts and interpolates: the queries of Chiappa and Paquet (2019)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from inference.metrics.discs import find_discs
from inference.metrics.pixels import shared_pixels
from inference.metrics.positions import PositionMap
from inference.metrics.trajectories import (
    coefficient_of_determination,
    fit_single_object_map,
    match_objects,
    object_order,
    root_mean_squared_error,
    side_accuracy,
    swap_rate,
)
from inference.programs.traces import evaluation_mode
from inference.queries.ask import impute
from inference.queries.imputation import Imputation
from inference.runs.records import with_tuples
from inference.scores.ballistic_oracle import oracle_law, oracle_positions
from inference.scores.score import Evaluated, Score
from videos import Cannonballs, VideoBatch
from videos.missing import gap, tail

NUM_FIRST, NUM_LAST = 5, 5  # observed frames: the paper forecasts from the first and interpolates between both
POSITIONS = "a"  # the paper's symbol
NUM_DRAWS = 64  # draws behind an averaged frame
SEQUENCES_AT_ONCE = 20
LEAST_PROBABILITY = 1e-6  # pixel probabilities are clamped to this in scores
BY_COUNT = ("r_squared", "error", "swaps")


@dataclass(frozen=True)
class Prediction:
    """Missing frames of the test videos with a given number of balls, predicted by one method.

    Attributes:
        query: "forecast" (the first five frames are seen) or "interpolation" (the first and last five).
        method: one of the guide's methods (rendered expected positions), the average of frames rendered at sampled
            positions, a copy of the last observed frame, or the exact distribution of the simulator's positions given
            the drawn ones.
        balls: number of balls.
        nats: negative log probability of a missing frame under independent pixels; None without frames.
        overlap: intersection over union of white pixels, at probability 1/2; None without frames.
        position_errors: mean distance to the noise-free place in each missing frame, pixels; None without positions.
        disc_errors: the same for the brightest discs in the predicted frame (see `find_discs`), matched to the balls
            with the least total distance: also for models without positions; None without frames.
    """

    query: str
    method: str
    balls: int
    nats: float | None
    overlap: float | None
    position_errors: tuple[float, ...] | None
    disc_errors: tuple[float, ...] | None

    @property
    def position_error(self) -> float | None:
        """Mean over the missing frames, pixels."""
        return None if self.position_errors is None else sum(self.position_errors) / len(self.position_errors)

    @property
    def disc_error(self) -> float | None:
        """Mean over the missing frames, pixels."""
        return None if self.disc_errors is None else sum(self.disc_errors) / len(self.disc_errors)


@dataclass(frozen=True)
class TrajectoryScores:
    """Scores of positions, which are identified up to an affine map and a permutation; see `inference.metrics`.

    Attributes:
        r_squared: R2 of inferred against drawn positions, by number of balls; empty without positions.
        error: root mean squared error of a coordinate, pixels, by number of balls.
        swaps: share of videos in which two balls swap identities, by number of balls, at least two.
        side_accuracy: share of balls assigned to the component of their side; None with fewer than two components.
        acceleration: mean second difference of positions under the dynamics, mapped to pixels; None without dynamics.
        true_acceleration: the simulator's.
        prior_gap: mean log density of a ball's drawn positions under the simulator's exact distribution minus that
            under the model's dynamics, mapped to pixels: an estimate of their Kullback-Leibler divergence, nats per
            ball. None without positions.
        predictions: forecasts and interpolations.
    """

    r_squared: Mapping[int, float]
    error: Mapping[int, float]
    swaps: Mapping[int, float]
    side_accuracy: float | None
    acceleration: tuple[float, float] | None
    true_acceleration: tuple[float, float]
    prior_gap: float | None
    predictions: tuple[Prediction, ...]

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "TrajectoryScores":
        """Rebuild scores from their record: `dataclasses.asdict`, then JSON."""
        by_count = {name: {int(count): value for count, value in record[name].items()} for name in BY_COUNT}
        predictions = tuple(Prediction(**with_tuples(one)) for one in record["predictions"])
        pairs = {name: record[name] and tuple(record[name]) for name in ("acceleration", "true_acceleration")}
        return cls(**{**record, **by_count, **pairs, "predictions": predictions})

    def __str__(self) -> str:
        lines = [
            f"{name:20} {count} balls {value:10.4f}{unit}"
            for name, values, unit in (
                ("R2 of positions", self.r_squared, ""),
                ("error of positions", self.error, " pixels"),
                ("videos with swaps", self.swaps, ""),
            )
            for count, value in values.items()
        ]
        if self.side_accuracy is not None:
            lines.append(f"component is side     {self.side_accuracy:15.4f}")
        if self.acceleration is not None:
            found, true = ("({:.4f}, {:.4f})".format(*pair) for pair in (self.acceleration, self.true_acceleration))
            lines.append(f"acceleration          {found} pixels per squared frame, true {true}")
        if self.prior_gap is not None:
            lines.append(f"exact distribution over prior  {self.prior_gap:14.4f} nats per ball")
        lines.append(f"{'missing frames':14} {'by':24} balls  nats/frame  overlap  error, pixels  of discs")
        for one in self.predictions:
            numbers = (one.nats, one.overlap, one.position_error, one.disc_error)
            nats, overlap, error, discs = ("" if value is None else f"{value:.3f}" for value in numbers)
            numbers = f"{nats:>10}  {overlap:>7}  {error:>13}  {discs:>8}"
            lines.append(f"{one.query:14} {one.method:24} {one.balls:5}  {numbers}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Trajectories(Score):
    """The paper's three queries: inference, forecast and interpolation.

    Attributes:
        simulator: simulator of the videos.
        site: name of the latent with positions, (objects, sequences, time, 2), if any.
    """

    name: ClassVar[str] = "trajectories"
    needs: ClassVar[tuple[str, ...]] = ("presence", "positions")
    simulator: Cannonballs
    site: str = POSITIONS

    def without_simulator(self) -> None:
        """None."""

    def compute(self, evaluated: Evaluated) -> TrajectoryScores:
        """The scores.

        Raises:
            ValueError: if videos are too short for a gap between observed frames, or true positions are unknown.
        """
        check_videos(evaluated.test)
        with evaluation_mode(evaluated.model, evaluated.guide):
            return _Scoring(evaluated, self.simulator, self.site).scores()

    def read(self, written: Mapping[str, Any]) -> TrajectoryScores:
        """Rebuild the scores from parsed JSON."""
        return TrajectoryScores.from_record(written)


def check_videos(videos: VideoBatch) -> None:
    """Refuse videos that cannot be interpolated or scored.

    Raises:
        ValueError: if they are too short for a gap between observed frames, or true positions are unknown.
    """
    if videos.presence is None or videos.positions is None:
        raise ValueError(
            "videos: expected presence and positions, which these scores compare with, got a batch without; take "
            "videos from a simulator"
        )
    if videos.num_frames <= NUM_FIRST + NUM_LAST:
        raise ValueError(
            f"videos: expected more than {NUM_FIRST + NUM_LAST} frames, since the first {NUM_FIRST} and the last "
            f"{NUM_LAST} are observed, got {videos.num_frames}; give longer videos"
        )


class _Scoring:
    def __init__(self, evaluated: Evaluated, simulator: Cannonballs, site: str) -> None:
        videos = evaluated.test
        assert videos.presence is not None
        assert videos.positions is not None
        self.evaluated, self.site = evaluated, site
        self.model, self.guide, self.videos, self.seed = evaluated.model, evaluated.guide, videos, evaluated.seed
        self.presence, self.positions = videos.presence[:, 0], videos.positions
        self.clean = simulator.clean_positions(videos)
        self.counts = self.presence.sum(-1)
        self.simulator = simulator

    def scores(self) -> TrajectoryScores:
        """All of them."""
        inferred = positions_of(self.evaluated.reconstruction, self.site)
        world = None if inferred is None else fit_single_object_map(inferred, self.positions, self.presence)
        by_count: dict[str, dict[int, float]] = {name: {} for name in BY_COUNT}
        sides = acceleration = prior_gap = None
        if inferred is not None and world is not None:
            pixels = world.predict(inferred)
            for count in self.counts.unique().tolist():
                of = self.counts == count
                found, truth, there = pixels[of], self.positions[of], self.presence[of]
                matched = match_objects(found, truth, there)
                by_count["r_squared"][count] = coefficient_of_determination(matched, truth, there).item()
                by_count["error"][count] = root_mean_squared_error(matched, truth, there).item()
                if count > 1:
                    by_count["swaps"][count] = swap_rate(found, truth, there).item()
            sides = self._side_accuracy(inferred, pixels)
            acceleration = self._acceleration(world)
            prior_gap = self._prior_gap(world)
        bend = self.simulator.acceleration
        return TrajectoryScores(
            **by_count,
            side_accuracy=sides,
            acceleration=acceleration,
            true_acceleration=(bend[0].item(), bend[1].item()),
            prior_gap=prior_gap,
            predictions=tuple(self._predictions(world)),
        )

    def _side_accuracy(self, inferred: Tensor, pixels: Tensor) -> float | None:
        prior = getattr(self.model, "prior", None)
        if getattr(prior, "num_components", 1) < 2 or self.videos.labels is None:
            return None
        with torch.no_grad():
            law = prior.law(inferred.shape[1])  # pyright: ignore[reportOptionalMemberAccess]
            components = law.component_posterior(inferred.transpose(1, 2)).probs.argmax(-1)
        order = object_order(pixels, self.positions, self.presence)
        return side_accuracy(components.gather(1, order), self.videos.labels[:, 0], self.presence).item()

    def _acceleration(self, world: PositionMap) -> tuple[float, float] | None:
        prior = getattr(self.model, "prior", None)
        if not hasattr(prior, "acceleration"):
            return None
        bend = prior.acceleration().detach()  # pyright: ignore[reportOptionalMemberAccess]
        mapped = world.predict(bend) - world.predict(torch.zeros_like(bend))
        return mapped[0].item(), mapped[1].item()

    @torch.no_grad()
    def _prior_gap(self, world: PositionMap) -> float | None:
        if not hasattr(prior := getattr(self.model, "prior", None), "law"):
            return None
        tracks = self.positions.transpose(1, 2)[self.presence].double()
        steps, device = tracks.shape[1], tracks.device
        offset, slope = world.coefficients[0], world.coefficients[1:]
        codes = torch.linalg.solve(slope.T, (tracks - offset).mT).mT
        law = prior.law(steps)  # pyright: ignore[reportOptionalMemberAccess]
        learned = law.log_prob(codes.to(law.log_weights)) - steps * slope.det().abs().log()
        scale = self.simulator.pixels_per_unit.to(device)
        places = (tracks - self.simulator.pixel_offset.to(device)) / scale
        # the exact distribution is in float64 on the CPU
        exact = oracle_law(self.simulator).log_prob(places.cpu()) - steps * scale.cpu().abs().log().sum()
        return (exact.mean() - learned.double().cpu().mean()).item()

    def _predictions(self, world: PositionMap | None) -> list[Prediction]:
        size = (self.videos.num_sequences, self.videos.num_frames)
        hidden = self.videos.num_frames - NUM_FIRST - NUM_LAST
        masks = {
            "forecast": tail(*size, num_seen=NUM_FIRST),
            "interpolation": gap(*size, length=hidden, start=NUM_FIRST),
        }
        methods = tuple(getattr(self.guide, "completion_methods", (None,)))
        found = []
        for query, observed in masks.items():
            videos = self.videos.with_observed(observed.to(self.videos.frames.device))
            missing = ~observed[0]
            for method in methods:
                answer = impute(self.model, self.guide, *videos.arguments, method=method, seed=self.seed)
                inferred = positions_of(answer, self.site)
                places = None if inferred is None or world is None else world.predict(inferred)
                found += self._prediction(query, method or "draws", missing, answer.frames, places)
            if world is not None:
                found += self._prediction(query, "average of draws", missing, self._average(videos), None)
                exact = oracle_positions(self.simulator, self.positions, observed.to(self.positions.device))
                found += self._prediction(query, "exact law of positions", missing, None, exact)
            last = self.videos.frames[:, NUM_FIRST - 1 : NUM_FIRST].expand_as(self.videos.frames)
            found += self._prediction(query, "last frame", missing, last, None)
        return found

    def _average(self, videos: VideoBatch) -> Tensor:
        """Expected frames, averaged over draws of the unknowns, and so blurred by uncertainty in positions."""
        parts = []
        for start in range(0, videos.num_sequences, SEQUENCES_AT_ONCE):
            some = videos.select(slice(start, start + SEQUENCES_AT_ONCE))
            drawn = impute(self.model, self.guide, *some.arguments, num_samples=NUM_DRAWS, seed=self.seed + start)
            assert drawn.samples is not None
            parts.append(drawn.samples.mean(0))
        return torch.cat(parts)

    def _prediction(
        self,
        query: str,
        method: str,
        missing: Tensor,
        frames: Tensor | None,
        positions: Tensor | None,
    ) -> list[Prediction]:
        found = []
        for count in self.counts.unique().tolist():
            of = self.counts == count
            errors = discs = nats = overlap = None
            there, clean = self.presence[of], self.clean[of]
            if frames is not None:
                expected, truth = frames[of][:, missing], self.videos.frames[of][:, missing]
                expected = expected.clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
                law = torch.distributions.Bernoulli(probs=expected, validate_args=False)
                nats = -law.log_prob(truth).sum((-3, -2, -1)).mean().item()
                both, either = shared_pixels(expected, truth)
                overlap = (both.sum() / either.sum()).item()
                discs = self._disc_errors(expected, clean[:, missing, :count])
            if positions is not None:
                matched = match_objects(positions[of], clean, there)
                apart = (matched - clean)[:, missing].norm(dim=-1)
                apart = torch.where(there[:, None], apart, 0.0).sum((0, 2)) / there.sum()
                errors = tuple(apart.tolist())
            found.append(Prediction(query, method, count, nats, overlap, errors, discs))
        return found

    def _disc_errors(self, frames: Tensor, places: Tensor) -> tuple[float, ...]:
        """Mean error per frame; discs and balls are matched independently in each frame."""
        seen = find_discs(frames.sum(-3), places.shape[-2], self.simulator.radius).flatten(0, 1).unsqueeze(1)
        flat = places.flatten(0, 1).unsqueeze(1)
        there = torch.ones(len(flat), flat.shape[2], dtype=torch.bool, device=flat.device)
        apart = (match_objects(seen, flat, there) - flat).norm(dim=-1).reshape(places.shape[:-1])
        return tuple(apart.mean((0, 2)).tolist())


def positions_of(answer: Imputation, site: str = POSITIONS) -> Tensor | None:
    """Inferred positions (sequences, time, objects, 2), if the model has them.

    Args:
        answer: result of a query.
        site: name of the latent with positions.
    """
    positions = answer.latents.get(site)
    return None if positions is None or positions.dim() != 4 else positions.permute(1, 2, 0, 3)
