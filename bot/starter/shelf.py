"""A shelf of invented articles and the retriever's view of it.

Contract: `ShelfMaker.make` writes a few articles of random facts; `retrieve` ranks their sentences for a question as
the desk's retriever would (its mistakes included) and returns the few best passages, or none under the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.starter.ranking import THRESHOLD, Bank, Phrase
from bot.starter.values import Values
from bot.starter.wordings import CONTEXT_SLOTS, Fact, Split, Synonyms, capital, fill

_THRESHOLD_SPREAD = 0.08
"""Desks may set their threshold differently."""
_EXTRA_SENTENCES = (0, 0, 0, 0, 0, 0, 1, 1, 1, 2)
"""How many sentences follow the best one in a passage."""
_SWAP_SHARE = 0.3
"""How many phrases with synonyms are swapped beyond what the bank holds."""


@dataclass(frozen=True)
class Statement:
    """One sentence of one article."""

    fact: Fact
    phrase: Phrase
    sentence: str
    values: Mapping[str, str]
    article: int
    title: str

    def answers(self) -> list[str]:
        """The values that a customer wants to know."""
        return [self.values[name] for name in self.fact.facts]


@dataclass(frozen=True)
class Passage:
    """What reaches the prompt: a title and one to three sentences, the best first."""

    title: str
    statements: tuple[Statement, ...]

    @property
    def text(self) -> str:
        """The passage's sentences."""
        return " ".join(statement.sentence for statement in self.statements)


@dataclass(frozen=True)
class Question:
    """A question about a fact, and the values it is about."""

    fact: Fact
    phrase: Phrase
    text: str
    values: Mapping[str, str]


class ShelfMaker:
    """Writes articles. `topics` are those that may be used; `wording` says which passage wordings."""

    def __init__(
        self,
        bank: Bank,
        topics: Mapping[str, Sequence[Fact]],
        values: Values,
        wording: Split,
        synonyms: Mapping[str, Synonyms],
    ) -> None:
        self.bank, self.topics, self.values, self.wording = bank, topics, values, wording
        self._synonyms = synonyms if wording == "train" else {}
        names = sorted(topics)
        self._written = [name for name in names if not topics[name][0].names]
        self._things = [name for name in names if topics[name][0].names]

    def draw_topics(self, count: int) -> list[str]:
        """Topics for one shelf: written ones, things, or both; an invented name may come several times."""
        form = self.values.number(0, 9)
        pool = self._written if form < 5 else self._things if form < 8 else self._written + self._things
        pool = pool or self._written or self._things
        drawn = self.values.rng.sample(pool, min(count, len(pool)))
        for topic in list(drawn):
            if self.topics[topic][0].named:
                drawn += [topic] * self.values.pick([0, 1, 2])
        return drawn

    def make(self, count: int) -> tuple[list[Statement], list[Question]]:
        """Statements of `count` articles or so, and questions that none of them answers."""
        statements: list[Statement] = []
        missing: list[Question] = []
        topics = self.draw_topics(count)
        for article, topic in enumerate(topics):
            facts = list(self.topics[topic])
            self.values.rng.shuffle(facts)
            context = self._context(facts)
            kept = facts[: self.values.number(1, min(len(facts), 5))]
            title = fill(self._title(facts[0].titles), context)
            for fact in kept:
                statements.append(self._state(fact, context, article, title))
            if topics.count(topic) == 1:
                missing += [self.ask(fact, self._all_values(fact, context)) for fact in facts[len(kept) :][:1]]
        others = [topic for topic in self.topics if topic not in topics]
        for topic in self.values.rng.sample(others, min(2, len(others))):
            fact = self.values.pick(self.topics[topic])
            missing.append(self.ask(fact, self._all_values(fact, self._context([fact]))))
        return statements, missing

    def _title(self, titles: Sequence[str]) -> str:
        """The article's title, for a part with a section's heading behind it."""
        article = self.values.pick(titles)
        others = [title for title in titles if title != article]
        return f"{article} - {self.values.pick(others)}" if others and self.values.chance(0.3) else article

    def _context(self, facts: Sequence[Fact]) -> dict[str, str]:
        used = {name for fact in facts for name in fact.slots} & CONTEXT_SLOTS
        return self.values.fill_slots(used)

    def _all_values(self, fact: Fact, context: Mapping[str, str]) -> dict[str, str]:
        return self.values.fill_slots(fact.slots - CONTEXT_SLOTS) | dict(context)

    def _state(self, fact: Fact, context: Mapping[str, str], article: int, title: str) -> Statement:
        values = self._all_values(fact, context)
        phrase = self.values.pick(self.bank.phrases(fact, "say", self.wording))
        return Statement(fact, phrase, capital(fill(self._vary(phrase, "say"), values)), values, article, title)

    def ask(self, fact: Fact, values: Mapping[str, str], wording: Split | None = None) -> Question:
        """A question about a fact."""
        phrase = self.values.pick(self.bank.phrases(fact, "ask", wording or self.wording))
        return Question(fact, phrase, fill(self._vary(phrase, "ask"), values), values)

    def _vary(self, phrase: Phrase, which: str) -> str:
        swap = self._synonyms.get(which)
        return swap.swap(phrase.text, self.values.rng, _SWAP_SHARE) if swap else phrase.text

    def rank(self, question: Question, statements: Sequence[Statement]) -> list[tuple[float, Statement]]:
        """All statements with their score, best first."""
        scores = self.bank.scores(question.phrase, [statement.phrase for statement in statements])
        rated = []
        for score, statement in zip(scores.tolist(), statements, strict=True):
            if statement.fact.named and self._other_name(question, statement):
                score -= self.values.rng.uniform(0.05, 0.3)
            rated.append((float(score) + self.values.rng.gauss(0, 0.02), statement))
        return sorted(rated, key=lambda pair: -pair[0])

    @staticmethod
    def _other_name(question: Question, statement: Statement) -> bool:
        mine = {question.values.get(name) for name in ("prod", "plan", "word")}
        theirs = {statement.values.get(name) for name in ("prod", "plan", "word")}
        return question.fact.topic == statement.fact.topic and mine != theirs

    def retrieve(self, question: Question, statements: Sequence[Statement], count: int) -> list[Passage]:
        """The best passages for a question, best first; none where nothing passes the threshold."""
        passages: list[Passage] = []
        taken: set[int] = set()
        threshold = THRESHOLD + self.values.rng.uniform(-_THRESHOLD_SPREAD, _THRESHOLD_SPREAD)
        for score, statement in self.rank(question, statements):
            if score < threshold or len(passages) == count:
                break
            if id(statement) in taken:
                continue
            beside = [other for other in statements if other.article == statement.article and other is not statement]
            others = [other for other in beside if id(other) not in taken]
            group = [statement, *others[: self.values.pick(_EXTRA_SENTENCES)]]
            taken.update(id(member) for member in group)
            passages.append(Passage(statement.title, tuple(group)))
        return passages


def find_answer(question: Question, passages: Sequence[Passage]) -> Statement | None:
    """The statement among the passages that answers the question."""
    for passage in passages:
        for statement in passage.statements:
            if statement.fact is question.fact and not ShelfMaker._other_name(question, statement):
                return statement
    return None
