"""Contract cases of KalmanGuide."""

from functools import partial

from guides import KalmanGuide
from tests.contracts.cases import GuideCase

GUIDES = {
    "KalmanGuide, collapsed": GuideCase("KalmanVAE", KalmanGuide),
    "KalmanGuide, collapsed, controls": GuideCase("KalmanVAE, controls", KalmanGuide),
    "KalmanGuide, joint": GuideCase("KalmanVAE, states drawn", partial(KalmanGuide, posterior="joint")),
    "KalmanGuide, marginals": GuideCase("KalmanVAE, states drawn", partial(KalmanGuide, posterior="marginals")),
    "KalmanGuide, MLP weights": GuideCase("KalmanVAE, MLP weights", KalmanGuide),
    "KalmanGuide, convolutions": GuideCase("KalmanVAE, convolutions", KalmanGuide),
}
