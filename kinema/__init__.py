"""Generative models of objects moving in video, with guides that can be swapped: `import kinema`.

`kinema` has what most programs need (`kinema.SVI`, `kinema.train`, `kinema.log_evidence`, `kinema.load`), and modules:
`kinema.videos`, `kinema.pyro_models`, `kinema.guides`, `kinema.estimators`, `kinema.queries`, `kinema.metrics`,
`kinema.trackers`, `kinema.pictures`, `kinema.recipes`. They re-export public names: `kinema.guides.KalmanGuide` is
`guides.KalmanGuide`. Whatever is not public is imported under the name of its file, such as `inference.svi.graph`.

Raises:
    ImportError: if a module of the user hides one of the packages; it says which, and what to rename.
"""

from kinema import own_packages as _own_packages  # before what it finds

# isort: split
import inference
from inference import *
from kinema import estimators, guides, metrics, pictures, pyro_models, queries, recipes, trackers, videos

__all__ = ["estimators", "guides", "metrics", "pictures", "pyro_models", "recipes", "trackers", "videos"]
__all__ += inference.__all__
