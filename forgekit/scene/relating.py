"""Relations: how verbs, prepositions and breaks tie the objects of a text together."""

from __future__ import annotations

from forgekit.scene.placing import PLACES, Placing
from forgekit.scene.reading import Link
from forgekit.scene.tokens import Token

AUXILIARIES = {"has": "have", "have": "have", "having": "have", "had": "have", "do": "do", "does": "do", "did": "do"}


class Relating(Placing):
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
        if link is None or not (link.predicate or link.verb):
            self._join(index)
        elif link.subjects:
            self._tie(link, index)
        elif link.quoted:
            self.group, self.linked, self.link = [index], "prep", None
        else:
            self.leading = (link.predicate, index) if link.predicate in self.spatial else None
            self.group, self.linked, self.link = [], "", None

    def _tie(self, link: Link, index: int) -> None:
        """Relate the link's subjects to the object."""
        if link.predicate == "of" and not link.verb and not self._is_depiction(link.subjects[-1]):
            for subject in link.subjects:
                self._add_relation(subject, "of", index, "")
            self.link = None  # "a bowl of rice on a table": the talk stays about the bowl
            return
        if link.turned:
            phrase = self._phrase_of(index)
            if link.told and phrase and (phrase.determiner or phrase.count):  # "surrounded by trees, and a man …"
                self.link = None
                self._join(index)
                return
            for subject in link.subjects:
                self._add_relation(index, link.turned, subject, "")
            link.told = True
            return
        predicate, subjects = self._predicate(link, index), self._placed(link, index)
        for subject in subjects:
            if link.passive and link.wording == "by" and not self._is(index, "beside"):  # "a bowl watched by a cat"
                self._add_relation(index, link.verb, subject, "")
            elif link.wording == "on top of" and self._figures(subject, index):
                # Figures lie in a plane: nothing can lie on another.
                self._add_relation(subject, "above", index, link.verb)
            else:
                self._add_relation(subject, predicate, index, link.verb)
        self.group = [index]
        self.linked = "verb" if link.verb and predicate not in self.spatial else "prep"
        self.told_of = link.verb if not link.predicate or self._acts(link.verb, "sensing") else ""
        self.link = link if link.lists else None

    def _join(self, index: int) -> None:
        """Take the object as one more of a list, or as a new subject."""
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
        following = self._token_after(index)
        return following is not None and following.tag in "VBG" and self._animate(index)

    def _on_verb(self, token: Token, index: int) -> None:
        verb = token.entry.verb or token.word
        if token.tag == "B":
            verb = AUXILIARIES.get(token.word, "be")
        previous = self.tokens[index - 1] if index else None
        described = previous is not None and previous.tag == "J" and token.tag == "V"
        denied = previous is not None and previous.word in ("not", "never")
        if self.link and self.link.verb == "be" and not self.link.predicate and not described:
            self.link.verb = verb  # "is sitting", "has been painted"
            self.link.passive, self.link.denied = self._is_passive(token, verb), denied
            return
        self._close_link()
        if previous is not None and self._on_verb_aside(token, index, previous, verb):
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
        describes = token.tag == "E" and self._acts(verb, "making", "covering")  # "a salad made with sprouts sits …"
        self.finite = self.finite or (token.tag in "VBE" and bool(subjects) and not describes)
        # "there is a cat": no subject, no link
        passive = self._is_passive(token, verb)
        self.link = Link(list(subjects), verb=verb, passive=passive, denied=denied) if subjects else None

    def _on_verb_aside(self, token: Token, index: int, previous: Token, verb: str) -> bool:
        """Take a verb that is not said of the clause's subject; False where it is."""
        if previous.tag == "T" and token.tag == "E":  # 'with "OPEN" written on the door'
            self.link = Link([], verb=verb, quoted=True)
        elif self.owner is not None and self.finite and token.tag == "V":  # "… whose beard is white holds a lamp"
            self.link, self.owner = Link([self.owner], verb=verb), None
            self.subjects = self.link.subjects
        elif previous.word == "there":  # "on the right there is a …": nothing said before is meant
            self.group, self.linked, self.subjects, self.finite = [], "", [], False
        elif previous.word in ("that", "which", "who") and self.group:
            self.subjects = self.subjects or self.group[-1:]
            self.link = Link(self.group[-1:], verb=verb)
        elif token.tag == "B" and verb == "be" and self._begins_with_place(index):  # "…, and on the right is a cat"
            self.group, self.linked, self.subjects = [], "", []
        else:
            return False
        return True

    def _begins_with_place(self, index: int) -> bool:
        """Say whether a preposition begins the clause whose verb stands at `index`, so that its subject follows."""
        start = index
        while start and self.tokens[start - 1].tag not in "XCVBGE":
            start -= 1
        return start < index and self.tokens[start].tag == "P" and (start == 0 or self.tokens[start - 1].tag in "XC")

    def _is_passive(self, token: Token, verb: str) -> bool:
        return token.tag == "E" and not self._acts(verb, "static") and verb != "surround"

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
            and not self._is(self.subjects[0], *PLACES)
        ):
            return self.subjects  # "a girl with black hair jumping"
        if self.linked == "prep" and self.subjects and self._is(nearest[-1], *PLACES) and not self._is_had(nearest[-1]):
            return self.subjects  # "a vase in a field towering over the chairs"
        if (
            self._acts(verb, "agent")
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
            self.link.makes = self._acts(self.link.verb, "making") and token.value in ("of", "from")
            return
        previous = self.tokens[index - 1] if index else None
        if (
            self.negations and previous is not None and previous.tag == "N"
        ):  # "without gloves in a room": the room is there
            self.negated = False
        if previous is not None and previous.tag == "Y" and not self.objects:  # "watercolor of a cat"
            return
        subjects, near = self._told_of(token, previous)
        if not self.subjects and not self.linked:
            self.subjects = subjects
        self._link_to(token.value or token.word, subjects, token.word, near)

    def _link_to(self, predicate: str, subjects: list[int], wording: str = "", near: list[int] | None = None) -> None:
        self._close_link()
        self.link = Link(list(subjects), predicate, wording, near=near or [])

    def _close_link(self) -> None:
        """End a link that found no object: a verb alone is an action ("a dog is running")."""
        link, self.link = self.link, None
        if link is None or not link.verb or link.denied or link.lists:  # "surrounded by" has had its objects
            return
        if not self._acts(link.verb, "static") and link.verb not in ("have", "do"):
            for subject in link.subjects:
                self._add_relation(subject, link.verb, None, "")

    def _on_pronoun(self, token: Token) -> None:
        """Let "she", "it", "they" stand for the subject of the sentence before, or for what a place is told from.

        "A plate with a fork beside it": the nearest thing before the fork. Elsewhere they end a link.
        """
        if token.word in ("who", "which", "that", "there", "what"):
            return
        link = self.link
        if link and link.subjects and link.predicate in self.spatial and token.word in ("it", "him", "her", "them"):
            if link.near and link.near[0] > max(link.subjects):  # "a racket has a ball on it"
                link.subjects = link.near
            owners = [
                r["subject"] for r in self.relations if r["object"] == link.subjects[-1] and r["predicate"] == "with"
            ]
            if owners:  # "a desk with a lamp and a printer on it"
                had = {r["object"] for r in self.relations if r["subject"] == owners[0] and r["predicate"] == "with"}
                for item in sorted(had & {*self.group, *link.subjects}):
                    self._add_relation(item, link.predicate, owners[0], link.verb)
                self.link, self.linked = None, "prep"
                return
            earlier = range(min(link.subjects) - 1, -1, -1)
            meant = next((i for i in earlier if token.word in ("it", "them") or self._animate(i)), None)
            if meant is None and self.group and self.group[-1] not in link.subjects:  # "… with a sign posted under it"
                meant, link.subjects = link.subjects[0], self.group[-1:]
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
