"""The words of the mini world as the judges' and the generator's tokenizers know them: one token a word."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from forgekit.mini.captions import RARE, RELATION_WORDS, SYNONYMS, plural
from forgekit.mini.world import SHAPES
from forgekit.scene.lexicon import default_lexicon
from training.lessons import COUNTS, STYLE_PHRASES

FUNCTION_WORDS = (
    "a an the of on in is are that there with and without no not any to image picture photo painting drawing style "
    "background design illustration art line outline flat one two three four five six "
    "empty shapeless blob clean shapes"
)


def word_concepts() -> Mapping[str, str]:
    """Return the shape, colour, size or style that each word stands for, plurals of shapes included."""
    words = {word: concept for concept in SYNONYMS for word in (*SYNONYMS[concept], *RARE.get(concept, ()))}
    return words | {plural(word): concept for word, concept in words.items() if concept in SHAPES}


def world_words(extra: Iterable[str] = ()) -> list[str]:
    """Return every word that phrases and captions of the mini world can hold, plurals included, sorted."""
    texts = [FUNCTION_WORDS, *extra, *COUNTS.values(), *word_concepts()]
    texts += [text for forms in (*RELATION_WORDS.values(), *STYLE_PHRASES.values()) for text in forms]
    return sorted({word for text in texts for word in text.split()})


def word_tokenizer(
    vocabulary: Sequence[str],
    *,
    special: Mapping[str, Any],
    ending: str | None = None,
    replaced: Sequence[Any] = (),
    pieces: Any = None,
) -> PreTrainedTokenizerFast:
    """Return a transformers tokenizer with one token for each word of `vocabulary`; other words become `<unk>`.

    Texts are lower-cased, changed by the normalizers `replaced`, and cut by `pieces` (words and punctuation marks by
    default); `ending` closes every text. `special` names special tokens (`{"pad_token": "<pad>"}`) and settings.
    """
    ids = {word: i for i, word in enumerate(dict.fromkeys(vocabulary))}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.normalizer = normalizers.Sequence([normalizers.Lowercase(), *replaced])
    words.pre_tokenizer = pieces or pre_tokenizers.Whitespace()
    if ending:
        closed = [(ending, ids[ending])]
        words.post_processor = processors.TemplateProcessing(single=f"$A {ending}", special_tokens=closed)
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", **special)


def lexicon_normalizers(vocabulary: Collection[str]) -> list[Any]:
    """Return what makes a judge read words that it was not trained on as the plain word of their concept.

    "sapphire" becomes "blue" and "aquarelle" "watercolor" before a text is cut into words: a judge that passed over
    them would find any star to be "a sapphire star". The words are those of forgekit's lexicon for the concepts of the
    mini world; words in `vocabulary` stay.
    """
    lexicon = default_lexicon()
    plain = {
        word: concept
        for (kind, word), concept in lexicon.meanings.items()
        if kind in ("figure", "color", "size", "style") and concept in SYNONYMS
        if not set(word.split()) <= set(vocabulary)
    }
    longest_first = sorted(plain, key=lambda word: (-len(word), word))
    return [normalizers.Replace(Regex(rf"\b{word}(?=(e?s)?\b)"), plain[word]) for word in longest_first]
