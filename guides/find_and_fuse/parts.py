"""Do the parts of a guide go with one another and with its model?"""

from typing import Any

from guides.find_and_fuse.encoder import AIREncoder
from guides.find_and_fuse.motion import MotionFuser
from guides.find_and_fuse.rectifier import Rectifier
from pyro_models.vtssi.model import DisentangledStateSpaceModel
from pyro_models.vtssi.object_scenes import ObjectScenes


def check_encoder(encoder: Any, scenes: ObjectScenes) -> None:
    """Refuse what is no encoder, or one of other scenes.

    Raises:
        TypeError: if it is none.
        ValueError: if its sizes are not those of the scenes.
    """
    if not isinstance(encoder, AIREncoder):
        raise TypeError(
            f"encoder: expected an AIREncoder, got {type(encoder).__name__}; every variant reads at least one frame "
            "with it, and a rectifier makes its consensus of what it proposes"
        )
    for name in ("num_objects", "what_dim", "glimpse_size"):
        _compare("encoder", encoder, scenes, name)


def check_parts(model: DisentangledStateSpaceModel, encoder: Any, finder: Any, rectifier: Any, fuser: Any) -> None:
    """Refuse parts that make no guide of the model.

    Raises:
        TypeError: if a part is of another kind.
        ValueError: if a part was made for another model, or a fuser is missing or idle.
    """
    check_encoder(encoder, model.scenes)
    if not callable(getattr(finder, "look", None)) or not callable(finder):
        raise TypeError(
            f"finder: expected a module with the methods look and forward, got {type(finder).__name__}; see Finder"
        )
    if rectifier is not None:
        if not isinstance(rectifier, Rectifier):
            raise TypeError(
                f"rectifier: expected a Rectifier or None, got {type(rectifier).__name__}; write Rectifier(...)"
            )
        for name in ("num_objects", "what_dim"):
            _compare("rectifier", rectifier, model.scenes, name)
    if fuser is not None and not isinstance(fuser, MotionFuser):
        raise TypeError(f"fuser: expected a MotionFuser or None, got {type(fuser).__name__}; write MotionFuser(model)")
    if fuser is None and model.first_motion is not None:
        raise ValueError(
            f"fuser: expected a MotionFuser for a model with motion from frame {model.first_motion} on, got None; give "
            "MotionFuser(model), or a model with first_motion=None"
        )
    if fuser is not None:
        if model.first_motion is None:
            raise ValueError(
                "fuser: expected None for a model without motion, got a MotionFuser; leave it out, or give the model a "
                "first_motion"
            )
        _compare("fuser", fuser, model, "motion_dim")
        _compare("fuser", fuser, model.scenes, "what_dim")


def _compare(argument: str, part: Any, wanted: Any, name: str) -> None:
    if getattr(part, name) != getattr(wanted, name):
        raise ValueError(
            f"{argument}: expected one with {name} = {getattr(wanted, name)}, as the model has, got "
            f"{getattr(part, name)}; make it of this model"
        )
