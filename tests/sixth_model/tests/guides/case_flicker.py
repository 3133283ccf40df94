"""Contract case of flicker's guide."""

from guides.flicker_reader import FlickerReader
from tests.contracts.cases import GuideCase

GUIDES = {"FlickerReader": GuideCase("Flicker", FlickerReader)}
