"""Every case of the set, by name."""

from tests.oracles.conformance import conjugate
from tests.oracles.conformance.case import Case
from tests.oracles.conformance.hidden_markov import hidden_markov
from tests.oracles.conformance.nothing_latent import nothing_latent
from tests.oracles.conformance.presence import presence
from tests.oracles.conformance.two_modes import two_modes
from tests.oracles.conformance.vague_level import vague_level
from tests.oracles.conformance.vague_trend import vague_trend


def all_cases() -> dict[str, Case]:
    cases = [
        vague_level(),
        vague_trend(),
        vague_trend(exact_guide=True),
        hidden_markov(),
        presence(),
        conjugate.counts(),
        conjugate.spread(),
        conjugate.shares(),
        two_modes(),
        two_modes(both_covered=False),
        nothing_latent(),
    ]
    return {case.name: case for case in cases}
