"""What the judges' trainers share: words, pairs of scenes, dense labels, optimiser, checkpoints, command line."""

from __future__ import annotations

import argparse
import copy
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from forgekit.mini.captions import JUDGE, NUMBERS, RARE, RELATION_WORDS, SYNONYMS, Grammar, caption
from forgekit.mini.changes import CHANGES, changed
from forgekit.mini.render import CELLS, cell_labels
from forgekit.mini.statements import COUNTS, STYLE_PHRASES
from forgekit.mini.world import SHAPES, WorldScene, sample_scene
from forgekit.scene.lexicon import default_lexicon
from training.camera import Camera
from training.muon import Muon

log = logging.getLogger(__name__)

AUTOENCODER = {"autoencoder": "folder of the generator's autoencoder, whose blur pictures then have"}

FUNCTION_WORDS = (
    "a an the of on in is are that there with and without no not any to image picture photo painting drawing style "
    "background design illustration art line outline flat one two three four five six "
    "empty shapeless blob clean shapes"
)

COMPLETE = Grammar(rare=15.0, omissions=0.0, unknown=0.0)  # says all but a white background and the flat style
# Changes whose complete caption is false of the picture before the change; the others may leave the change unsaid.
TELLING = frozenset({"object", "color", "count", "relation", "size", "swapped", "extra"})


def world_words(extra: Iterable[str] = ()) -> list[str]:
    """Return every word that phrases and captions of the mini world can hold, plurals included, sorted."""
    texts = [FUNCTION_WORDS, *extra, *COUNTS.values(), *NUMBERS.values()]
    texts += [text for forms in (*RELATION_WORDS.values(), *STYLE_PHRASES.values()) for text in forms]
    for concept in SYNONYMS.keys() | RARE.keys():
        names = [concept, *SYNONYMS.get(concept, ()), *RARE.get(concept, ())]
        texts += names
        if concept in SHAPES:
            texts += [n + ("es" if n.endswith(("x", "s")) else "s") for n in names]
    return sorted({word for text in texts for word in text.split()})


def word_tokenizer(words: Sequence[str], specials: Sequence[str], ending: str | None, **names: str) -> Any:
    """Return a transformers tokenizer with one token a word, lower-cased; other words become `<unk>`.

    `specials` come first in the vocabulary; `ending` closes every text; `names` are those of the special tokens
    (`pad_token="<pad>"` …).
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate([*specials, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *lexicon_normalizers(vocabulary)])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if ending:
        pieces = [(ending, vocabulary[ending])]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {ending}", special_tokens=pieces)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **names)


def lexicon_normalizers(vocabulary: Collection[str]) -> list[Any]:
    """Return what makes a judge read words that it was not trained on as the plain word of their concept.

    "sapphire" becomes "blue" and "aquarelle" "watercolor" before a text is cut into words: a judge that passed over
    them would find any star to be "a sapphire star". The words are those of forgekit's lexicon for the concepts of the
    mini world; words in `vocabulary` stay.
    """
    from tokenizers import Regex, normalizers

    lexicon = default_lexicon()
    plain = {
        word: concept
        for kind in ("figure", "color", "size", "style")
        for concept, words in lexicon.concepts[kind].items()
        if concept in SYNONYMS
        for word in words
        if not set(word.split()) <= set(vocabulary)
    }
    longest_first = sorted(plain, key=lambda word: (-len(word), word))
    return [normalizers.Replace(Regex(rf"\b{word}(?=(e?s)?\b)"), plain[word]) for word in longest_first]


def sample_pairs(n: int, rng: random.Random, *, most: int = 3) -> tuple[list[WorldScene], list[str]]:
    """Return `n` scenes each followed by itself with one thing changed, 2n in all, and the `n` kinds of change.

    Scenes have at most `most` objects before the change.
    """
    scenes: list[WorldScene] = []
    kinds: list[str] = []
    while len(kinds) < n:
        scene, kind = sample_scene(rng), rng.choice(CHANGES)
        if len(scene.objects) > most:
            continue
        other = changed(scene, kind, rng)
        if other is not None:
            scenes += [scene, other]
            kinds.append(kind)
    return scenes, kinds


def pair_caption(before: WorldScene, after: WorldScene, kind: str, rng: random.Random) -> tuple[str, float, float]:
    """Return a caption of one of two pictures and its truth of both: 1, 0, or nan where it may leave the change unsaid.

    `kind` says what was changed between them.
    """
    unsaid = kind == "extra" and after.relation  # such a caption names the two related objects only
    if kind in TELLING and not unsaid and rng.random() < 0.5:
        return caption(after, rng, COMPLETE), 0.0, 1.0
    return caption(before, rng, JUDGE), 1.0, float("nan")


class DenseHead(nn.Module):
    """Reads shape and colour of every 4×4-pixel cell off the image tokens; used in training only.

    It is what makes transformers of this size learn shapes: the renderer knows each cell, so each token has a target.
    """

    def __init__(self, width: int, grid: int = 8) -> None:
        """Make a linear head for `grid` × `grid` tokens of `width` numbers."""
        super().__init__()
        self.grid, self.cells = grid, CELLS // grid
        self.linear = nn.Linear(width, self.cells**2 * (8 + 11))

    def loss(self, tokens: Tensor, scenes: Sequence[WorldScene]) -> tuple[Tensor, float]:
        """Return the cross-entropy of tokens (n, grid², width) and the share of painted cells whose shape is right."""
        shapes, colors = (labels.long() for labels in cell_labels(scenes))
        g, c = self.grid, self.cells
        cells = self.linear(tokens).view(-1, g, g, c, c, 19).permute(0, 5, 1, 3, 2, 4).reshape(-1, 19, CELLS, CELLS)
        loss = functional.cross_entropy(cells[:, :8], shapes) + 0.5 * functional.cross_entropy(cells[:, 8:], colors)
        painted = shapes > 0
        return loss, (cells[:, :8].argmax(1) == shapes)[painted].float().mean().item()


class Trainer:
    """Weights, optimisers and progress of one training, saved together so that it can be resumed.

    The rate rises over 50 steps, stays, and falls to zero over the last third.
    """

    def __init__(self, modules: Sequence[nn.Module], blocks: Sequence[nn.Module], *, samples: int, rate: float) -> None:
        """Give the matrices of `blocks` to Muon and all other parameters of `modules` to AdamW."""
        matrices = [p for block in blocks for p in block.parameters() if p.ndim == 2]
        chosen = {id(p) for p in matrices}
        others = [p for module in modules for p in module.parameters() if id(p) not in chosen]
        adam = torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
        self.modules, self.optimizers = modules, (Muon(matrices, lr=rate, weight_decay=0.02), adam)
        self.samples, self.rate, self.seen, self.steps = samples, rate, 0, 0

    def resume(self, path: Path) -> None:
        """Go on from `path` where it exists."""
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.seen, self.steps = state["seen"], state["steps"]
            for part, saved in zip([*self.modules, *self.optimizers], state["parts"], strict=True):
                part.load_state_dict(saved)
            log.info("resumed at %d samples", self.seen)

    def save(self, path: Path) -> None:
        """Write everything `resume` needs, at once or not at all."""
        parts = [part.state_dict() for part in [*self.modules, *self.optimizers]]
        torch.save({"seen": self.seen, "steps": self.steps, "parts": parts}, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def batches(self, size: int, checkpoint: Path, every: int = 200) -> Iterator[None]:
        """Yield once for every step still to do; the body computes and calls `update`. Saves every `every` steps."""
        start, first = time.monotonic(), self.seen
        while self.seen < self.samples:
            yield
            self.seen += size
            self.steps += 1
            if self.steps % every == 0:
                self.save(checkpoint)
                log.info("%d samples, %.0f a second", self.seen, (self.seen - first) / (time.monotonic() - start))
        self.save(checkpoint)

    def update(self, loss: Tensor) -> None:
        """Take one step down `loss`."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for module in self.modules:
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        done = self.seen / self.samples
        factor = min(1.0, (self.steps + 1) / 50, (1 - done) * 3 + 0.01)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * factor
            optimizer.step()


def begin(trainer: Trainer, checkpoint: Path, autoencoder: Path | None, seed: int) -> tuple[random.Random, Camera]:
    """Go on from `checkpoint` where it exists; return the random state and camera of what comes next."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    trainer.resume(checkpoint)
    rng = random.Random(seed + trainer.seen)
    return rng, Camera(rng, torch.Generator().manual_seed(seed + trainer.seen), autoencoder)


def export_transformers(model: Any, processor: Any, folder: Path) -> None:
    """Write weights in half precision, tokenizer and image settings where transformers looks for them."""
    copy.deepcopy(model).half().save_pretrained(folder)
    processor.save_pretrained(folder)


def run_trainer(train: Callable[..., None], purpose: str | None, *, samples: int, paths: dict[str, str]) -> None:
    """Run `train` with what the command line says; `paths` are the folders that this judge starts from, with help."""
    parser = argparse.ArgumentParser(description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished model")
    parser.add_argument("--work", type=Path, default=Path("/tmp/forgekit-train"), help="folder for the checkpoint")
    parser.add_argument("--samples", type=int, default=samples, help=f"pictures in all (default {samples})")
    parser.add_argument("--threads", type=int, default=1)
    for name, help_text in paths.items():
        parser.add_argument(f"--{name}", type=Path, help=help_text)
    options = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.pop("threads"))
    train(options.pop("out"), **options)
