"""Iterative amortized inference: any guide, the prior or constants, refined by learned steps on the model's bound.

guide.py puts the parts together: where it starts (starts.py), what is refined (site_parameters.py), the bound that is
climbed (inner_bound.py, noise.py), a step (walk.py), its rule (updates.py), further inputs (taps.py), and values for
queries (completion.py). What training differentiates is in guides/gradient_modes.py.
"""

from guides.iterative_refinement.guide import IterativeRefinementGuide
from guides.iterative_refinement.site_parameters import Shift
from guides.iterative_refinement.updates import LearnedUpdate, SiteView

__all__ = ["IterativeRefinementGuide", "LearnedUpdate", "Shift", "SiteView"]
