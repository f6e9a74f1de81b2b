"""Made-up personal data of eight kinds as people of several countries write it, in sentences of support chats. Seeded."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

NAMES = ["anna", "jose", "li.wei", "m_okafor", "k-schmidt", "sofia99", "r.patel", "o'brien", "zoe.b"]
HOSTS = ["example.com", "mail.example.org", "firma.example.de", "correo.example.es", "example.co.uk", "my-shop.example.net"]
TOWNS = ["Leeds", "Springfield", "San Mateo", "Oak Park", "York", "St. Albans"]
STREETS = ["High", "Maple", "Station", "Elm Tree", "King's", "Old Mill", "Washington", "42nd"]
SENTENCES = {
    "EMAIL": ["my email is {}", "Please write to {} instead.", "{} is the address i signed up with", "it's {}, thanks!", "(mail: {})"],
    "PHONE": ["call me on {} after 5", "My number is {}.", "you can reach me at {} or by mail", "phone: {}", "{} is my mobile"],
    "CARD": ["i paid with card {}", "The card number is {}, is it blocked?", "my visa {} was charged twice", "{} exp 12/27", "card: {}."],
    "IBAN": ["refund to {} please", "My IBAN is {}.", "iban: {}", "send it to {}, thank you", "the account is {} at my bank"],
    "ORDER": ["where is my order {}", "Order number {} has not come.", "order no. {} is late by 3 days", "order #{} came broken", "the ticket is {}"],
    "ACCOUNT": ["my account number is {}", "customer number {}", "Account no: {}", "member id {} here", "i am customer {}, remember?"],
    "ADDRESS": ["i live at {}", "Please deliver to {}.", "my address is {}, can you change it?", "{} is where it should go", "ship to: {}"],
    "IP": ["the hub has {}", "my ip is {}", "I was logged in from {}.", "router at {} does not answer", "{} is blocked, why?"],
}  # fmt: skip


def digits(chance: random.Random, count: int) -> str:
    return "".join(str(chance.randrange(10)) for _ in range(count))


def email(chance: random.Random) -> str:
    address = f"{chance.choice(NAMES)}{chance.choice(['', '1', '+shop', digits(chance, 3)])}@{chance.choice(HOSTS)}"
    return chance.choice([address, address, address.upper(), address.replace("@", " [at] ").replace(".", " [dot] ")])


def phone(chance: random.Random) -> str:
    """Of the United States, Britain, Germany, France, India, Spain and Italy."""
    d = lambda n: digits(chance, n)  # noqa: E731
    area = chance.choice(["212", "415", "312", "206", "617"])
    local = f"{chance.randrange(2, 10)}{d(2)}"
    return chance.choice(
        [
            f"({area}) {local}-{d(4)}",
            f"{area}-{local}-{d(4)}",
            f"+1 {area} {local} {d(4)}",
            f"{area}.{local}.{d(4)}",
            f"07{chance.randrange(4, 10)}{d(2)} {d(6)}",
            f"+44 7{chance.randrange(4, 10)}{d(2)} {d(6)}",
            f"020 7{d(3)} {d(4)}",
            f"0{chance.choice(['151', '170', '176'])} {chance.randrange(1, 10)}{d(7)}",
            f"+49 30 {chance.randrange(1, 10)}{d(6)}",
            f"0{chance.randrange(1, 8)} {d(2)} {d(2)} {d(2)} {d(2)}",
            f"+33 6 {d(2)} {d(2)} {d(2)} {d(2)}",
            f"+91 {chance.randrange(6, 10)}{d(4)} {d(5)}",
            f"9{d(4)}-{d(5)}",
            f"+34 6{d(2)} {d(3)} {d(3)}",
            f"+39 34{d(1)} {d(3)} {d(4)}",
        ]
    )


def card(chance: random.Random) -> str:
    prefix, length = chance.choice([("4", 16), ("51", 16), ("55", 16), ("2223", 16), ("34", 15), ("37", 15), ("6011", 16)])
    number = prefix + digits(chance, length - 1 - len(prefix))
    total = sum(sum(divmod(int(c) * (2 if place % 2 == 0 else 1), 10)) for place, c in enumerate(reversed(number)))
    number += str(-total % 10)
    groups = [4, 4, 4, 4] if length == 16 else [4, 6, 5]
    parts = [number[sum(groups[:place]) : sum(groups[: place + 1])] for place in range(len(groups))]
    return chance.choice(["", " ", "-"]).join(parts)


def iban(chance: random.Random) -> str:
    country, body = chance.choice(
        [
            ("DE", digits(chance, 18)),
            ("AT", digits(chance, 16)),
            ("GB", chance.choice(["NWBK", "BARC", "LOYD"]) + digits(chance, 14)),
            ("NL", chance.choice(["ABNA", "INGB", "RABO"]) + digits(chance, 10)),
            ("CH", digits(chance, 17)),
            ("IE", "AIBK" + digits(chance, 14)),
        ]
    )
    number = "".join(str(int(c, 36)) for c in body + country + "00")
    whole = f"{country}{98 - int(number) % 97:02}{body}"
    spaced = " ".join(whole[place : place + 4] for place in range(0, len(whole), 4))
    return chance.choice([whole, spaced, whole.lower(), spaced])


def order(chance: random.Random) -> str:
    return chance.choice(
        [
            f"LM-{digits(chance, 5)}",
            f"{chance.randrange(1, 10)}{digits(chance, chance.randrange(4, 9))}",
            f"{digits(chance, 3)}-{digits(chance, 7)}-{digits(chance, 7)}",
            f"ORD-2026-{digits(chance, 6)}",
            f"AB{digits(chance, 7)}",
            f"1Z{digits(chance, 3)}AA{digits(chance, 11)}",
        ]
    )


def account(chance: random.Random) -> str:
    return chance.choice(
        [
            f"{chance.randrange(1, 10)}{digits(chance, chance.randrange(5, 10))}",
            f"C-{digits(chance, 6)}",
            f"KD{digits(chance, 6)}",
            f"{chance.randrange(1, 10)}{digits(chance, 2)} {digits(chance, 3)} {digits(chance, 3)}",
            f"{digits(chance, 4)}-{digits(chance, 4)}",
        ]
    )


def address(chance: random.Random) -> str:
    """Of the United States, Britain, Germany, France, Spain, the Netherlands, Italy and India."""
    number, street, town = chance.randrange(1, 400), chance.choice(STREETS), chance.choice(TOWNS)
    letter = chance.choice("ABDEFGH")
    return chance.choice(
        [
            f"{number} {street} {chance.choice(['Street', 'St', 'Ave', 'Road', 'Lane', 'Dr', 'Blvd'])}, {town}, {chance.choice(['IL', 'CA', 'NY', 'TX'])} {digits(chance, 5)}",
            f"{number} {street.lower()} {chance.choice(['street', 'road', 'lane', 'avenue'])}",
            f"{number} {street} {chance.choice(['Drive', 'Court', 'Place', 'Way'])}, Apt {chance.randrange(1, 40)}{letter}",
            f"{number} {street} Road, {town} {chance.choice(['LS', 'M', 'SW', 'B'])}{chance.randrange(1, 10)} {chance.randrange(1, 10)}{letter}{chance.choice('ABDEF')}",
            f"{chance.choice(['Hauptstraße', 'Lange Gasse', 'Goethestr.', 'Birkenweg', 'Alexanderplatz'])} {number}{chance.choice(['', 'a'])}, {chance.randrange(10000, 99999)} {chance.choice(['Berlin', 'Köln', 'Bad Homburg'])}",
            f"{number} rue {chance.choice(['de la Paix', 'Victor Hugo', 'des Lilas'])}, {chance.randrange(10000, 96000)} {chance.choice(['Paris', 'Lyon'])}",
            f"Calle {chance.choice(['Mayor', 'de Alcalá', 'Gran Via'])} {number}, {chance.randrange(10000, 52000)} {chance.choice(['Madrid', 'Sevilla'])}",
            f"{chance.choice(['Keizersgracht', 'Dorpsstraat', 'Kerklaan'])} {number}, {chance.randrange(1000, 9999)} {letter}{letter} {chance.choice(['Amsterdam', 'Utrecht'])}",
            f"Via {chance.choice(['Roma', 'Garibaldi'])} {number}, {chance.randrange(10000, 98000)} Milano",
            f"Flat {chance.randrange(1, 90)}, {chance.choice(['Lotus', 'Sai'])} Apartments, MG Road, {chance.choice(['Bengaluru', 'Pune'])} {chance.randrange(110000, 800000)}",
            f"P.O. Box {digits(chance, 4)}",
        ]
    )  # fmt: skip


def internet_address(chance: random.Random) -> str:
    four = ".".join(str(chance.randrange(1, 255)) for _ in range(4))
    six = ":".join(f"{chance.randrange(1, 65536):x}" for _ in range(8))
    return chance.choice([four, four, six, f"fe80::{chance.randrange(1, 65536):x}:{chance.randrange(1, 65536):x}"])


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "EMAIL": email,
    "PHONE": phone,
    "CARD": card,
    "IBAN": iban,
    "ORDER": order,
    "ACCOUNT": account,
    "ADDRESS": address,
    "IP": internet_address,
}


def examples(kind: str, count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """A sentence and the value in it."""
    chance = random.Random(f"{kind}/{seed}")
    for number in range(count):
        value = MAKERS[kind](chance)
        yield SENTENCES[kind][number % len(SENTENCES[kind])].format(value), value
