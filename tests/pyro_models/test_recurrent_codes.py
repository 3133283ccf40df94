"""Recurrent codes: the stages, the density written out, what freezing means."""

import pyro
import pytest
import torch
from pyro import poutine
from torch.distributions import Bernoulli, Normal

from guides import describe_sites
from pyro_models import RecurrentCodes
from pyro_models.components.frame_networks import MLPDecoder
from pyro_models.recurrent_codes.code_predictors import BidirectionalPredictor, ForwardPredictor

SEQUENCES, TIME, CODE, CONTROL = 5, 7, 2, 3
FRAME = (1, 3, 4)
DTYPE = torch.float64


def small_model(predictor="forward", control_dim=CONTROL, likelihood="bernoulli"):
    decoder = MLPDecoder(CODE, FRAME, hidden=(6,))
    return RecurrentCodes(
        FRAME, code_dim=CODE, control_dim=control_dim, predictor=predictor, decoder=decoder, likelihood=likelihood
    ).double()


def arguments(missing=False):
    frames = torch.bernoulli(torch.full((SEQUENCES, TIME, *FRAME), 0.3, dtype=DTYPE))
    controls = torch.randn(SEQUENCES, TIME, CONTROL, dtype=DTYPE)
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, 3:5] = False
    observed[2, 0] = False
    return frames, observed if missing else None, controls


def freeze(module):
    for parameter in module.parameters():
        parameter.requires_grad_(False)


def test_sites_of_each_stage():
    model = small_model()
    table = describe_sites(model, *arguments())
    assert table.names == ("a", "frames")
    assert table["a"].batch_shape == (SEQUENCES,)
    assert table["a"].event_shape == (TIME, CODE)
    assert table["frames"].batch_shape == (TIME, SEQUENCES)
    freeze(model.predictor)
    assert describe_sites(model, *arguments()).names == ("a", "frames")
    for parameter in model.predictor.parameters():
        parameter.requires_grad_(True)
    freeze(model.decoder)
    assert describe_sites(model, *arguments()).names == ("a",)


def test_the_stage_follows_from_what_is_frozen():
    model = small_model()
    assert model.stage == "whole"
    freeze(model.decoder)
    assert model.stage == "codes"
    assert model.eval().stage == "whole"
    freeze(model.train().predictor)
    assert model.stage == "whole"
    for parameter in model.decoder.parameters():
        parameter.requires_grad_(True)
    assert model.stage == "frames"


def test_patterns_of_what_a_stage_freezes():
    assert small_model().frozen("whole") == ()
    assert small_model().frozen("frames") == ("model.predictor.*",)
    assert small_model().frozen("codes") == ("model.decoder.*", "guide.encoder.*")
    grey = small_model(likelihood="gaussian")
    assert grey.frozen("codes") == ("model.decoder.*", "model.likelihood.*", "guide.encoder.*")
    with pytest.raises(ValueError, match="stage: expected one of frames, codes, whole, got 'latents'"):
        small_model().frozen("latents")


@pytest.mark.parametrize("missing", [False, True])
def test_log_density_of_a_draw_is_the_sum_written_out(missing):
    model = small_model()
    frames, observed, controls = arguments(missing)
    trace = poutine.trace(model).get_trace(frames, observed, controls)
    codes = trace.nodes["a"]["value"]
    seen = torch.ones(SEQUENCES, TIME, dtype=torch.bool) if observed is None else observed
    predictor = model.predictor
    # the predictor's own completion of the seen codes is what it was fed
    fed = predictor.complete(codes, seen, controls)
    inputs = torch.cat([fed[:, :-1], controls[:, 1:]], -1)
    means = torch.cat([predictor.initial_mean.expand(SEQUENCES, 1, CODE), predictor.head(predictor.lstm(inputs)[0])], 1)
    scales = torch.cat([predictor.initial_log_scale.exp()[None], predictor.log_scale.exp().expand(TIME - 1, CODE)])
    log_code = Normal(means, scales).log_prob(codes).sum(-1)
    log_frame = Bernoulli(logits=model.decoder(codes)).log_prob(frames).flatten(2).sum(2)
    torch.testing.assert_close(trace.log_prob_sum(), ((log_code + log_frame) * seen).sum())


@pytest.mark.parametrize("missing", [False, True])
def test_auto_encoder_stage_knows_no_time(missing):
    model = small_model()
    freeze(model.predictor)
    frames, observed, controls = arguments(missing)
    trace = poutine.trace(model).get_trace(frames, observed, controls)
    codes = trace.nodes["a"]["value"]
    seen = torch.ones(SEQUENCES, TIME, dtype=torch.bool) if observed is None else observed
    log_code = Normal(0, 1).log_prob(codes).sum(-1)
    log_frame = Bernoulli(logits=model.decoder(codes)).log_prob(frames).flatten(2).sum(2)
    torch.testing.assert_close(trace.log_prob_sum(), ((log_code + log_frame) * seen).sum())


def test_codes_stage_is_the_law_of_codes_alone():
    model = small_model()
    frames, observed, controls = arguments(missing=True)
    whole = poutine.trace(model).get_trace(frames, observed, controls)
    whole.compute_log_prob()
    freeze(model.decoder)
    codes = poutine.trace(poutine.replay(model, whole)).get_trace(frames, observed, controls)
    torch.testing.assert_close(codes.log_prob_sum(), whole.nodes["a"]["log_prob_sum"])


@pytest.mark.parametrize("predictor", ["forward", "bidirectional"])
def test_particles_are_scored_one_by_one(predictor):
    model = small_model(predictor)
    frames, observed, controls = arguments(missing=True)
    with pyro.plate("particles", 3, dim=-3):
        pyro.set_rng_seed(4)
        trace = poutine.trace(model).get_trace(frames, observed, controls)
    assert trace.nodes["a"]["value"].shape == (3, 1, SEQUENCES, TIME, CODE)
    trace.compute_log_prob()
    assert trace.nodes["a"]["log_prob"].shape == (3, 1, SEQUENCES)
    assert trace.nodes["frames"]["log_prob"].shape == (3, TIME, SEQUENCES)
    pyro.set_rng_seed(4)  # the same steps are hidden from a bidirectional predictor
    alone = poutine.trace(poutine.condition(model, {"a": trace.nodes["a"]["value"][1, 0]}))
    alone = alone.get_trace(frames, observed, controls)
    alone.compute_log_prob()
    for name in ("a", "frames"):
        together = trace.nodes[name]["log_prob"][1].reshape(alone.nodes[name]["log_prob"].shape)
        torch.testing.assert_close(together, alone.nodes[name]["log_prob"])


def test_predictors_by_name():
    assert isinstance(small_model("forward").predictor, ForwardPredictor)
    assert isinstance(small_model("bidirectional").predictor, BidirectionalPredictor)
    own = ForwardPredictor(CODE, hidden_dim=3, control_dim=CONTROL)
    assert small_model(own).predictor is own
    assert RecurrentCodes().predictor.lstm.hidden_size == 64


def test_messages():
    with pytest.raises(ValueError, match="predictor: expected one of bidirectional, forward, got 'lstm'"):
        RecurrentCodes(predictor="lstm")
    frames, _, controls = arguments()
    with pytest.raises(ValueError, match="frames: expected"):
        small_model()(frames[:, :, 0], None, controls)
    with pytest.raises(ValueError, match="controls: expected"):
        small_model()(frames)
