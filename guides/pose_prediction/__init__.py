"""The guide of DDPAE: poses are inferred in the first frames, and predicted for all later ones."""

from guides.pose_prediction.guide import PosePredictionGuide

__all__ = ["PosePredictionGuide"]
