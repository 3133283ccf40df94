"""Options for the evidence, of `kinema evaluate` and `kinema compare`."""

from dataclasses import dataclass, replace
from typing import Annotated

import tyro

from inference.evidence import Budget
from inference.evidence.automatic import RUNGS, USUAL
from inference.recipes import OptionError


@dataclass(frozen=True, kw_only=True)
class EvidenceOptions:
    """How much to spend on the evidence.

    Attributes:
        evidence_particles: maximum number of particles per repeat, at least 32; None = 2048.
        populations: run annealed SMC on videos whose cheaper estimates have not converged; slow.
        certify: bracket from both sides the evidence of videos sampled from the model close to the test videos.
    """

    evidence_particles: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    populations: tyro.conf.FlagCreatePairsOff[bool] = False
    certify: tyro.conf.FlagCreatePairsOff[bool] = False

    @property
    def budget(self) -> Budget:
        """The budget for `log_evidence`.

        Raises:
            OptionError: for too few particles.
        """
        given = self.evidence_particles
        if given is not None and given < RUNGS[0]:
            raise OptionError(
                f"--evidence-particles: expected at least {RUNGS[0]} particles per repeat, got {given}; "
                f"leave it out for the default of {USUAL}"
            )
        budget = Budget(populations=self.populations, certify=self.certify)
        return budget if given is None else replace(budget, particles=given)
