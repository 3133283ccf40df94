"""Recurrent networks that predict codes of a sequence from other codes of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Size, Tensor, nn
from torch.distributions import constraints

from pyro_models.components.controls import with_control, without_first
from pyro_models.components.initial_weights import glorot


class CodePredictor(nn.Module, ABC):
    """Predicts codes of a sequence from other codes of it, with Gaussian errors of one learned scale.

    Args:
        code_dim: size of a code.
        hidden_dim: units of the LSTM (of each direction).
        control_dim: size of a control, 0 = none.
        bidirectional: whether the LSTM reads both ways.
    """

    completion_methods: tuple[str, ...]

    def __init__(self, code_dim: int, hidden_dim: int, control_dim: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.code_dim = code_dim
        self.control_dim = control_dim
        inputs = code_dim + control_dim + int(bidirectional)
        self.lstm = nn.LSTM(inputs, hidden_dim, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(hidden_dim * (1 + int(bidirectional)), code_dim)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.apply(glorot)

    @abstractmethod
    def law(
        self,
        num_sequences: int,
        num_steps: int,
        observed: Bool[Tensor, "sequences time"] | None,
        controls: Float[Tensor, "sequences time control"] | None,
    ) -> TorchDistribution:
        """Distribution of all codes, batch (sequences,), event (time, code); codes at missing steps have no density."""

    @abstractmethod
    def complete(
        self,
        codes: Float[Tensor, "*batch time code"],
        observed: Bool[Tensor, "sequences time"],
        controls: Float[Tensor, "sequences time control"] | None,
        *,
        sample: bool = False,
    ) -> Float[Tensor, "*batch time code"]:
        """The codes, with those at missing steps replaced by predictions (or draws around them) and never read."""

    def _run(self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Predictions from inputs (*batch, time, input), and the LSTM's state."""
        output, new_state = self.lstm(inputs.reshape(-1, *inputs.shape[-2:]), state)
        return self.head(output).reshape(*inputs.shape[:-1], self.code_dim), new_state


class ForwardPredictor(CodePredictor):
    """Each code from those before it, by an LSTM f with a linear head::

        a_1 ~ N(m, diag(v));   a_t ~ N(f(a_1, ..., a_{t-1}, u_t), s^2 I)

    Trained by maximum likelihood, which for f is least squares. At a missing step f is fed its own last output
    (Srivastava, Mansimov & Salakhudinov 2015; Fraccaro et al. 2017, section 5.1).
    """

    completion_methods = ("filtering",)

    def __init__(self, code_dim: int, hidden_dim: int = 64, control_dim: int = 0) -> None:
        super().__init__(code_dim, hidden_dim, control_dim, bidirectional=False)
        self.initial_mean = nn.Parameter(torch.zeros(code_dim))
        self.initial_log_scale = nn.Parameter(torch.zeros(code_dim))

    def law(
        self,
        num_sequences: int,
        num_steps: int,
        observed: Bool[Tensor, "sequences time"] | None,
        controls: Float[Tensor, "sequences time control"] | None,
    ) -> TorchDistribution:
        """Autoregressive; where codes are missing it is fed its own predictions."""
        return AutoregressiveCodes(self, Size((num_sequences,)), num_steps, observed, controls)

    def complete(
        self,
        codes: Float[Tensor, "*batch time code"],
        observed: Bool[Tensor, "sequences time"],
        controls: Float[Tensor, "sequences time control"] | None,
        *,
        sample: bool = False,
    ) -> Float[Tensor, "*batch time code"]:
        """Causal: an imputed code depends on earlier steps only."""
        return self._unroll(codes, observed, controls, sample)[1]

    def scales(self, num_steps: int) -> Float[Tensor, "time code"]:
        """Standard deviation of each step's prediction error."""
        return torch.cat(
            [self.initial_log_scale.exp().unsqueeze(0), self.log_scale.exp().expand(num_steps - 1, self.code_dim)]
        )

    def predict(
        self,
        codes: Float[Tensor, "*batch time code"],
        observed: Bool[Tensor, "sequences time"] | None,
        controls: Float[Tensor, "sequences time control"] | None,
    ) -> Float[Tensor, "*batch time code"]:
        """One-step predictions of all codes, in one pass if none is missing."""
        if observed is not None:
            return self._unroll(codes, observed, controls, False)[0]
        inputs = with_control(codes[..., :-1, :], None if controls is None else controls[:, 1:])
        first = self.initial_mean.expand(*codes.shape[:-2], 1, self.code_dim)
        return first if codes.shape[-2] == 1 else torch.cat([first, self._run(inputs)[0]], -2)

    def _unroll(
        self, codes: Tensor, observed: Tensor, controls: Tensor | None, sample: bool
    ) -> tuple[Float[Tensor, "*batch time code"], Float[Tensor, "*batch time code"]]:
        """Step by step: the predictions, and the codes with predictions (or draws) where they are missing."""
        seen = observed.unsqueeze(-1)
        scales = self.scales(codes.shape[-2])
        prediction = self.initial_mean.expand(codes[..., 0, :].shape)
        state = None
        predictions, completed = [], []
        for step in range(codes.shape[-2]):
            if step:
                inputs = with_control(completed[-1], None if controls is None else controls[:, step])
                prediction, state = self._run(inputs.unsqueeze(-2), state)
                prediction = prediction.squeeze(-2)
            guess = prediction + scales[step] * torch.randn_like(prediction) if sample else prediction
            predictions.append(prediction)
            completed.append(torch.where(seen[:, step], codes[..., step, :], guess))
        return torch.stack(predictions, -2), torch.stack(completed, -2)


class AutoregressiveCodes(TorchDistribution):
    """Distribution of a sequence of codes, each predicted from those before it; missing ones have no density.

    Args:
        predictor: gives the means and standard deviations.
        batch_shape: (*particles, sequences).
        num_steps: number of steps.
        observed: bool (sequences, time), None = all.
        controls: (sequences, time, control) or None.
    """

    arg_constraints = {}  # pyright: ignore[reportAssignmentType]
    support = constraints.independent(constraints.real, 2)  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(
        self,
        predictor: ForwardPredictor,
        batch_shape: Size,
        num_steps: int,
        observed: Bool[Tensor, "sequences time"] | None = None,
        controls: Float[Tensor, "sequences time control"] | None = None,
    ) -> None:
        self.predictor, self.observed, self.controls = predictor, observed, controls
        super().__init__(batch_shape, Size((num_steps, predictor.code_dim)), validate_args=False)

    def expand(
        self, batch_shape: Sequence[int], _instance: "AutoregressiveCodes | None" = None
    ) -> "AutoregressiveCodes":
        """The same distribution for a larger batch (particles to the left)."""
        return AutoregressiveCodes(self.predictor, Size(batch_shape), self.event_shape[0], self.observed, self.controls)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of the codes that are not missing, (*batch), nats."""
        value = value.expand(torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape))
        if self.observed is not None:
            value = torch.where(self.observed.unsqueeze(-1), value, value.new_zeros(()))
        predictions = self.predictor.predict(value, self.observed, self.controls)
        log_density = dist.Normal(predictions, self.predictor.scales(self.event_shape[0])).log_prob(value).sum(-1)
        if self.observed is not None:
            log_density = torch.where(self.observed, log_density, log_density.new_zeros(()))
        return log_density.sum(-1)

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """A draw of all codes, missing ones included: the completion of an entirely missing sequence."""
        blank = self.predictor.initial_mean.new_zeros(Size(sample_shape) + self.batch_shape + self.event_shape)
        unseen = torch.zeros(self.batch_shape[-1:] + self.event_shape[:1], dtype=torch.bool, device=blank.device)
        return self.predictor.complete(blank, unseen, self.controls, sample=True)


class BidirectionalPredictor(CodePredictor):
    """Each hidden code from the visible ones on both sides, by a bidirectional LSTM f with a linear head::

        a_t ~ N(f(visible codes, u)_t, s^2 I)       for every hidden t, independently given the visible codes

    In training a random share of every sequence, drawn uniformly between 0 and 1, is hidden from f and predicted; in
    evaluation mode it is every second code, so scores are reproducible. The score is that of the hidden codes given the
    visible ones, a pseudo-likelihood: there is no evidence to compare with other models.

    Args:
        code_dim: size of a code.
        hidden_dim: units of the LSTM in each direction.
        control_dim: size of a control, 0 = none.
        keep_first: number of steps at the start that are never hidden, as in the evaluation of imputation.
    """

    completion_methods = ("smoothing",)

    def __init__(self, code_dim: int, hidden_dim: int = 64, control_dim: int = 0, keep_first: int = 4) -> None:
        super().__init__(code_dim, hidden_dim, control_dim, bidirectional=True)
        self.keep_first = keep_first

    def law(
        self,
        num_sequences: int,
        num_steps: int,
        observed: Bool[Tensor, "sequences time"] | None,
        controls: Float[Tensor, "sequences time control"] | None,
    ) -> TorchDistribution:
        """Pseudo-likelihood of hidden codes."""
        device = self.log_scale.device
        steps = torch.arange(num_steps, device=device).expand(num_sequences, num_steps)
        if self.training:
            chosen = torch.rand(num_sequences, num_steps, device=device) < torch.rand(num_sequences, 1, device=device)
        else:
            chosen = (steps - self.keep_first) % 2 == 0
        hidden = (steps >= self.keep_first) & chosen
        if observed is None:
            return HiddenCodes(self, hidden, ~hidden, controls)
        return HiddenCodes(self, hidden & observed, observed & ~hidden, controls)

    def complete(
        self,
        codes: Float[Tensor, "*batch time code"],
        observed: Bool[Tensor, "sequences time"],
        controls: Float[Tensor, "sequences time control"] | None,
        *,
        sample: bool = False,
    ) -> Float[Tensor, "*batch time code"]:
        """An imputed code depends on all seen codes; draws at different steps are independent given these."""
        guess = self.predict(codes, observed, controls)
        if sample:
            guess = guess + self.log_scale.exp() * torch.randn_like(guess)
        return torch.where(observed.unsqueeze(-1), codes, guess)

    def predict(
        self,
        codes: Float[Tensor, "*batch time code"],
        visible: Bool[Tensor, "sequences time"],
        controls: Float[Tensor, "sequences time control"] | None,
    ) -> Float[Tensor, "*batch time code"]:
        """A prediction for every step from the visible codes."""
        shown = visible.unsqueeze(-1)
        known = shown.to(codes.dtype).expand(*codes.shape[:-1], 1)
        inputs = torch.cat([torch.where(shown, codes, codes.new_zeros(())), known], -1)
        return self._run(with_control(inputs, None if controls is None else without_first(controls)))[0]


class HiddenCodes(TorchDistribution):
    """Score of hidden codes given visible ones; other steps are not read.

    Args:
        predictor: gives the means and the standard deviation.
        hidden: bool (sequences, time), the codes that are scored.
        visible: bool (sequences, time), the codes that the predictor sees.
        controls: (sequences, time, control) or None.
        batch_shape: (*particles, sequences), None = (sequences,).
    """

    arg_constraints = {}  # pyright: ignore[reportAssignmentType]
    support = constraints.independent(constraints.real, 2)  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(
        self,
        predictor: BidirectionalPredictor,
        hidden: Bool[Tensor, "sequences time"],
        visible: Bool[Tensor, "sequences time"],
        controls: Float[Tensor, "sequences time control"] | None = None,
        batch_shape: Size | None = None,
    ) -> None:
        self.predictor, self.hidden, self.visible, self.controls = predictor, hidden, visible, controls
        event_shape = Size((hidden.shape[1], predictor.code_dim))
        super().__init__(batch_shape or hidden.shape[:1], event_shape, validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: "HiddenCodes | None" = None) -> "HiddenCodes":
        """The same score for a larger batch (particles to the left)."""
        return HiddenCodes(self.predictor, self.hidden, self.visible, self.controls, Size(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of the hidden codes given the visible ones, (*batch), nats."""
        value = value.expand(torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape))
        value = torch.where((self.hidden | self.visible).unsqueeze(-1), value, value.new_zeros(()))
        predictions = self.predictor.predict(value, self.visible, self.controls)
        log_density = dist.Normal(predictions, self.predictor.log_scale.exp()).log_prob(value).sum(-1)
        return torch.where(self.hidden, log_density, log_density.new_zeros(())).sum(-1)

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """A draw of all codes, with none visible to the predictor."""
        blank = self.predictor.log_scale.new_zeros(Size(sample_shape) + self.batch_shape + self.event_shape)
        return self.predictor.complete(blank, torch.zeros_like(self.visible), self.controls, sample=True)


CODE_PREDICTORS: dict[str, Callable[..., CodePredictor]] = {
    "bidirectional": BidirectionalPredictor,
    "forward": ForwardPredictor,
}
