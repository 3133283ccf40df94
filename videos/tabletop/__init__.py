"""Scenes like those of CLEVRER: solids on a table, by ray casting."""

from videos.tabletop.kinds import COLORS, MATERIALS, SHAPES, kind_label, kind_parts
from videos.tabletop.scenes import TabletopScenes

__all__ = ["COLORS", "MATERIALS", "SHAPES", "TabletopScenes", "kind_label", "kind_parts"]
