"""Outputs that a handler leaves as they are cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import gradio as gr

from app.gradio_ext.uploads import UploadedOnly


class LeavesUnchanged(UploadedOnly):
    """A page that does not touch the outputs which a handler skips.

    Gradio makes each of them anew with its schema, about a millisecond per output and answer.
    """

    async def postprocess_data(self, block_fn, predictions: list[Any] | dict[Any, Any], state):
        """As Gradio's: what the page gets of a handler's answer, a value per output."""
        values = _by_output(block_fn.outputs, predictions)
        changed = [index for index, value in enumerate(values) if not _is_skip(value)]
        if len(changed) == len(values):
            return await super().postprocess_data(block_fn, predictions, state)
        answer: list[Any] = [None if output.stateful else gr.skip() for output in block_fn.outputs]
        if changed:
            few = copy(block_fn)
            few.outputs = [block_fn.outputs[index] for index in changed]
            given = [values[index] for index in changed]
            found = await super().postprocess_data(few, given if len(given) > 1 else given[0], state)
            for index, value in zip(changed, found):
                answer[index] = value
        return answer


def _is_skip(value: Any) -> bool:
    return isinstance(value, dict) and value == gr.skip()


def _by_output(outputs: Sequence[Any], answer: Any) -> list[Any]:
    """What a handler's answer, in any form that Gradio takes, says of each output; [] where it is wrong."""
    if len(outputs) > 1 and isinstance(answer, dict):
        if _is_skip(answer):
            return [answer for _ in outputs]
        is_known = answer and answer.keys() <= set(outputs)
        return [answer.get(output, gr.skip()) for output in outputs] if is_known else []
    if len(outputs) > 1:
        return list(answer) if isinstance(answer, list | tuple) and len(answer) == len(outputs) else []
    return [answer for _ in outputs]
