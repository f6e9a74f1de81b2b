"""Random values for the corpus's slots: companies, people, amounts, dates, addresses, codes.

Contract: every value is invented anew per document, so that a model can only know it by reading it. Pools of names
come from `wordings/names.yaml`; this file holds formats, not prose.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Pools = Mapping[str, Sequence[str]]


class Values:
    """Draws values. One object per document: it holds the document's random generator."""

    def __init__(self, pools: Pools, rng: random.Random) -> None:
        self.pools = pools
        self.rng = rng
        self._makers: dict[str, Callable[[], str]] = {
            "days": self.days, "amt": self.amount, "phone": self.phone, "url": self.url, "email": self.email,
            "path": self.path, "hours": self.hours, "time": self.time, "address": self.address, "code": self.code,
            "prod": self.product, "plan": self.plan, "word": lambda: self.word().capitalize(), "brand": self.company,
            "person": self.person, "date": self.date, "button": lambda: self.of("buttons"),
            "country": lambda: self.of("countries"), "color": lambda: self.of("colors"),
            "color2": lambda: self.of("colors"), "team": lambda: self.of("teams"), "pay": lambda: self.of("pay_ways"),
            "pay2": lambda: self.of("pay_ways"), "paymethod": lambda: self.of("refund_targets"),
            "paymethod2": lambda: self.of("store_credits"), "payer": lambda: self.of("payers"),
            "weekday": lambda: self.of("weekdays"), "freq": lambda: self.of("frequencies"),
            "part": lambda: self.of("parts"), "place": lambda: self.of("places"), "keys": lambda: self.of("keys"),
            "browser": lambda: self.of("browsers"), "pct": lambda: f"{self.number(2, 75)}%", "n": lambda: self.count(),
            "n2": lambda: self.count(), "kg": lambda: f"{self.number(2, 60)} kg", "dom": self.day_of_month,
            "gb": lambda: f"{self.number(2, 900)} GB", "mb": lambda: f"{self.number(2, 900)} MB",
            "mins": lambda: f"{self.number(2, 90)} minutes", "secs": lambda: f"{self.number(3, 60)} seconds",
            "hrs": lambda: f"{self.number(2, 96)} hours", "months": self.months, "rate": self.rate,
            "years": lambda: f"{self.number(2, 30)} years", "speed": lambda: f"{self.number(5, 900)} Mbps",
            "size": lambda: f"{self.number(20, 60)} x {self.number(15, 45)} cm", "ip": self.ip,
            "dist": lambda: f"{self.number(2, 900)} {self.pick(['metres', 'm'])}", "ver": self.version,
            "pin": lambda: self.digits(self.number(4, 6)), "cents": lambda: f"{self.number(8, 79)} cents",
            "acct": lambda: f"{self.pick(['DE', 'FR', 'GB', 'NL', ''])}{self.digits(8)}",
            "year": lambda: str(self.number(1890, 2024)),
        }  # fmt: skip

    def make(self, name: str) -> str:
        """A value for the slot of this name."""
        return self._makers[name]()

    def fill_slots(self, names: Iterable[str]) -> dict[str, str]:
        """Values for many slots; a fixed order keeps documents reproducible."""
        return {name: self.make(name) for name in sorted(names)}

    def pick(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return self.rng.choice(options)

    def of(self, pool: str) -> str:
        """One of a named pool."""
        return self.rng.choice(self.pools[pool])

    def number(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self.rng.randint(low, high)

    def chance(self, share: float) -> bool:
        """True in this share of draws."""
        return self.rng.random() < share

    def digits(self, count: int) -> str:
        """A string of digits."""
        return "".join(str(self.number(0, 9)) for _ in range(count))

    def word(self, syllables: int = 0) -> str:
        """An invented word."""
        count = syllables or self.pick([1, 2, 2, 2, 3])
        body = "".join(self.of("syllable_starts") + self.of("syllable_vowels") for _ in range(count))
        return body + self.of("syllable_ends")

    def name(self) -> str:
        """An invented proper name."""
        return (self.word() if self.chance(0.6) else self.of("stems") + self.of("stems")).capitalize()

    def company(self) -> str:
        """An invented company."""
        form = self.number(0, 3)
        if form == 0:
            return self.name()
        if form == 1:
            return f"{self.name()} {self.of('trades')}"
        if form == 2:
            return f"{self.of('stems').capitalize()} {self.of('suffixes')}"
        return f"{self.of('stems').capitalize()} {self.of('stems').capitalize()}"

    def first_name(self) -> str:
        """A first name, at times an invented one."""
        return self.of("first_names") if self.chance(0.7) else self.word().capitalize()

    def person(self) -> str:
        """A full name."""
        last = self.of("last_names") if self.chance(0.7) else self.name()
        return f"{self.of('first_names')} {last}"

    def days(self) -> str:
        """A span of days or weeks."""
        form = self.number(0, 9)
        if form < 5:
            return f"{self.number(2, 60)} {self.of('day_units')}"
        if form < 8:
            low = self.number(1, 12)
            joint = self.pick([" to ", "-"])
            return f"{low}{joint}{low + self.number(1, 9)} {self.of('day_units')}"
        return f"{self.pick([self.number(2, 12), self.of('number_words')])} weeks"

    def months(self) -> str:
        """A span of months or years."""
        return f"{self.number(2, 60)} months" if self.chance(0.6) else f"{self.number(2, 10)} years"

    def amount(self) -> str:
        """A sum of money."""
        sign = self.pick("$$€£")
        form = self.number(0, 9)
        if form < 4:
            return f"{sign}{self.number(1, 99)}.{self.pick(['99', '95', '50', '00', '49', '90', '25'])}"
        if form < 8:
            return f"{sign}{self.number(2, 999)}"
        if form < 9:
            return f"{self.number(2, 300)} {self.pick(['euros', 'dollars', 'pounds'])}"
        return f"{sign}{self.number(1, 9)},{self.number(0, 999):03d}"

    def rate(self) -> str:
        """An interest rate."""
        return f"{self.number(0, 19)}.{self.number(1, 9)}%"

    def phone(self) -> str:
        """A telephone number."""
        return str(
            self.pick(
                [
                    f"{self.pick(['0800', '0808', '1-800', '1-888'])}-{self.digits(3)}-{self.digits(4)}",
                    f"+{self.number(1, 99)} {self.digits(3)} {self.digits(3)} {self.digits(3)}",
                    f"({self.digits(3)}) {self.digits(3)}-{self.digits(4)}",
                    f"0{self.digits(3)} {self.digits(6)}",
                ]
            )
        )

    def domain(self) -> str:
        """A web domain."""
        body = self.word() if self.chance(0.5) else self.of("stems") + self.of("stems")
        return body + self.of("tlds")

    def url(self) -> str:
        """A web address."""
        start = self.pick(["", "www.", "https://", "help.", ""])
        return f"{start}{self.domain()}/{self.of('page_words') if self.chance(0.7) else self.word()}"

    def email(self) -> str:
        """An email address."""
        return f"{self.of('mail_words') if self.chance(0.8) else self.word()}@{self.domain()}"

    def path(self) -> str:
        """A path through a menu."""
        joint = self.pick([" > ", " > ", " / ", " -> "])
        last = self.of("actions") if self.chance(0.8) else self.word().capitalize()
        steps = [self.of("menus"), self.of("submenus"), last]
        return str(joint.join(steps[: self.pick([2, 3, 3])]))

    def time(self) -> str:
        """A time of day."""
        if self.chance(0.3):
            return f"{self.number(6, 22):02d}:{self.pick(['00', '30', '15'])}"
        return f"{self.number(1, 12)}{self.pick([':30', '', ':15', ':45'])}{self.pick([' am', ' pm'])}"

    def hours(self) -> str:
        """Opening hours."""
        first = self.number(0, 3)
        days = self.pools["weekdays"]
        span = f"{days[first]} to {days[self.number(first + 1, 6)]}"
        when = self.pick([span, span, "every day", "on weekdays"])
        return f"{when} from {self.number(6, 11)} am to {self.number(3, 10)} pm"

    def date(self) -> str:
        """A day of the year."""
        day, month = self.number(1, 28), self.of("months")
        return f"{day} {month}" if self.chance(0.6) else f"{month} {day}"

    def day_of_month(self) -> str:
        """A day of the month, as an ordinal."""
        day = self.number(1, 28)
        ending = "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
        return f"{day}{ending}"

    def address(self) -> str:
        """A street address."""
        street = self.word().capitalize() if self.chance(0.5) else self.of("stems").capitalize()
        return f"{self.number(1, 399)} {street} {self.of('streets')}, {self.word(2).capitalize()}"

    def product(self) -> str:
        """A product's name."""
        form = self.number(0, 3)
        if form == 0:
            return self.of("products")
        if form == 1:
            return f"{self.word().capitalize()} {self.of('products')}"
        if form == 2:
            return f"{self.word().capitalize()} {self.number(1, 900)}"
        return f"{self.of('adjectives')} {self.of('products')}"

    def plan(self) -> str:
        """A tariff's name."""
        base = self.of("plans") if self.chance(0.8) else self.word().capitalize()
        return base + str(self.pick(["", f" {self.number(1, 20) * 5}", "", " Plus"]))

    def code(self) -> str:
        """A code or form number."""
        letters = "".join(self.pick("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(3))
        return str(self.pick([
            f"{self.word(2).upper()}{self.number(5, 99)}", f"{letters}{self.number(100, 9999)}",
            f"{self.of('stems').upper()}{self.number(5, 50)}",
        ]))  # fmt: skip

    def reference(self, kind: str) -> str:
        """A customer's own reference of this kind."""
        if "email" in kind:
            return f"{self.of('first_names').lower()}{self.number(1, 99)}@{self.domain()}"
        if "phone" in kind:
            return self.phone()
        letters = "".join(self.pick("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(2))
        return str(self.pick([str(self.number(10000, 9999999)), f"{letters}-{self.number(1000, 99999)}",
                              f"#{self.number(1000, 999999)}", f"{letters}{self.number(10000, 999999)}"]))  # fmt: skip

    def count(self) -> str:
        """A plain count."""
        return str(self.number(2, 30) if self.chance(0.6) else self.number(30, 900))

    def version(self) -> str:
        """A version number."""
        return f"{self.number(1, 19)}.{self.number(0, 9)}"

    def ip(self) -> str:
        """A private network address."""
        return f"192.168.{self.number(0, 99)}.{self.number(1, 250)}"
