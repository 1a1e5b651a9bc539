"""Questions with known answers on a handbook of our own making: a seed in, sections, questions and a judge of answers out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

SERVICES = (
    "Gift wrapping", "Boat hire", "Piano tuning", "Garden care", "Dog walking", "Key cutting", "Carpet cleaning", "Film printing",
    "Bicycle repair", "Cake delivery", "Tent rental", "Mask fitting", "Clock repair", "Sofa storage", "Wine tasting", "Violin lessons",
    "Roof inspection", "Shoe polishing", "Map drawing", "Kite making", "Tea blending", "Pottery firing", "Ski waxing", "Lamp painting",
)  # fmt: skip
PEOPLE = (
    "Ada", "Boris", "Chen", "Dana", "Emre", "Femi", "Gita", "Hugo", "Ines", "Jonas", "Kira", "Leo",
    "Mina", "Nils", "Olga", "Pavel", "Quinn", "Rosa", "Sven", "Tara", "Uma", "Viktor", "Wanda", "Yusuf",
)  # fmt: skip
HANDBOOK = 8  # sections in one; a model of this size finds hardly anything among more
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WORD = re.compile(r"[A-Za-z]+|\d+")


@dataclass(frozen=True)
class Service:
    """A section of the handbook: one service with three facts."""

    name: str
    price: str
    person: str
    day: str

    @property
    def section(self) -> str:
        """The section as the handbook has it."""
        low = self.name.lower()
        return (
            f"## {self.name}\n\nThe price of {low} is {self.price} pounds. The person in charge of {low} is {self.person}."
            f" The day of {low} is {self.day}."
        )


@dataclass(frozen=True)
class Question:
    """What is asked, of which service, and the facts that a right answer has."""

    number: int
    text: str
    service: Service
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """An answer judged without a model, each score in [0, 1].

    Accuracy: every fact asked for is there, and no other one of its kind. Completeness: the share of the facts
    asked for that is there. Relevance: the share of the handbook's facts in the answer that were asked for.
    """

    accuracy: float
    completeness: float
    relevance: float


def services(seed: int = 1) -> list[Service]:
    random = Random(seed)
    prices, people = random.sample(range(11, 99), len(SERVICES)), random.sample(PEOPLE, len(SERVICES))
    return [
        Service(name, str(price), person, random.choice(DAYS))
        for name, price, person in zip(SERVICES, prices, people, strict=True)
    ]


def handbook(service: Service, of: list[Service]) -> str:
    """Return the sections of the handbook that a service is in."""
    start = of.index(service) // HANDBOOK * HANDBOOK
    return "\n\n".join(one.section for one in of[start : start + HANDBOOK])


def questions(of: list[Service]) -> list[Question]:
    """Return three questions on each service: two for one fact, one for all three."""
    found = []
    for service in of:
        low = service.name.lower()
        asked = (
            (f"What is the price of {low}?", (service.price,)),
            (f"Who is the person in charge of {low}?", (service.person,)),
            (f"Tell me the price of {low}, the person in charge of {low} and the day of {low}.", (service.price, service.person, service.day)),
        )  # fmt: skip
        found.extend(Question(len(found) + place, text, service, facts) for place, (text, facts) in enumerate(asked))
    return found


def judge(question: Question, answer: str, of: list[Service]) -> Scores:
    kinds = ({service.price for service in of}, set(PEOPLE), set(DAYS))
    said = {word for word in _WORD.findall(answer) if any(word in kind for kind in kinds)}
    asked = set(question.facts)
    right = said & asked
    # Another price than the one asked for makes the answer wrong; a person's name beside it only irrelevant.
    alike = set().union(*(kind for kind in kinds if kind & asked))
    return Scores(
        accuracy=float(asked == said & alike),
        completeness=len(right) / len(asked),
        relevance=len(right) / len(said) if said else 0.0,
    )
