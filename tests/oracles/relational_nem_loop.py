"""Relational neural expectation maximisation in plain NumPy loops: one sequence, slot and pixel after another."""

import numpy as np


def normalise(values, gain, bias):
    """Layer normalisation over everything, with gain and bias by the first dim."""
    standard = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
    shape = (-1,) + (1,) * (values.ndim - 1)
    return standard * gain.reshape(shape) + bias.reshape(shape)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def relu(values):
    return np.maximum(values, 0)


def elu(values):
    return np.where(values > 0, values, np.exp(np.minimum(values, 0)) - 1)


def convolve(image, weight, bias, stride, padding):
    """A 4x4 convolution, pixel after pixel; padding is rows and columns of zeros before and after."""
    image = np.pad(image, ((0, 0), padding, padding))
    rows, columns = ((size - 4) // stride + 1 for size in image.shape[1:])
    result = np.empty((len(weight), rows, columns))
    for i in range(rows):
        for j in range(columns):
            patch = image[:, i * stride : i * stride + 4, j * stride : j * stride + 4]
            result[:, i, j] = (weight * patch).sum((1, 2, 3)) + bias
    return result


class Loop:
    """The networks with the weights of a model's `state_dict()`, in double precision."""

    def __init__(self, weights):
        self.weights = {name: value.double().numpy() for name, value in weights.items()}

    def linear(self, name, values):
        return self.weights[f"{name}.weight"] @ values + self.weights[f"{name}.bias"]

    def norm(self, name, values):
        return normalise(values, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def filters(self, name):
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def count(self, place):
        """Number of convolutions in a network."""
        return sum(name.startswith(place) and self.weights[name].ndim == 4 for name in self.weights)

    def encode(self, residual):
        image = residual[None]
        for number in range(self.count("encoder.")):
            image = convolve(image, *self.filters(f"encoder.convolutions.{3 * number}"), 2, (1, 1))
            image = elu(self.norm(f"encoder.convolutions.{3 * number + 1}", image))
        return elu(self.norm("encoder.code.1", self.linear("encoder.code.0", image.reshape(-1))))

    def decode(self, output, size):
        code = relu(self.norm("decoder.seed.1", self.linear("decoder.seed.0", output)))
        code = relu(self.norm("decoder.seed.4", self.linear("decoder.seed.3", code)))
        count = self.count("decoder.")
        image = code.reshape(-1, size[0] >> count, size[1] >> count)
        for number in range(count):
            image = image.repeat(2, 1).repeat(2, 2)
            image = convolve(image, *self.filters(f"decoder.convolutions.{3 * number}"), 1, (1, 2))
            if number < count - 1:
                image = relu(self.norm(f"decoder.convolutions.{3 * number + 1}", image))
        return sigmoid(image[0])

    def step(self, memories, residuals):
        """New memories and predictions of all slots."""
        codes = [relu(self.norm("cell.code.1", self.linear("cell.code.0", memory))) for memory in memories]
        after, means = [], []
        for k, residual in enumerate(residuals):
            effect = np.zeros_like(codes[k])
            for j in range(len(codes)):
                if j != k:
                    pair = self.linear("cell.pair", np.concatenate([codes[k], codes[j]]))
                    pair = relu(self.norm("cell.pair_norm", pair))
                    hidden = np.tanh(self.norm("cell.attention.1", self.linear("cell.attention.0", pair)))
                    context = relu(self.norm("cell.effect.1", self.linear("cell.effect.0", pair)))
                    effect += sigmoid(self.linear("cell.attention.3", hidden)) * context
            new = self.linear("cell.update", np.concatenate([codes[k], effect, self.encode(residual)]))
            after.append(sigmoid(new))
            means.append(self.decode(sigmoid(self.norm("cell.output_norm", new)), residual.shape))
        return after, np.stack(means)

    def run(self, frames, observed, start, assignments=None):
        """Predictions and assignments of one video (time, height, width).

        `assignments` replaces those of the E-step, for derivatives that do not pass through it.
        """
        slots, state = len(start), len(self.weights["cell.code.0.bias"])
        rest = [np.zeros(state)] * slots
        _, first = self.step(rest, np.zeros((slots, *frames.shape[1:])))
        means, gammas, memories, before = [first], [start], rest, np.zeros_like(first)
        for t in range(len(frames) - 1):
            image = frames[t] if observed[t] else (gammas[t] * means[t]).sum(0)
            memories, psi = self.step(memories, gammas[t] * (image - before))
            target = frames[t + 1] if observed[t + 1] else (psi.max(0) > 0.1).astype(float)
            chance = target * psi + (1 - target) * (1 - psi) + 1e-6
            gammas.append(chance / chance.sum(0) if assignments is None else assignments[t + 1])
            means.append(psi)
            before = psi
        return np.stack(means), np.stack(gammas)

    def loss(self, frames, observed, start, assignments=None):
        """The paper's loss of one video: cross-entropy, and divergence from Bernoulli(0), of every slot and pixel."""
        means, gammas = self.run(frames, observed, start, assignments)
        total = 0.0
        for t in np.flatnonzero(observed):
            for psi, gamma in zip(means[t], gammas[t], strict=True):
                cross_entropy = -(frames[t] * np.log(psi) + (1 - frames[t]) * np.log(1 - psi))
                total += (gamma * cross_entropy + (1 - gamma) * -np.log(1 - psi)).sum()
        return total
