"""How probable videos are under a model: estimates of the log evidence, and how far to rely on them."""

from inference.evidence.automatic import Budget
from inference.evidence.bracket import Bracket, bracket
from inference.evidence.estimate import log_evidence
from inference.evidence.pilot import Pilot
from inference.evidence.record import Evidence
from inference.evidence.verdict import Verdict

__all__ = ["Bracket", "Budget", "Evidence", "Pilot", "Verdict", "bracket", "log_evidence"]
