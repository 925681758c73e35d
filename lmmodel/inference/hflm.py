"""lm-eval's HFLM, with the texts that are scored as a whole read as our own models read them."""

from __future__ import annotations

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM


class Reference(HFLM):
    """A transformers model that is asked for no token that is no text."""

    add_bos_token: bool | None

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Of each text as a whole, given the token that begins one.

        HFLM puts that token before the text itself. Where a tokenizer adds one too, HFLM has the model predict it,
        after another of its kind: some nats a text, for nothing that was written.
        """
        told, self.add_bos_token = self.add_bos_token, False
        try:
            return super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm)
        finally:
            self.add_bos_token = told
