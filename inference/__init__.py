"""From a model and a guide to numbers, runs and pictures."""

from inference.runtime import waiting_threads as _waiting_threads  # noqa: F401 - before anything that imports torch

# isort: split
from inference import queries
from inference.annealing.smc import SMC
from inference.annealing.walks import Annealing
from inference.estimators import FIVO, IWAE, VIMCO, WakeSleep
from inference.estimators.count_boundary import CountBoundary
from inference.estimators.first_frames import FirstFrames
from inference.estimators.intermediate_bounds import IntermediateBounds
from inference.estimators.objective import Objective
from inference.estimators.own_loss import OwnLoss
from inference.estimators.refinement_bounds import RefinementBounds
from inference.evidence import Bracket, Budget, Evidence, Pilot, Verdict, bracket, log_evidence
from inference.evidence.calibration import Calibration, calibrate
from inference.evidence.comparison import Comparison, compare
from inference.evidence.sandwich import Sandwich, sandwich
from inference.experiments.load import LoadedRun, load
from inference.experiments.runs import train_recipe
from inference.predictive.estimate import predictive_scores
from inference.predictive.record import PredictiveScores
from inference.programs.simulation import simulate
from inference.recipes import register
from inference.runs.folder import RunFolder
from inference.runtime.host_memory import keep_freed_memory
from inference.svi.compiled import CompileWarning
from inference.svi.mixed_precision import mixed_precision
from inference.svi.site_weights import SiteWeights
from inference.svi.step import SVI, NonFiniteError
from inference.svi.weighted_sum import Term, WeightedSum
from inference.training.loggers import Logger
from inference.training.stages import Stage
from inference.training.train import TrainingOptions, TrainingResult, train

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
    "CountBoundary",
    "Evidence",
    "FirstFrames",
    "IntermediateBounds",
    "LoadedRun",
    "Logger",
    "NonFiniteError",
    "Objective",
    "OwnLoss",
    "Pilot",
    "PredictiveScores",
    "RefinementBounds",
    "RunFolder",
    "Sandwich",
    "SiteWeights",
    "Stage",
    "Term",
    "TrainingOptions",
    "TrainingResult",
    "Verdict",
    "WakeSleep",
    "WeightedSum",
    "bracket",
    "calibrate",
    "compare",
    "keep_freed_memory",
    "load",
    "log_evidence",
    "mixed_precision",
    "predictive_scores",
    "queries",
    "register",
    "sandwich",
    "simulate",
    "train",
    "train_recipe",
]
