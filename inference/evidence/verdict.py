"""How far to rely on an estimate of the log evidence, in one word and in a sentence."""

from dataclasses import dataclass

KINDS = ("exact", "certified", "converged", "lower bound")


@dataclass(frozen=True)
class Verdict:
    """What an estimate is worth.

    - exact: nothing is latent, or all latents are integrated out; no sampling error.
    - certified: bracketed from both sides, on videos near the real ones; `width` is that of the bracket.
    - converged: estimates with more draws, or by another method, agree to within `width`; no upper bound stands behind
      it, and what all of them miss (a mode of the posterior far from the guide) is not seen.
    - lower bound: below the evidence in expectation, by an unknown amount.

    Attributes:
        kind: one of the four.
        words: what was done, and what speaks for or against relying on it.
        width: see above, nats per sequence; None where there is none.
    """

    kind: str
    words: str
    width: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(map(repr, KINDS))}, got {self.kind!r}")

    def __str__(self) -> str:
        return f"{self.kind}: {self.words}"
