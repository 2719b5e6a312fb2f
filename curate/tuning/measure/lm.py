"""A model with several adapters as lm-evaluation-harness wants one: each request is answered for all arms at once.

Imported only where its extra is installed (:mod:`curate.tuning.harness`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from curate.errors import RecipeError
from curate.tuning.measure.answers import answer
from curate.tuning.measure.losses import score
from curate.tuning.templates import dated

_SPOKEN = 256  # tokens of an answer where a task names no max_gen_toks: lm-evaluation-harness's own default


class Asked(TemplateLM):  # type: ignore[misc]
    """Answers the harness's requests for one arm, :attr:`arm`, and remembers what the others would answer.

    Without a model every answer is empty and every likelihood the same: to count what a task asks.
    """

    def __init__(
        self, model: Any, arms: int, tokenizer: Any, length: int, stops: frozenset[int] = frozenset()
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.arm = 0
        self._model, self._arms, self._length = model, arms, length
        self._stops = stops | {token for token in (tokenizer.eos_token_id,) if token is not None}
        self._known: dict[str, list[Any]] = {}

    @property
    def tokenizer_name(self) -> str:
        """Return a name for caches, of which there are none."""
        return "curate"

    @property
    def eot_token_id(self) -> int:
        """Return the token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """Return the token before a text without context."""
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else int(begin)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return the tokens of a text; the chat template has written the special ones already."""
        ids: list[int] = self.tokenizer(string, add_special_tokens=False)["input_ids"]
        return ids

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return a conversation as the base has learnt to read it."""
        text: str = self.tokenizer.apply_chat_template(
            chat_history,
            chat_template=dated(str(self.tokenizer.chat_template)),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return text

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        pairs = [(tuple(context), tuple(continuation)) for _, context, continuation in requests]
        return self._all("loglikelihood", pairs, self._likelihoods)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of whole texts, in windows of a row."""
        texts = [request.args[0] for request in requests]
        return self._all("rolling", texts, self._rolling)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return greedy answers. Raises RecipeError where a task wants them drawn at random."""
        asked = [(request.args[0], json.dumps(request.args[1], sort_keys=True)) for request in requests]
        for _, told in asked:
            if json.loads(told).get("do_sample"):
                raise RecipeError(
                    "generation_kwargs: found do_sample: true; allowed: greedy answers; take it out"
                )
        return self._all("generate", asked, self._generate)

    def _all(self, kind: str, asked: Sequence[Any], work: Any) -> list[Any]:
        """Return this arm's answers to requests, asking the model about those that are new."""
        names = [f"{kind} {each!r}" for each in asked]
        new = {name: each for name, each in zip(names, asked, strict=True) if name not in self._known}
        if new:
            self._known |= dict(zip(new, work(list(new.values())), strict=True))
        return [self._known[name][self.arm] for name in names]

    def _likelihoods(
        self, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
    ) -> list[list[tuple[float, bool]]]:
        """Return log-likelihood and whether it is the greedy answer, per pair and arm; long contexts are cut."""
        if self._model is None:
            return [[(-1.0, False)] * self._arms for _ in pairs]
        texts = []
        for context, continuation in pairs:
            ids = np.array([*context, *continuation][-self._length :], np.int32)
            texts.append((ids, np.arange(len(ids)) >= len(ids) - len(continuation)))
        nats, wrong = score(self._model, self._arms, texts)
        return [
            [(-float(nats[arm, at]), bool(wrong[arm, at] == 0)) for arm in range(self._arms)]
            for at in range(len(pairs))
        ]

    def _rolling(self, texts: Sequence[str]) -> list[list[float]]:
        found = []
        for text in texts:
            windows = get_rolling_token_windows(
                self.tok_encode(text), self.prefix_token_id, self._length - 1, context_len=1
            )
            pairs = [(tuple(a), tuple(b)) for a, b in map(make_disjoint_window, windows)]
            each = self._likelihoods(pairs)
            found.append([sum(pair[arm][0] for pair in each) for arm in range(self._arms)])
        return found

    def _generate(self, asked: Sequence[tuple[str, str]]) -> list[list[str]]:
        found: list[list[str]] = [[""] * self._arms for _ in asked]
        if self._model is None:
            return found
        groups: dict[str, list[int]] = {}
        for place, (_, told) in enumerate(asked):
            groups.setdefault(told, []).append(place)
        for told, places in groups.items():
            until, tokens = _wanted(json.loads(told), self._length)
            room = self._length - tokens
            prompts = [np.array(self.tok_encode(asked[place][0])[-room:], np.int32) for place in places]
            said = answer(self._model, self._arms, prompts, tokens, self._stops)
            for arm, own in enumerate(said):
                for place, ids in zip(places, own, strict=True):
                    text = self.tokenizer.decode(ids, skip_special_tokens=False)
                    found[place][arm] = min((text.split(stop)[0] for stop in until), key=len, default=text)
        return found


def _wanted(told: dict[str, Any], length: int) -> tuple[list[str], int]:
    """Return what ends an answer, and its most tokens: half a row at most, so that the prompt has room."""
    until = told.get("until") or []
    tokens = int(told.get("max_gen_toks", _SPOKEN))
    return [until] if isinstance(until, str) else [stop for stop in until if stop], min(tokens, length // 2)
