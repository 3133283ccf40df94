"""Typed configurations, each of which reproduces one row of one paper."""

from inference.recipes.air import RECIPES as AIR
from inference.recipes.air_per_frame import RECIPES as AIR_PER_FRAME
from inference.recipes.baselines import RECIPES as BASELINES
from inference.recipes.cannonballs import RECIPES as CANNONBALLS
from inference.recipes.kalman_vae import RECIPES as KALMAN_VAE
from inference.recipes.pedestrians import RECIPES as PEDESTRIANS
from inference.recipes.recipe import OptionError, Recipe, Splits
from inference.recipes.sqair import RECIPES as SQAIR
from inference.recipes.vrnn import RECIPES as VRNN

RECIPES: dict[str, Recipe] = {
    **KALMAN_VAE,
    **BASELINES,
    **AIR,
    **CANNONBALLS,
    **SQAIR,
    **AIR_PER_FRAME,
    **VRNN,
    **PEDESTRIANS,
}
"""Name on the command line -> recipe."""

__all__ = ["RECIPES", "OptionError", "Recipe", "Splits"]
