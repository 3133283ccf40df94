"""People who walk past a static camera, as silhouettes in a foreground mask (after Fleuret et al. 2008)."""

from pyro_models.walking_people.foreground import ForegroundPixels
from pyro_models.walking_people.model import WalkingPeople
from pyro_models.walking_people.silhouette import Silhouette

__all__ = ["ForegroundPixels", "Silhouette", "WalkingPeople"]
