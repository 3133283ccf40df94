"""Sequential Attend, Infer, Repeat (Kosiorek et al. 2018): objects that enter, move and leave."""

from pyro_models.sqair.model import SequentialAttendInferRepeat

__all__ = ["SequentialAttendInferRepeat"]
