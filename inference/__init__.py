"""From a model and a guide to numbers, runs and pictures."""

from inference import queries
from inference.annealing import Annealing
from inference.calibration import Calibration, calibrate
from inference.comparison import Comparison, compare
from inference.compiled_step import CompileWarning
from inference.estimators import FIVO, IWAE, VIMCO, WakeSleep
from inference.evidence import Bracket, Budget, Evidence, Pilot, Verdict, bracket, log_evidence
from inference.host_memory import keep_freed_memory
from inference.mixed_precision import mixed_precision
from inference.predictive import predictive_scores
from inference.predictive_record import PredictiveScores
from inference.runs import RunFolder
from inference.sandwich import Sandwich, sandwich
from inference.simulation import simulate
from inference.site_weights import SiteWeights
from inference.smc_sampler import SMC
from inference.stages import Stage
from inference.svi import SVI, NonFiniteError
from inference.training import TrainingResult, train

__all__ = [
    "FIVO",
    "IWAE",
    "SMC",
    "SVI",
    "VIMCO",
    "Annealing",
    "Bracket",
    "Budget",
    "Calibration",
    "Comparison",
    "CompileWarning",
    "Evidence",
    "NonFiniteError",
    "Pilot",
    "PredictiveScores",
    "RunFolder",
    "Sandwich",
    "SiteWeights",
    "Stage",
    "TrainingResult",
    "Verdict",
    "WakeSleep",
    "bracket",
    "calibrate",
    "compare",
    "keep_freed_memory",
    "log_evidence",
    "mixed_precision",
    "predictive_scores",
    "queries",
    "sandwich",
    "simulate",
    "train",
]
