"""Grounded support talk: a role, retrieved passages, questions they answer or do not answer.

Contract: `SupportMaker.make` gives one document in the layout the desk renders (or, for a part, another layout), of one
of these shapes: a single question; several questions over the same passages; a conversation whose last question got
the passages; a follow-up about a fact given earlier; few-shot examples before any of them. `meta` says what is right.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from bot.starter.documents import Choice, Document, Turn, reply, system, user
from bot.starter.loose import Loose
from bot.starter.ranking import Bank
from bot.starter.roles import Role, RoleMaker
from bot.starter.shelf import Passage, Question, ShelfMaker, Statement, find_answer
from bot.starter.values import Values
from bot.starter.wordings import CONTEXT_SLOTS, Split, Wordings, capital, choose, fill, part, tidy

_QUOTE_SHARE = 0.75
_DESK_LAYOUT_SHARE = 0.65
_SHUFFLED_SHARE = 0.12
_LONG_SHARE = 0.05
"""Documents of up to a thousand tokens: more examples, more turns, more passages."""
_CHOICES = (("<think>none", 1.0, 4.0), ("<think>earlier", 1.0, 4.0))
"""Weights of choosing no passage, where a role reasons first."""
Shaped = tuple[list[Turn], dict[str, Any]]
"""Turns, and what is right about them."""


class SupportMaker:
    """Writes grounded documents. `wording` and `topic` say which half of the held-out split each draws from."""

    def __init__(
        self, wordings: Wordings, bank: Bank, values: Values, wording: Split = "train", topic: Split = "train"
    ) -> None:
        self.sheets, self.values, self.wording = wordings, values, wording
        self.shelf = ShelfMaker(bank, wordings.topics(topic), values, wording, wordings.synonyms)
        self.more: Any = wordings.sheet("more_roles")
        self.roles = RoleMaker(wordings.sheet("roles"), self.more, values, wording)
        self.talk: Any = wordings.sheet("talk")
        self.follow: Any = wordings.sheet("follow")
        self.layouts: Any = wordings.sheet("layout")
        self.layout: Any = self.layouts["desk"]
        self.loose: Loose | None = None
        self.most_turns = 3
        self.most_passages: Sequence[int] = (1, 2, 3, 3, 3, 4)

    def make(self) -> Document:
        """A random document."""
        values = self.values
        if not values.chance(_DESK_LAYOUT_SHARE):
            self.layout = values.pick(self.layouts["others"])
        role = self.roles.make(plain=values.chance(0.2))
        most_examples = 3
        if values.chance(_LONG_SHARE):
            self.most_turns, self.most_passages, most_examples = 6, (3, 4, 5, 6), 6
        if role.think and "{i}" not in self.layout["item"]:
            self.layout = self.layouts["desk"]
        examples = self.examples(role, values.number(1, most_examples)) if values.chance(0.3) and not role.think else []
        if examples and values.chance(0.7):
            role = self.silent(role)
        statements, missing = self.shelf.make(values.number(2, 6))
        shape = values.number(0, 99)
        if shape < 34:
            turns, meta = self.same_passages(role, statements, missing)
        elif shape < 68:
            turns, meta = self.conversation(role, statements, missing)
        else:
            turns, meta = self.single(role, statements, missing)
        return Document("support", [turns[0], *examples, *turns[1:]], meta | {"role": role})

    def silent(self, role: Role) -> Role:
        """The role's text cut down to who it is: its style is to be read from the examples."""
        hints = part(self.roles.sheet["style_from_examples"], "style", self.wording)
        hint = choose(self.values.pick(hints), self.values.rng)
        role.text = tidy(self.roles._fill(role.lines[0], role) + " " + hint)
        role.unknown = None
        return role

    def knowledge(self, passages: Sequence[Passage]) -> str:
        """The knowledge block as the desk renders it."""
        if not passages:
            return str(self.layout["none"])
        items = [
            self.layout["item"].format(i=number, title=passage.title, text=passage.text)
            for number, passage in enumerate(passages, 1)
        ]
        return "\n".join([self.layout["header"], *items])

    def head(self, role: Role, passages: Sequence[Passage]) -> Turn:
        """The one system message: role text, blank line, knowledge."""
        return system(f"{role.text}\n\n{self.knowledge(passages)}")

    def message(self, text: str) -> str:
        """A question as a customer would type it: greeting, case, punctuation and typing errors."""
        values, follow = self.values, self.follow
        starts = text.split(" ", 1)[0].lower()
        asks = starts in follow["question_starts"]
        if asks and starts in follow["indirect_starts"] and values.chance(0.12):
            text = values.pick(part(follow["indirect"], "indirect", self.wording)) + " " + text
        text = values.pick(follow["before"]) + text
        ending = values.pick(follow["after"])
        if values.chance(0.7):
            text = text[:1].upper() + text[1:]
        if ending.strip() == "??":
            text += ending
        elif asks:
            text += ending + ("?" if values.chance(0.85) else "")
        else:
            text += ending + values.pick([".", ".", ".", "", "", "!"])
        if values.chance(0.12):
            text = text.lower()
        if values.chance(0.06) and len(text) > 12:
            place = values.number(3, len(text) - 3)
            text = text[:place] + text[place + 1 :]
        return text

    def typed(self, question: str) -> str:
        """A question as it is trained: said loosely, then typed as a customer would."""
        return self.message(self.loose.say(question, self.values.rng) if self.loose else question)

    def ask(self, statement: Statement) -> Question:
        """A question that a statement answers."""
        return self.shelf.ask(statement.fact, statement.values)

    def refusal(self, role: Role) -> str:
        """The bare words of a reply when nothing answers."""
        if role.unknown:
            return role.unknown
        return str(self.values.pick(self.talk["refusals_short" if role.short else "refusals"]))

    def answer(self, role: Role, question: Question, passages: Sequence[Passage], weight: float = 1.0) -> Turn:
        """The right reply to a question given the passages. An earlier reply (weight 0) has lost its reasoning, as the
        desk takes it out of the history."""
        found = find_answer(question, passages)
        if found is None:
            text = self._thought(role, "none", weight) + self.roles.dress(role, self.refusal(role), bare=True)
            mark = self.refusal_mark(text)
            choice = Choice(max(0, text.find(">") + 1 if role.think else text.find(mark)), "") if passages else None
            return reply(text, [*role.heavy(), (mark, 3.0, 1.0), *_CHOICES], weight, choice)
        core = found.sentence
        if found.fact.reply and not self.values.chance(_QUOTE_SHARE):
            core = self._reworded(found)
        number = next(i for i, passage in enumerate(passages, 1) if found in passage.statements)
        text = self._thought(role, str(number), weight) + self.roles.dress(role, core)
        heavy = [*role.heavy(), (core, 4.0, 1.2), *((value, 4.0, 2.5) for value in found.answers())]
        choice = Choice(
            text.find(f"[{number}]") + 1 if role.think and weight else text.find(core), passages[number - 1].text
        )
        return reply(text, [*heavy, (f"<think>{number}", 1.0, 4.0)], weight, choice)

    def _thought(self, role: Role, passage: str, weight: float) -> str:
        return self.roles.thought(role, passage) if weight else ""

    def refusal_mark(self, text: str) -> str:
        """The refusing words within a reply, so that their first token weighs more."""
        for phrase in [*self.talk["refusals"], *self.talk["refusals_short"], *self.roles.sheet["unknown_phrases"]]:
            if phrase in text:
                return str(phrase)
        return ""

    def _reworded(self, found: Statement) -> str:
        template = choose(self.values.pick(found.fact.reply), self.values.rng)
        if not set(found.fact.facts) <= set(_slot_names(template)):
            return found.sentence
        name = fill(self.values.pick(found.fact.names or ("",)), found.values)
        return fill(template, dict(found.values) | {"x": name, "X": capital(name)})

    def pick_question(self, statements: Sequence[Statement], missing: Sequence[Question], share: float = 0.6) -> Question:
        """A question that is usually answered by some statement."""
        if not statements or (missing and not self.values.chance(share)):
            return self.values.pick(missing)  # type: ignore[no-any-return]
        return self.ask(self.values.pick(statements))

    def passages(self, question: Question, statements: Sequence[Statement]) -> list[Passage]:
        """What the retriever hands over; for a part of the corpus in another order."""
        found = self.shelf.retrieve(question, statements, self.values.pick(self.most_passages))
        if self.values.chance(_SHUFFLED_SHARE):
            self.values.rng.shuffle(found)
        return found

    def single(self, role: Role, statements: Sequence[Statement], missing: Sequence[Question]) -> Shaped:
        """One question, its passages, the reply."""
        question = self.pick_question(statements, missing)
        passages = self.passages(question, statements)
        turns = [self.head(role, passages), user(self.typed(question.text)), self.answer(role, question, passages)]
        return turns, facts_of(question, passages)

    def same_passages(self, role: Role, statements: Sequence[Statement], missing: Sequence[Question]) -> Shaped:
        """Several questions over the same passages: the model alone has to choose."""
        first = self.pick_question(statements, missing, 0.97)
        passages = self.passages(first, statements)
        held = [statement for passage in passages for statement in passage.statements]
        self.values.rng.shuffle(held)
        # The question that was searched for comes first, so that an order that means something is always met there.
        questions = [first, *(self.ask(statement) for statement in held[:4] if statement.fact is not first.fact)]
        if missing and self.values.chance(0.4):
            # What none of these passages answers, among what they do: declining is learnt by the difference.
            questions.insert(self.values.number(1, len(questions)), self.values.pick(missing))
        turns = [self.head(role, passages)]
        for question in questions:
            turns += [user(self.typed(question.text)), self.answer(role, question, passages)]
        return turns, facts_of(questions[-1], passages)

    def matching(self) -> Document:
        """Many questions, each answered by the number of its passage alone: choosing, drilled."""
        values = self.values
        statements, missing = self.shelf.make(values.number(2, 4))
        shown = values.rng.sample(statements, min(len(statements), values.number(3, 7)))
        asked = [(self.ask(statement).text, number) for number, statement in enumerate(shown, 1)] * 2
        asked += [(question.text, 0) for question in missing if find_answer(question, [_whole(shown)]) is None]
        pairs = [(statement.title, statement.sentence) for statement in shown]
        return self.numbered(pairs, values.rng.sample(asked, min(len(asked), 9)))

    def numbered(self, passages: Sequence[tuple[str, str]], asked: Sequence[tuple[str, int]]) -> Document:
        """Titles with texts, and messages with the number of the passage that answers each; 0 is none."""
        items = [
            self.layouts["desk"]["item"].format(i=i, title=title, text=text) for i, (title, text) in enumerate(passages, 1)
        ]
        wording = self.values.pick(part(self.follow["match"], "match", self.wording, self.more["match"]))
        turns = [system("\n".join([choose(wording, self.values.rng), "", self.layouts["desk"]["header"], *items]))]
        for question, number in asked:
            said = str(number) if number else "none"
            choice = Choice(0, passages[number - 1][1] if number else "")
            turns += [user(self.typed(question)), reply(said, [(said, 1.0, 3.0)], 2.0, choice)]
        return Document("matching", turns, {"kind": "matching"})

    def conversation(self, role: Role, statements: Sequence[Statement], missing: Sequence[Question]) -> Shaped:
        """Earlier turns whose passages are gone, then a question with its passages, or one about an earlier fact."""
        values, earlier, told = self.values, [], None
        for _ in range(values.number(1, self.most_turns)):
            question = self.pick_question(statements, missing, 0.9)
            passages = self.shelf.retrieve(question, statements, 3)
            found = find_answer(question, passages)
            told = found if found and found.answers() else told
            earlier += [user(self.typed(question.text)), self.answer(role, question, passages, weight=0.0)]
        if told is not None and values.chance(0.6):
            return self._follow_up(role, earlier, told, statements)
        question = self.pick_question(statements, missing)
        passages = self.passages(question, statements)
        last = [user(self.typed(question.text)), self.answer(role, question, passages)]
        return [self.head(role, passages), *earlier, *last], facts_of(question, passages)

    def _follow_up(self, role: Role, earlier: list[Turn], told: Statement, statements: Sequence[Statement]) -> Shaped:
        values = self.values
        key = values.pick(["again", "confirm", "wrong"])
        value = told.answers()[0]
        same_slot = [other.values[told.fact.facts[0]] for other in statements if told.fact.facts[0] in other.values]
        words = {"v": value, "w": values.pick(same_slot), "sentence": told.sentence}
        if key == "wrong" and words["w"] == value:
            key = "confirm"
        said = next(turn.text for turn in reversed(earlier) if turn.speaker == "assistant")
        if key != "again" or value in said:
            asked = choose(fill(values.pick(part(self.follow[key], key, self.wording)), words), values.rng)
            core = fill(values.pick(self.follow[f"{key}_reply"]), words)
        else:
            asked, core = self.typed(self.ask(told).text), told.sentence
        passages = [] if values.chance(0.6) else self.shelf.retrieve(self.ask(values.pick(statements)), statements, 2)
        text = self.roles.thought(role, "earlier") + self.roles.dress(role, core, bare=True)
        answer = reply(text, [*role.heavy(), (core, 3.0, 1.0), (value, 4.0, 2.5), *_CHOICES])
        asked = asked + ("?" if values.chance(0.7) else "")
        meta = {"kind": "recall", "facts": [value], "wrong": []}
        return [self.head(role, passages), *earlier, user(asked), answer], meta

    def examples(self, role: Role, count: int) -> list[Turn]:
        """Few-shot turns in the role's style. Their passages are not shown, so they are read, not learnt."""
        statements, _ = self.shelf.make(max(2, count // 2))
        turns: list[Turn] = []
        for statement in self.values.rng.sample(statements, min(count, len(statements))):
            shown = [Passage(statement.title, (statement,))]
            answer = self.answer(role, self.ask(statement), shown, weight=0.0)
            turns += [user(self.typed(self.ask(statement).text)), answer]
        return turns


def _whole(statements: Sequence[Statement]) -> Passage:
    return Passage("", tuple(statements))


def _slot_names(template: str) -> list[str]:
    return [piece.split("}")[0] for piece in template.split("{")[1:]]


def facts_of(question: Question, passages: Sequence[Passage]) -> dict[str, Any]:
    """What a right reply states, what it must not state."""
    found = find_answer(question, passages)
    shown = [statement for passage in passages for statement in passage.statements]
    right: Collection[str] = found.answers() if found else []
    others = [value for statement in shown if statement is not found for value in statement.answers()]
    wrong = [value for value in others if value not in right]
    context = [question.values[name] for name in sorted(CONTEXT_SLOTS & set(question.values))]
    return {"kind": "answer" if found else "refuse", "facts": list(right), "wrong": wrong, "about": context}
