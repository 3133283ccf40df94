"""Records show themselves in a few lines, as text and as HTML, without reading values from another device."""

import pytest
import torch

from inference.evidence.record import Evidence, summaries
from inference.evidence.verdict import Verdict
from inference.queries.ask import Generation
from inference.queries.imputation import Imputation
from pyro_models.components.scene import Scene
from videos import VideoBatch


def evidence(draws=100, sequences=500):
    weights = torch.randn(draws, sequences, dtype=torch.float64) - 200
    words = "particle filters, <8> repeats" + " and more" * 300
    return Evidence(
        weights,
        **summaries(weights),
        seed=0,
        particles_per_chunk=50,
        sequences_per_chunk=50,
        verdict=Verdict("converged", words, 0.1),
    )


def imputation(device="cpu", sites=40):
    frames = torch.zeros(50, 20, 1, 32, 32, device=device)
    observed = torch.arange(20, device=device).expand(50, 20) < 15
    latents = {f"z_{index}": torch.zeros(50, 20, 2, device=device) for index in range(sites)}
    return Imputation(frames, observed, latents, method="smoothing")


def batch(device="cpu"):
    frames = torch.zeros(50, 20, 1, 32, 32, device=device)
    return VideoBatch(
        frames, observed=torch.zeros(50, 20, dtype=torch.bool, device=device), positions=frames[..., 0, :2]
    )


def scene(device="cpu"):
    return Scene(presence=torch.zeros(50, 20, 3, device=device), positions=torch.zeros(50, 20, 3, 2, device=device))


def generation(device="cpu"):
    return Generation(torch.zeros(50, 20, 1, 32, 32, device=device), {"a": torch.zeros(50, 20, 2, device=device)})


RECORDS = {
    "Generation": generation,
    "Evidence": evidence,
    "Imputation": imputation,
    "VideoBatch": batch,
    "Scene": scene,
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_few_lines(name):
    record = RECORDS[name]()
    text, page = repr(record), record._repr_html_()
    assert text.startswith(name)
    assert text.count("\n") < 16
    assert len(text) < 1000
    assert len(page) < 2000
    assert page.count("<tr>") == text.count("\n")
    assert "tensor(" not in text


@pytest.mark.parametrize("make", [imputation, batch, scene, generation])
def test_no_value_is_read_from_another_device(make):
    text = repr(make("meta"))  # tensors of this device have no values: reading one raises
    assert "meta" in text
    assert "missing" not in text


def test_numbers_are_those_of_the_record():
    record = evidence(sequences=4)
    text = repr(record)
    assert f"{record.log_evidence.mean().item():.2f} ± " in text
    assert f"{record.effective_sample_size.mean().item():.1f} of 100" in text
    assert "verdict                converged: particle filters, <8> repeats" in text
    assert "&lt;8&gt;" in record._repr_html_()
    assert "250 of 1000 frames" in repr(imputation())
    assert "29 more" in repr(imputation(sites=39))
    assert "1000 of 1000 frames missing" in repr(batch())


def test_an_evidence_of_one_draw_shows_itself():
    weights = torch.tensor([[-3.0]], dtype=torch.float64)
    record = Evidence(weights, **summaries(weights), seed=0, particles_per_chunk=1, sequences_per_chunk=1)
    assert "-3.00 nats per sequence" in repr(record)
    assert "unknown: too few draws" in repr(record)
