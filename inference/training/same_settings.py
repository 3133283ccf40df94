"""Whether a run is resumed with the settings that it was trained with so far."""

from collections.abc import Mapping
from typing import Any

from inference.runs.folder import changed_fields


def check_same_settings(state: Mapping[str, Any], settings: Mapping[str, Any], flat_loss: Mapping[str, Any]) -> None:
    """Refuse other settings than those of a checkpoint; its last stage's steps may grow, stages may be added.

    Args:
        state: of the checkpoint.
        settings: now.
        flat_loss: of the run's loss now, as checkpoints of Kinema 0.1.0 recorded it.

    Raises:
        ValueError: names every change.
    """
    known = state["settings"]
    if not state.get("nested_losses"):
        settings = {**settings, "loss": flat_loss}
    last = len(known["stages"]) - 1
    added = {f"stages[{index}]" for index in range(last + 1, len(settings["stages"]))}
    changes = [
        change
        for change in changed_fields(known, settings, may_grow=[f"stages[{last}].steps"])
        if change.split(".")[0] not in added
    ]
    if changes:
        raise ValueError(f"run: cannot go on from step {state['step']} with other settings: {'; '.join(changes)}")
