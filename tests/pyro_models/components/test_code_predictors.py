"""Predictors of codes: densities by hand, causality, what is read where codes are missing."""

import torch
from torch.distributions import Normal

from pyro_models.recurrent_codes.code_predictors import BidirectionalPredictor, ForwardPredictor

SEQUENCES, TIME, CODE, CONTROL = 5, 7, 2, 3
DTYPE = torch.float64


def scrambled(predictor):
    for parameter in predictor.parameters():
        parameter.data = 0.5 * torch.randn_like(parameter, dtype=DTYPE)
    return predictor


def codes_and_controls():
    return torch.randn(SEQUENCES, TIME, CODE, dtype=DTYPE), torch.randn(SEQUENCES, TIME, CONTROL, dtype=DTYPE)


def some_missing():
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, 3:5] = False
    observed[2, 0] = False
    observed[4, 4:] = False
    return observed


def lstm_by_hand(predictor, inputs):
    """Outputs of the forward LSTM and its head for one sequence, cell by cell."""
    lstm = predictor.lstm
    hidden = cell = torch.zeros(lstm.hidden_size, dtype=DTYPE)
    outputs = []
    for value in inputs:
        gates = lstm.weight_ih_l0 @ value + lstm.bias_ih_l0 + lstm.weight_hh_l0 @ hidden + lstm.bias_hh_l0
        enter, forget, candidate, leave = gates.chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        outputs.append(predictor.head(hidden))
    return outputs


def test_forward_density_by_hand():
    predictor = scrambled(ForwardPredictor(CODE, hidden_dim=4, control_dim=CONTROL))
    codes, controls = codes_and_controls()
    log_prob = predictor.law(SEQUENCES, TIME, None, controls).log_prob(codes)
    assert log_prob.shape == (SEQUENCES,)
    for sequence in range(SEQUENCES):
        # the prediction of step t is made from the code of t - 1 and the control that leads to t
        inputs = [torch.cat([codes[sequence, t - 1], controls[sequence, t]]) for t in range(1, TIME)]
        expected = Normal(predictor.initial_mean, predictor.initial_log_scale.exp()).log_prob(codes[sequence, 0]).sum()
        for step, prediction in enumerate(lstm_by_hand(predictor, inputs), start=1):
            expected = expected + Normal(prediction, predictor.log_scale.exp()).log_prob(codes[sequence, step]).sum()
        torch.testing.assert_close(log_prob[sequence], expected)


def test_forward_law_with_everything_seen_is_the_law_without_a_mask():
    predictor = scrambled(ForwardPredictor(CODE, hidden_dim=4, control_dim=CONTROL))
    codes, controls = codes_and_controls()
    seen = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    plain, masked = predictor.law(SEQUENCES, TIME, None, controls), predictor.law(SEQUENCES, TIME, seen, controls)
    torch.testing.assert_close(masked.log_prob(codes), plain.log_prob(codes))
    assert torch.equal(predictor.complete(codes, seen, controls), codes)


def test_forward_law_of_one_frame():
    predictor = scrambled(ForwardPredictor(CODE, hidden_dim=4))
    codes = torch.randn(SEQUENCES, 1, CODE, dtype=DTYPE)
    expected = Normal(predictor.initial_mean, predictor.initial_log_scale.exp()).log_prob(codes).sum((-1, -2))
    torch.testing.assert_close(predictor.law(SEQUENCES, 1, None, None).log_prob(codes), expected)
    assert predictor.law(SEQUENCES, 1, None, None).rsample().shape == (SEQUENCES, 1, CODE)


def test_forward_completion_is_fed_its_own_output_and_is_causal():
    predictor = scrambled(ForwardPredictor(CODE, hidden_dim=4, control_dim=CONTROL))
    codes, controls = codes_and_controls()
    observed = some_missing()
    completed = predictor.complete(codes, observed, controls)
    torch.testing.assert_close(completed[observed], codes[observed])
    # the completed sequence is a fixed point: predicting from it gives the imputed codes
    predictions = predictor.predict(completed, None, controls)
    torch.testing.assert_close(completed[~observed], predictions[~observed])
    changed = codes.clone()
    changed[:, 5:] += 1
    torch.testing.assert_close(predictor.complete(changed, observed, controls)[:, :5], completed[:, :5])


def test_forward_draws_have_the_density_that_is_claimed():
    predictor = scrambled(ForwardPredictor(CODE, hidden_dim=4))
    law = predictor.law(SEQUENCES, TIME, None, None)
    draws = law.rsample(torch.Size([20_000]))
    assert draws.shape == (20_000, SEQUENCES, TIME, CODE)
    # standardised errors of one-step predictions are independent standard normals
    errors = (draws - predictor.predict(draws, None, None)) / predictor.scales(TIME)
    count = errors.shape[0] * SEQUENCES
    assert errors.mean((0, 1)).abs().max() < 5 / count**0.5
    assert (errors.square().mean((0, 1)) - 1).abs().max() < 5 * (2 / count) ** 0.5
    assert law.expand(torch.Size([3, 1, SEQUENCES])).rsample().shape == (3, 1, SEQUENCES, TIME, CODE)


def test_bidirectional_scores_hidden_codes_from_visible_ones_only():
    predictor = scrambled(BidirectionalPredictor(CODE, hidden_dim=4, control_dim=CONTROL, keep_first=2))
    codes, controls = codes_and_controls()
    law = predictor.law(SEQUENCES, TIME, None, controls)
    assert not law.hidden[:, :2].any()
    assert law.hidden.any()
    assert torch.equal(law.visible, ~law.hidden)
    observed = some_missing()
    masked = predictor.law(SEQUENCES, TIME, observed, controls)
    assert masked.hidden.any()
    assert not (masked.hidden & masked.visible).any()
    assert torch.equal(masked.hidden | masked.visible, observed)
    # given the visible codes each hidden one has a Gaussian of its own: changing one moves only its own term
    predictions = predictor.predict(codes, law.visible, controls)
    terms = Normal(predictions, predictor.log_scale.exp()).log_prob(codes).sum(-1)
    torch.testing.assert_close(law.log_prob(codes), (terms * law.hidden).sum(-1))
    scrambled_codes = torch.where(law.hidden.unsqueeze(-1), 9.0, codes)
    torch.testing.assert_close(predictor.predict(scrambled_codes, law.visible, controls), predictions)


def test_bidirectional_imputes_from_both_sides():
    predictor = scrambled(BidirectionalPredictor(CODE, hidden_dim=4))
    codes = torch.randn(SEQUENCES, TIME, CODE, dtype=DTYPE, requires_grad=True)
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[:, 3] = False
    completed = predictor.complete(codes, observed, None)
    completed[:, 3].sum().backward()
    used = codes.grad.abs().sum((0, 2)) > 0
    assert used.tolist() == [True, True, True, False, True, True, True]
    torch.testing.assert_close(completed[observed], codes[observed])


def test_hidden_share_runs_from_nothing_to_all():
    predictor = BidirectionalPredictor(CODE, hidden_dim=4, keep_first=2)
    shares = predictor.law(4000, 22, None, None).hidden[:, 2:].double().mean(1)
    assert shares.min() < 0.05
    assert shares.max() > 0.95
    assert abs(shares.mean().item() - 0.5) < 0.03


def test_evaluation_hides_every_second_code_and_can_be_repeated():
    predictor = scrambled(BidirectionalPredictor(CODE, hidden_dim=4, keep_first=2)).eval()
    codes, _ = codes_and_controls()
    law = predictor.law(SEQUENCES, TIME, None, None)
    assert law.hidden.tolist() == SEQUENCES * [[False, False, True, False, True, False, True]]
    assert torch.equal(law.log_prob(codes), predictor.law(SEQUENCES, TIME, None, None).log_prob(codes))


def test_missing_codes_are_never_read():
    codes, controls = codes_and_controls()
    observed = some_missing()
    spoiled = torch.where(observed.unsqueeze(-1), codes, float("nan"))
    blank = torch.where(observed.unsqueeze(-1), codes, 0.0)
    for predictor in [
        scrambled(ForwardPredictor(CODE, hidden_dim=4, control_dim=CONTROL)),
        scrambled(BidirectionalPredictor(CODE, hidden_dim=4, control_dim=CONTROL, keep_first=1)),
    ]:
        results = []
        for values in (spoiled, blank):
            torch.manual_seed(3)
            predictor.zero_grad()
            law = predictor.law(SEQUENCES, TIME, observed, controls)
            log_prob = law.expand(torch.Size([2, 1, SEQUENCES])).log_prob(values)
            log_prob.sum().backward()
            gradients = [parameter.grad.clone() for parameter in predictor.parameters() if parameter.grad is not None]
            results.append([log_prob, predictor.complete(values, observed, controls), *gradients])
        assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
        assert all(value.isfinite().all() for value in results[0])


def test_the_first_control_is_never_used():
    codes, controls = codes_and_controls()
    spoiled = controls.clone()
    spoiled[:, 0] = float("nan")
    observed = some_missing()
    for predictor in [
        scrambled(ForwardPredictor(CODE, hidden_dim=4, control_dim=CONTROL)),
        scrambled(BidirectionalPredictor(CODE, hidden_dim=4, control_dim=CONTROL)),
    ]:
        assert torch.equal(predictor.complete(codes, observed, spoiled), predictor.complete(codes, observed, controls))


def test_forward_control_of_step_t_moves_the_prediction_of_step_t_and_not_earlier_ones():
    predictor = scrambled(ForwardPredictor(CODE, hidden_dim=4, control_dim=CONTROL))
    codes, controls = codes_and_controls()
    changed = controls.clone()
    changed[:, 4] += 1
    for observed in (None, torch.ones(SEQUENCES, TIME, dtype=torch.bool)):
        moved = predictor.predict(codes, observed, changed) - predictor.predict(codes, observed, controls)
        assert torch.equal(moved[:, :4], torch.zeros_like(moved[:, :4]))
        assert (moved[:, 4] != 0).all()
