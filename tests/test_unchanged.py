"""An output that a handler skips stays as it is, and is not made anew for the answer."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import numpy as np
import pytest
from gradio.state_holder import SessionState

from app.gradio_ext.unchanged import LeavesUnchanged


class Page(LeavesUnchanged):
    """Three outputs, and events with all and with one of them."""

    def __init__(self):
        super().__init__()
        with self:
            self.text, self.group = gr.Textbox("as it was"), gr.Group()
            self.kept = gr.State(1)
            self.all = gr.on([], lambda: None, None, [self.text, self.group, self.kept])
            self.one = gr.on([], lambda: None, None, self.text)

    def answer(self, event, predictions, way=None):
        """What the page gets of an answer, and the session after it."""
        state = SessionState(self)
        answer = (way or type(self).postprocess_data)(self, self.fns[event["id"]], predictions, state)
        with ThreadPoolExecutor(1) as apart:  # a browser of other tests runs a loop in this one
            return apart.submit(asyncio.run, answer).result(), state


@pytest.fixture(scope="module")
def page():
    return Page()


@pytest.mark.parametrize(
    "answer",
    [
        lambda page: {page.text: "new"},
        lambda page: {page.text: gr.update(value="new"), page.kept: 2},
        lambda page: {page.group: gr.update(visible=False)},
        lambda page: ["new", gr.skip(), gr.skip()],
        lambda page: ("new", gr.update(visible=False), 2),
        lambda page: gr.skip(),
        lambda page: [gr.skip(), gr.skip(), np.zeros(3)],
    ],
)
def test_the_page_gets_what_gradio_gives_it(page, answer):
    ours, state = page.answer(page.all, answer(page))
    theirs, expected = page.answer(page.all, answer(page), gr.Blocks.postprocess_data)
    assert ours == theirs
    np.testing.assert_equal(state.state_data, expected.state_data)
    assert state[page.group._id].visible == expected[page.group._id].visible


def test_a_single_output_takes_every_form(page):
    for answer in ("new", gr.skip(), gr.update(visible=False), {page.text: "new"}):
        ours, _ = page.answer(page.one, answer)
        assert ours == page.answer(page.one, answer, gr.Blocks.postprocess_data)[0]


def test_what_is_skipped_is_not_made_anew(page):
    _, state = page.answer(page.all, {page.text: gr.update(label="new")})
    assert state[page.text._id] is not page.text
    assert state[page.group._id] is page.group
    _, state = page.answer(page.all, gr.skip())
    assert state[page.text._id] is page.text


def test_an_answer_that_gradio_refuses_is_refused(page):
    with page:
        stranger = gr.Textbox(render=False)
    for wrong in (["new"], {stranger: "new"}, {}):
        with pytest.raises(ValueError):
            page.answer(page.all, wrong)
