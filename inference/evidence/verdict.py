"""How far to rely on an estimate of the log evidence, in one word and in a sentence."""

from dataclasses import dataclass

KINDS = ("exact", "certified", "converged", "lower bound")


@dataclass(frozen=True)
class Verdict:
    """How reliable an estimate is.

    - exact: nothing is latent, or all latents are integrated out; no sampling error.
    - certified: bracketed from both sides, on videos near the real ones; `width` is the bracket's.
    - converged: estimates with more draws, or by another method, agree to within `width`. There is no upper bound, and
      a posterior mode that all of them miss (far from the guide) goes unnoticed.
    - lower bound: below the evidence in expectation, by an unknown amount.

    Attributes:
        kind: one of the four.
        words: what was done, and the reasons for or against relying on it.
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
