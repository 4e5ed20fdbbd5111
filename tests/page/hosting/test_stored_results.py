"""Stored results of the examples: up to date, small, shown at once, and never for another checkpoint."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from helpers.page.browsing import new_tab
from helpers.page.served import serving

from app.layout import offered
from app.service import Service
from app.widgets.stored_results import FOLDER, pack, stored_result
from ktb.checkpoints.registry import built_in_models
from ktb.config import BRANCHES
from tools.store_examples import predictions

pytestmark = pytest.mark.usefixtures("one_thread")
WITH_EXAMPLES = [name for name in built_in_models() if name != "ktb-lite-street-thermal"]
OUTDATED = "the stored results are outdated; run: python -m tools.store_examples"
MAX_BYTES = 200_000  # of a checkpoint's four results


@pytest.fixture
def service() -> Service:
    """A service with the embedded models themselves."""
    return Service()


def stored(service: Service, model: str, number: int = 0, checkpoint=None):
    config = service.config(model)
    example = offered(config.inputs, None).pairs[number]
    rgb = service.read_rgb(str(example.rgb))
    return stored_result(model, checkpoint or service.file(model), config, example, rgb)


@pytest.mark.parametrize("model", WITH_EXAMPLES)
def test_every_example_has_a_stored_result_of_the_embedded_checkpoint(service, model):
    pairs = offered(service.inputs(model), None).pairs
    assert len(pairs) == 4
    found = [stored(service, model, number) for number in range(4)]
    assert all(result is not None for result in found), OUTDATED
    assert (FOLDER / f"{model}.npz").stat().st_size < MAX_BYTES


@pytest.mark.parametrize("model", WITH_EXAMPLES)
def test_stored_results_are_those_of_a_run(service, model):
    example, prediction = next(iter(predictions(model).items()))
    kept = stored(service, model).prediction
    for branch in BRANCHES:
        assert np.mean(kept.labels[branch] == prediction.labels[branch]) > 0.999, OUTDATED
    ours, theirs = ({row.name: row for row in one.class_table()} for one in (kept, prediction))
    assert ours.keys() == theirs.keys(), OUTDATED
    for name in ours:
        assert ours[name].share == pytest.approx(theirs[name].share, abs=1e-3), OUTDATED
        assert ours[name].confidence == pytest.approx(theirs[name].confidence, abs=1e-2), OUTDATED
    assert kept.x.warnings == prediction.x.warnings, OUTDATED
    assert kept.x.summary == prediction.x.summary, OUTDATED
    checkpoint = service.file(model)
    assert pack(checkpoint, {example: prediction}) == pack(checkpoint, {example: prediction})


def test_another_checkpoint_of_the_same_name_has_none(service, tmp_path):
    model = service.models[0]
    other = tmp_path / f"{model}.safetensors"
    shutil.copy(service.file(model), other)
    assert stored(service, model, checkpoint=other) is not None
    other = tmp_path / "other.safetensors"
    other.write_bytes(service.file(model).read_bytes() + b"\0")
    assert stored(service, model, checkpoint=other) is None
    assert stored_result("no model", service.file(model), service.config(model), None, None) is None


def test_the_stored_masks_do_not_wait_for_a_busy_network(service, tmp_path, browser):
    service.predictor(service.models[0]).short_side = 64
    viewer = "document.querySelector('.ktb-v')?.ktbViewer"
    with serving(service, tmp_path) as page:
        context = browser.new_context()
        tab = new_tab(context, page.local_url)
        with service.scheduler.single():
            tab.locator("#ktb-examples button.thumbnail-item").nth(1).click()
            tab.wait_for_function(f"{viewer}?.header.is_stored")
            assert "stored result" in tab.inner_text(".ktb-v-doubts")
            labels = tab.evaluate(f"Array.from({viewer}.bundle.array('labels.fused').data)")
            kept = stored(service, service.models[0], 1).prediction.labels["fused"]
            assert np.array_equal(np.reshape(labels, kept.shape), kept)
            tab.locator(".ktb-v canvas").first.click()
            assert "The network predicts" in tab.inner_text(".ktb-v-headline")
        tab.wait_for_function(f"{viewer}.header.run && !{viewer}.header.is_stored")
        assert "stored result" not in tab.inner_text(".ktb-v-doubts")
        context.close()
