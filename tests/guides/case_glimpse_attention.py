"""Contract cases of GlimpseAttentionGuide."""

from functools import partial

from guides import GlimpseAttentionGuide
from tests.contracts.cases import GuideCase

GUIDES = {
    "GlimpseAttentionGuide": GuideCase("AttendInferRepeat", partial(GlimpseAttentionGuide, hidden_dim=11)),
}
