"""What the page's technical words mean: one place for the texts that show on hover, touch and focus."""

from __future__ import annotations

import re

from markupsafe import Markup

TERMS: dict[str, str] = {
    "level": "One of the network's four grids of positions: 0 is the finest, 3 the coarsest. Each is fused "
    "on its own.",
    "head": "Each level weighs its points several times side by side, each time by its own rule. One such "
    "weighing is shown, or their mean.",
    "segmentation head": "The part of the network that names a class for every pixel: one for the fused "
    "streams, one for the RGB image, one for X.",
    "attention": "Weights, adding up to 100 %, by which a position mixes what is read at the points.",
    "balance": "Whose data a position mixes in: 0 only the RGB image's, 1 only that of X, 0.5 as much of "
    "each.",
    "entropy": "How evenly the weights are spread over all points: 0 is a single point, 1 is all points "
    "alike, which says nothing.",
    "effective points": "As if so many points shared the weights evenly and all others got none.",
    "share through attention": "How much of the fused result was read at the points; the rest is the dense "
    "context of both streams and, if the model has one, the residual.",
    "residual": "The mean of both streams' features, which some models pass on beside attention and context.",
    "context": "A dense mix of both streams that bypasses the points; it cannot be split between RGB image "
    "and X.",
    "modality weight": "How much of what is read at a point comes from X: 0 is none, 1 is all; the rest is "
    "the RGB image's.",
    "offsets": "How far the network moved each point from its place in the even grid where it started.",
    "sampling density": "Where the points gather: 1 is evenly spread, 2 is twice as many, 0 is none.",
    "point importance": "How much weight the points near a place get from the whole picture: 1 is as much as "
    "anywhere.",
    "prompts": "Small learned changes (MAPA) by which each stream tells the other what it sees, before they "
    "are fused.",
    "led by": "Which stream chose where the point lies; what is read there may come from both.",
    "input × gradient": "How the score would follow a small change of each piece of the input, times the "
    "piece itself.",
    "token": "A square of 4 × 4 pixels of the network's input, as the row of numbers that the network makes "
    "of it first.",
    "logit": "The raw number behind a class's probability: the higher, the surer.",
    "confidence": "The probability that the network gave the class that it chose. The picture's caption says "
    "whether it was checked how often that is right.",
    "class entropy": "How undecided the network is between the classes: 0 is sure of one, 1 finds all "
    "equally likely.",
    "IoU": "How far two regions overlap: the area in both, divided by the area in either. 1 is the same "
    "region, 0 none in common.",
    "mean IoU": "How far a head's regions and the true ones overlap, on average over the classes, small or "
    "large.",
    "pixel accuracy": "The share of the labelled points of the picture whose class is right.",
    "agreement": "Whether heads of one run name the same class. It does not say which of them is right.",
    "zero tokens": "The zeros that the network gets in place of a sensor that is missing or ablated.",
    "checkpoint": "A trained network in a file: what it learned, from which data, for which kind of X.",
    "encoding": "How the values of X become the three channels that the network takes.",
    "holes": "Places where the sensor measured nothing; they are filled from around before the network runs.",
}
"""Word → what it means: plain text of at most 160 letters that does without the word itself."""

INFO = {
    "level": "0 is the finest of four grids",
    "head": "one of several weighings",
    "map": "explained below its picture",
}
"""Lines below the labels of controls, where no tooltip can be."""

_TERM = Markup(
    '<dfn class="ktb-term" tabindex="0" data-term="{word}" aria-description="{said}">{shown}'
    '<small class="ktb-tip" aria-hidden="true">{said}</small></dfn>'
)


def term(word: str, shown: str | None = None) -> Markup:
    """HTML of a word that explains itself on hover, touch and keyboard focus.

    Args:
        word: a key of TERMS.
        shown: what stands on the page, plain text; None: the word.
    """
    return _TERM.format(word=word, said=TERMS[word], shown=word if shown is None else shown)


def explain(text: str, words: dict[str, str]) -> Markup:
    """Plain text as HTML in which each word explains itself where it comes first.

    Args:
        text: plain; it is escaped.
        words: phrase of the text → key of TERMS, several phrases may share one; phrases that the text lacks
            are left out.
    """
    unexplained = set(words.values())
    phrases = "|".join(re.escape(phrase) for phrase in sorted(words, key=len, reverse=True))
    parts = []
    for part in re.split(f"({phrases})", text):
        word = words.get(part)
        parts.append(term(word, part) if word in unexplained else part)
        unexplained.discard(word)
    return Markup("").join(parts)
