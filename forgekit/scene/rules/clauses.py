"""Where in a sentence the reading stands: what was named, what it is tied to, what is still to come. Objects are named by index."""

from __future__ import annotations

from typing import NamedTuple

Objects = tuple[int, ...]  # by index


class Link(NamedTuple):
    """What stands between a subject and the object still to come."""

    subjects: Objects = ()
    predicate: str = ""  # a preposition's canonical relation
    wording: str = ""  # the preposition as it stands
    verb: str = ""
    participle: str = ""  # the -ed form as it stands: "covered"; it is passive but for what `intransitive` verbs say
    particle: str = ""  # "blowing out"
    denied: bool = False  # "is not running"
    quoted: bool = False  # said of quoted text
    makes: bool = False  # a material follows: "made of wood"
    turned: str = ""  # what follows is so to the subject: "surrounded by trees", "filled with flowers"
    told: bool = False  # one of the things it lists has been named
    near: Objects = ()  # what else may be meant: the comet in "watching a comet in the sky"

    @property
    def passive(self) -> bool:
        """Whether something is done to the subjects."""
        return self.participle != ""

    @property
    def lists(self) -> bool:
        """Whether several things joined by "and" follow: "between a cat and a dog"."""
        return self.predicate == "between" or self.makes or self.turned != ""


class Clause(NamedTuple):
    """What a clause has said so far; each word makes a new one of it."""

    subjects: Objects = ()
    group: Objects = ()  # the objects named last, joined by "and" or ","
    linked: str = ""  # how the group came: "", "verb" or "prep"
    link: Link | None = None
    finite: bool = False  # whether it has its verb
    negated: bool = False
    told_of: str = ""  # its verb, where it may say what a place is told of: "watching a bird in …"
    owner: int | None = None  # "a man whose beard is white …": whose clause goes on behind the aside
    leading: tuple[str, int | None] | None = None  # "In front of a house, …", "On the left, …" waits for its subject
    led: tuple[str, int] | None = None  # the place that the subject had waiting
    spoken_of: Objects = ()  # the subjects of the sentence before
    fresh: bool = True  # before the first break of the text, where nothing is listed yet
