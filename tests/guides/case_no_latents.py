"""Contract cases of NoLatentsGuide."""

from guides import NoLatentsGuide
from tests.contracts.cases import GuideCase

GUIDES = {
    "NoLatentsGuide": GuideCase("EncoderDecoderLSTM", NoLatentsGuide),
    "NoLatentsGuide, controls": GuideCase("EncoderDecoderLSTM, controls", NoLatentsGuide),
    "NoLatentsGuide of RelationalNeuralEM": GuideCase("RelationalNeuralEM", NoLatentsGuide),
    "NoLatentsGuide of RelationalNeuralEM, mixture": GuideCase("RelationalNeuralEM, mixture", NoLatentsGuide),
}
