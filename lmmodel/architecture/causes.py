"""What usually is behind a failed check: written for whoever reads the failure of a component that they just wrote."""

from __future__ import annotations

AT_RANDOM = (
    "The same tokens twice give different numbers in eval mode: something is drawn at random. Dropout and noise belong "
    "behind `if self.training`."
)

BEHIND_A_MASK = (
    "What is masked afterwards must be finite too, or its gradient is 0 times infinity: a logarithm or a root of a "
    "distance below 0, a division by a sum of nothing. Clamp before it."
)

CAUSES = {
    "shape": "A part gives what it was given: [B, T, D], in the type of its input. A table or constant made in float32 "
    "lifts or lowers the rest; a division by zero or an exp that is too large is no number.",
    "causality": "Usual causes: a mean, a norm or a softmax over the whole sequence; a shift or a convolution to the "
    "wrong side; a mask that is built once and cut wrongly. `attend` and `span.visible` know who sees whom.",
    "cached": "What is right for the first pass only usually counts positions from 0, as torch.arange(T) does: "
    "span.positions_BT counts from the start of the document, cache or not. Or something from before was not "
    "remembered: span.extend for tensors that grow, span.recall and span.keep for a state.",
    "ragged": "Padding is a document of its own, before the text: what sums or remembers must begin anew where "
    "span.positions_BT is 0.",
    "packed": "A document must not see the one before it in its row: take masks from `attend` or span.visible, and "
    "begin a state anew where span.positions_BT is 0.",
    "rows": "Something is computed over the first dimension, as a norm over the batch does, or is kept from one pass "
    "to the next in the module itself.",
    "gradient": "A parameter that forward never uses, a detach(), an argmax or a rounding before it, or one that is "
    "multiplied by something that is always 0.",
    "counts": "Sizes should follow from the options and `sizes` alone. What torch sees is counted by itself: "
    "mixing_flops is for the rest, a token's share of it, forward. What decoding keeps goes through the span.",
    "save": "Something that predictions depend on is a plain attribute: make it an nn.Parameter or register_buffer, or "
    "compute it from the options.",
    "first loss": "An untrained model should know nothing: about ln V. Larger means logits that are too large from the "
    "start: initial.std, embedding.scale, or a norm that does not hold numbers in hand.",
    "depth": "Every layer multiplies the stream: a norm is missing or undone, or what a part adds is too large. The "
    "initial values of `out` are divided by sqrt(2 depth) where initial.outputs is depth_scaled.",
    "bfloat16": "Eight bits are left of a number: differences of large numbers, sums over many, positions beyond 256 "
    "and exponents belong in float32 (x.float(), then back).",
    "seed": "Initial values come from `initialise(self, generator)`, never from time, numpy or a generator of its own. "
    "In eval mode nothing is drawn at all.",
}
"""By the name of the check."""
