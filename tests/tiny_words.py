"""Tiny tokenizers of the kinds that the big models have: byte-level BPE, SentencePiece, CLIP's, T5's. Trained in a blink."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from tiny_models import WORDS

ASKED = (
    "Is it red? What is in the image? Is there a red circle? Are there two hearts? How many hearts are there? Describe the "
    'image. Does this image show "a red circle"? Answer the question with Yes or No. Answer in one word. Yes No User Assistant'
)
ENDS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@cache
def _trained(kind: str) -> tuple[dict[str, int], list[tuple[str, ...]]]:
    """Return the vocabulary and the merges of a BPE of whole words, with and without the space before them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    words = [*WORDS, *(str(n) for n in range(10)), *ASKED.split()]
    texts = [*words, *(f" {word}" for word in words), ASKED] * 8
    options: dict[str, Any] = {"vocab_size": 1100, "show_progress": False}
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        options["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
        options["special_tokens"] = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(**options))
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]


def bytes_tokenizer(marks: Sequence[str] = (), **options: Any) -> Any:
    """Return a tokenizer like Qwen's; `marks` are further special tokens."""
    from transformers import Qwen2TokenizerFast

    vocabulary, merges = _trained("bytes")
    tokenizer = Qwen2TokenizerFast(
        vocab=dict(vocabulary), merges=list(merges), unk_token=None, eos_token=ENDS[2], pad_token=ENDS[0], **options
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [*ENDS, *marks]})
    return tokenizer


def pieces_tokenizer(marks: Sequence[str] = (), named: dict[str, str] | None = None) -> Any:
    """Return a tokenizer like Llama's, which begins every text with <s>; `named` are special tokens with a name of theirs."""
    from transformers import LlamaTokenizerFast

    vocabulary, merges = _trained("pieces")
    tokenizer = LlamaTokenizerFast(
        vocab=dict(vocabulary), merges=list(merges), add_bos_token=True, extra_special_tokens=named or {}
    )
    tokenizer.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": list(marks)})
    return tokenizer


def clip_tokenizer(context: int = 32) -> Any:
    """Return CLIP's tokenizer with a vocabulary of letters."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=[], model_max_length=context)


def t5_tokenizer() -> Any:
    """Return T5's tokenizer of the words of WORDS and of letters."""
    from transformers import T5TokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?!:'\"-()"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0), *((f"▁{word}", -2.0) for word in dict.fromkeys(WORDS))]
    return T5TokenizerFast(
        vocab=[*pieces, ("▁", -3.0), *((letter, -5.0) for letter in letters)], extra_ids=0, model_max_length=512
    )


def chat_template(image: str = "<image>", *, begin: str = "") -> str:
    """Return a chat template of roles and parts, `image` where a picture stands, `begin` before all."""
    part = f"{{% if p['type'] == 'image' %}}{image}{{% else %}}{{{{ p['text'] }}}}{{% endif %}}"
    parts = f"{{% for p in m['content'] %}}{part}{{% endfor %}}"
    said = f"{{% if m['content'] is string %}}{{{{ m['content'] }}}}{{% else %}}{parts}{{% endif %}}"
    turns = f"{{% for m in messages %}}{{{{ m['role'] }}}}: {said} ; {{% endfor %}}"
    return f"{begin}{turns}{{% if add_generation_prompt %}}assistant:{{% endif %}}"
