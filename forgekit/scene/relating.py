"""Relations: how verbs, prepositions and breaks tie the objects of a text together."""

from __future__ import annotations

from forgekit.scene.reading import MAKING, Link, Reading, split_words
from forgekit.scene.tokens import Token

AUXILIARIES = {"has": "have", "have": "have", "having": "have", "had": "have", "do": "do", "does": "do", "did": "do"}
COVERING = frozenset(["cover", "dress", "clothe", "coat", "wrap", "drench", "soak", "reflect", "fill", "top", "decorate"])  # "in" is no place then
SENSING = frozenset(["look", "gaze", "stare", "watch", "see", "observe", "peer", "admire", "view", "point", "show"])
MOVING = split_words(
    "put place set lay leave pick lift drop pour hang mount write draw paint carve stick load stack arrange plant pin fix"
)  # "picks up a stone on the path": the stone is on the path
PUSHING = frozenset(["push", "roll", "throw", "kick", "drag", "pull", "toss", "hit"])
SPEAKING = frozenset(["talk", "speak", "sing", "shout", "yell", "scream", "whisper", "rap"])
CLINGING = frozenset(["hold", "cling", "grab", "grip", "clutch", "hang", "latch"])  # "holds onto a bat" is on nothing
SHARED_PLACES = frozenset({"on", "inside", "in front of", "behind"})  # "a cat and a dog on a bed": both are


class Relating(Reading):
    """The part of a pass that reads what stands between the objects."""

    def _own(self, index: int) -> None:
        """Take "a man whose beard …": the beard is the man's, and the verb behind it is said of the beard."""
        self.owner = self.group[-1]
        self._close_link()
        self._add_relation(self.owner, "with", index, "")
        self.group, self.subjects, self.linked, self.finite = [index], [], "", False

    def _relate(self, index: int) -> None:
        """Tie the new object to what went before: by a link, as one more of a list, or as a new subject."""
        link = self.link
        if link and (link.predicate or link.verb):
            if not link.subjects:
                if link.quoted:
                    self.group, self.linked, self.link = [index], "prep", None
                    return
                self.leading = (link.predicate, index) if link.predicate in self.spatial else None
                self.group, self.linked, self.link = [], "", None
                return
            predicate = self._predicate(link, index)
            if link.predicate == "of" and not link.verb and not self._is_depiction(link.subjects[-1]):
                for subject in link.subjects:
                    self._add_relation(subject, "of", index, "")
                self.link = None  # "a bowl of rice on a table": the talk stays about the bowl
                return
            if link.lists and link.verb == "surround":
                for subject in link.subjects:
                    self._add_relation(index, "around", subject, "")
                self.group, self.linked = [index], "prep"
                return
            if link.near and self._lies_near(link, index):
                link.subjects = link.near
            elif self._is_owned(index) and self.subjects and not self._animate(link.subjects[0]):
                link.subjects = self.subjects  # "riding past a truck on his bike"
            if link.passive and link.wording == "by" and not self._is_beside(index):  # "a bowl watched by a cat"
                for subject in link.subjects:
                    self._add_relation(index, link.verb, subject, "")
                predicate = ""
            for subject in link.subjects if predicate else ():
                if link.wording == "on top of" and self._figures(subject, index):
                    predicate = "above"  # figures lie in a plane: nothing can lie on another
                self._add_relation(subject, predicate, index, link.verb)
            self.group = [index]
            self.linked = "verb" if link.verb and predicate not in self.spatial else "prep"
            self.points = link.verb in SENSING or (link.verb in MOVING and not link.predicate)
            self.pushes = link.verb in PUSHING
            self.link = link if link.lists else None
            return
        if self.linked == "verb" and self.group and self._begins_clause(index):
            self.group, self.linked, self.subjects = [], "", []
        if self.group and not self.fresh and self.linked:
            shares = self._shares_place(index)
            for relation in [r for r in self.relations if r["object"] == self.group[-1]]:
                has = relation["predicate"] in ("with", "wear")
                if self.linked == "prep" and not has and not (shares and relation["predicate"] in self.spatial):
                    continue
                self._add_relation(relation["subject"], relation["predicate"], index, "")
        if self.leading and not self.group:
            self._add_relation(index, self.leading[0], self.leading[1], "")
            self.leading = None
        self.group = [*self.group, index]

    def _begins_clause(self, index: int) -> bool:
        """Say whether a verb of its own follows the object: "a man eating a donut and a woman eating a cake"."""
        end = self.objects[index]["span"][1]
        following = next((token for token in self.tokens if token.start >= end), None)
        return following is not None and following.tag in "VBG" and self._animate(index)

    def _shares_place(self, index: int) -> bool:
        """Say whether the object is another end of the relation before: "is next to a fork and a spoon".

        Not in "there is a cat on a mat and a dog", where no verb has the place, nor in "… and a dog is under it".
        """
        end = self.objects[index]["span"][1]
        following = next((token for token in self.tokens if token.start >= end), None)
        phrase = self.last
        if phrase is not None and index == len(self.objects) - 1 and not (phrase.determiner or phrase.count):
            if not phrase.plural and phrase.head.noun not in split_words(self.lexicon.grammar["hint"]["mass"]):
                return True  # "a cat next to a blanket and shelf": one article for both
        return self.finite and (following is None or following.tag not in "VBG")

    def _is_depiction(self, index: int) -> bool:
        """Say whether what is "of" the object is the thing to look at: "a poster of a cat sitting on …"."""
        return self.objects[index]["name"].split()[-1] in split_words(self.lexicon.grammar["frame"]["words"])

    def _lies_near(self, link: Link, index: int) -> bool:
        """Say whether the thing named last is where the object `index` says, rather than who acts on it.

        "Cutting bread on a board", "watching a comet in the sky", but "eating bread in a park", "reading on a sofa".
        """
        hint, name = self.lexicon.grammar["hint"], self.objects[index]["name"].split()[-1]
        body = split_words(hint["body"])
        if name == "sky" or name in body or self.objects[link.near[0]]["name"].split()[-1] in body:
            return True
        if self.linked == "prep":  # "a cake with candles on a table"
            return False
        if self.pushes and link.wording in ("into", "onto", "across", "through", "over"):
            return True
        if self.points:
            return link.predicate != "through"
        if self._animate(link.near[0]):
            return False
        if link.predicate == "on":
            return name in split_words(hint["surface"])
        return link.predicate == "inside" and name in split_words(hint["container"])

    def _is_owned(self, index: int) -> bool:
        """Say whether the object was named as his or hers."""
        phrase = self.last
        return phrase is not None and index == len(self.objects) - 1 and phrase.determiner in ("his", "her")

    def _is_beside(self, index: int) -> bool:
        return self.objects[index]["name"].split()[-1] in split_words(self.lexicon.grammar["hint"]["beside"])

    def _predicate(self, link: Link, index: int) -> str:
        if link.predicate == "at" and self.objects[index]["name"].split()[-1] in split_words(
            self.lexicon.grammar["hint"]["within"]
        ):
            return "inside"
        if link.predicate == "at" and (not link.verb or link.verb in self.static_verbs or link.near):
            return "next to" if self._is_beside(index) else "at"
        if link.verb in ("", "be"):
            return link.predicate
        if not link.predicate:
            return "with" if link.verb in ("have", "feature", "contain", "include") else link.verb
        if link.predicate == "inside" and link.verb in COVERING:
            return "wear" if link.verb in ("dress", "clothe") else f"{link.verb} in"
        if link.verb in CLINGING and link.wording == "onto":
            return f"{link.verb} onto"
        if link.verb in SPEAKING and link.wording == "into":
            return f"{link.verb} into"
        if link.predicate in self.spatial and not (link.verb in SENSING and link.wording in ("over", "around")):
            return link.predicate
        return f"{link.verb} {link.predicate}" if link.verb not in self.static_verbs else link.predicate

    def _on_verb(self, token: Token, index: int) -> None:
        verb = token.entry.verb or token.word
        if token.tag == "B":
            verb = AUXILIARIES.get(token.word, "be")
        described = index > 0 and self.tokens[index - 1].tag == "J" and token.tag == "V"
        if self.link and self.link.verb == "be" and not self.link.predicate and not described:
            self.link.verb = verb  # "is sitting", "has been painted"
            self.link.passive = self._is_passive(token, verb)
            return
        previous = self.tokens[index - 1] if index else None
        self._close_link()
        if previous is not None and previous.tag == "T" and token.tag == "E":  # 'with "OPEN" written on the door'
            self.link = Link([], verb=verb, quoted=True)
            return
        if self.owner is not None and self.finite and token.tag == "V":  # "… whose beard is white holds a lamp"
            self.link, self.owner = Link([self.owner], verb=verb), None
            self.subjects = self.link.subjects
            return
        if (
            previous is not None and previous.word == "there"
        ):  # "on the right there is a …": nothing said before is meant
            self.group, self.linked, self.subjects, self.finite = [], "", [], False
            return
        if previous is not None and previous.word in ("that", "which", "who") and self.group:
            self.subjects = self.subjects or self.group[-1:]
            self.link = Link(self.group[-1:], verb=verb)
            return
        if token.tag == "B" and verb == "be" and self._begins_with_place(index):  # "…, and on the right is a cat"
            self.group, self.linked, self.subjects = [], "", []
            return
        if token.tag in "GE" and previous is not None and previous.tag == "N" and self.group:
            subjects = self._agent(verb)
            if not self.subjects and not self.linked:
                self.subjects = list(self.group)
        elif self.finite and previous is not None and previous.tag == "N" and self.fresh_subject:
            subjects = self.group[-1:]
            self.subjects = subjects
        else:
            if not self.subjects or not self.linked:
                self.subjects = self.subjects if self.linked else list(self.group)
            subjects = self.subjects
        describes = token.tag == "E" and (verb in MAKING or verb in COVERING)  # "a salad made with sprouts sits …"
        self.finite = self.finite or (token.tag in "VBE" and bool(subjects) and not describes)
        # "there is a cat": no subject, no link
        self.link = Link(list(subjects), verb=verb, passive=self._is_passive(token, verb)) if subjects else None

    def _begins_with_place(self, index: int) -> bool:
        """Say whether a preposition begins the clause whose verb stands at `index`, so that its subject follows."""
        start = index
        while start and self.tokens[start - 1].tag not in "XCVBGE":
            start -= 1
        return start < index and self.tokens[start].tag == "P" and (start == 0 or self.tokens[start - 1].tag in "XC")

    def _is_passive(self, token: Token, verb: str) -> bool:
        return token.tag == "E" and verb not in self.static_verbs and verb != "surround"

    @property
    def fresh_subject(self) -> bool:
        """Whether the last object of the group was joined on by "and" and so may be the subject of a new clause."""
        return len(self.group) > 1

    def _agent(self, verb: str) -> list[int]:
        nearest = self.group if not self.linked else self.group[-1:]
        if (
            self.linked
            and self.subjects
            and self._has(self.subjects[0], nearest[-1])
            and not self._animate(nearest[-1])
            and not self._is_place(self.subjects[0])
        ):
            return self.subjects  # "a girl with black hair jumping"
        if (
            verb in self.agent_verbs
            and self.linked
            and self.subjects
            and not self._animate(nearest[-1])
            and self._animate(self.subjects[0])
        ):
            return self.subjects
        return nearest

    def _on_preposition(self, token: Token, index: int) -> None:
        if self.link and self.link.verb and not self.link.predicate:
            self.link.predicate, self.link.wording = token.value or token.word, token.word
            return
        previous = self.tokens[index - 1] if index else None
        if previous is not None and previous.tag == "Y" and not self.objects:  # "watercolor of a cat"
            return
        subjects, near = self.group[-1:], []
        places = token.value in self.spatial or token.value == "at"
        if self.group and not self.linked and token.value in SHARED_PLACES:
            subjects = list(self.group)
        elif self.group and self.linked == "verb" and places:
            subjects, near = self.subjects or self.group[:1], subjects
        elif self.group and previous is not None and previous.tag in "XC":
            subjects = self.subjects or self.group[:1]
        elif self.linked == "prep" and subjects and places:
            subjects, near = self._past_what_it_has(subjects, token)
        if not self.subjects and not self.linked:
            self.subjects = subjects
        self._link_to(token.value or token.word, subjects, token.word, near)

    def _past_what_it_has(self, nearest: list[int], token: Token) -> tuple[list[int], list[int]]:
        """Return what a place behind "X with Y", "X in a shirt" or "X in a room" is told of, and what else it may be.

        "A cake with candles on a plate", but "a room with a bed next to a window".
        """
        has = next((r for r in self.relations if r["object"] == nearest[0] and r["predicate"] in ("with", "wear")), None)
        if has and not (has["predicate"] == "with" and self._is_place(has["subject"])):
            return [has["subject"]], nearest
        if self.subjects and token.value in SHARED_PLACES and self._is_room(nearest[0]):
            return self.subjects, []  # "a sink in a bathroom on a tiled floor"
        return nearest, []

    def _is_place(self, index: int) -> bool:
        hint, name = self.lexicon.grammar["hint"], self.objects[index]["name"].split()[-1]
        return any(name in split_words(hint[kind]) for kind in ("room", "within", "place"))

    def _is_room(self, index: int) -> bool:
        return self.objects[index]["name"].split()[-1] in split_words(self.lexicon.grammar["hint"]["room"])

    def _link_to(self, predicate: str, subjects: list[int], wording: str = "", near: list[int] | None = None) -> None:
        self._close_link()
        self.link = Link(list(subjects), predicate, wording, near=near or [])

    def _close_link(self) -> None:
        """End a link that found no object: a verb alone is an action ("a dog is running")."""
        link, self.link = self.link, None
        told = not link or link.lists or not link.verb  # "surrounded by" has had its objects
        if not told and link.verb not in self.static_verbs and link.verb not in ("have", "do"):
            for subject in link.subjects:
                self._add_relation(subject, link.verb, None, "")

    def _on_pronoun(self, token: Token) -> None:
        """Let "she", "it", "they" stand for the subject of the sentence before, or for what a place is told from.

        "A plate with a fork beside it": the nearest thing before the fork. Elsewhere they end a link.
        """
        if token.word in ("who", "which", "that", "there", "what"):
            return
        link = self.link
        if link and link.subjects and link.predicate in self.spatial and token.word in ("it", "him", "her"):
            if link.near and link.near[0] > max(link.subjects):  # "a racket has a ball on it"
                link.subjects = link.near
            earlier = range(min(link.subjects) - 1, -1, -1)
            meant = next((i for i in earlier if token.word == "it" or self._animate(i)), None)
            if meant is not None:
                for subject in link.subjects:
                    self._add_relation(subject, link.predicate, meant, link.verb)
                self.link, self.linked = None, "prep"
                return
        self._close_link()
        if not self.group:
            self.group, self.linked = list(self.spoken_of), ""

    def _on_adjective(self, index: int) -> int:
        """Take an adjective without a noun: "a circle that is red", "the wall was round and blue"."""
        token = self.tokens[index]
        subjects = self.link.subjects if self.link and self.link.verb == "be" else self.group[-1:]
        if subjects and not self.negated and token.entry.kind:
            for subject in subjects:
                self.objects[subject]["attributes"].append(
                    {"kind": token.entry.kind, "value": token.value or token.word}
                )
        self.negated = False
        return index + 1

    def _on_break(self, token: Token, index: int) -> None:
        if token.word in ".;!?:" or token.word in ("while", "whereas", "as"):
            self._close_link()
            self.spoken_of = self.subjects or self.group[:1] or self.spoken_of
            self.group, self.linked, self.subjects = [], "", []
            self.negated = self.finite = False
            self.owner = None
            self.leading = None if token.word != ":" else self.leading
        elif token.word in (",", "and", "but", "&", "plus") and self.link and not self.link.lists:
            keep = self.link.verb == "be" and index + 1 < len(self.tokens) and self.tokens[index + 1].tag in "JR"
            if not keep:
                self._close_link()
        if token.word in (",", "but"):
            self.negated = False
        self.fresh = False
