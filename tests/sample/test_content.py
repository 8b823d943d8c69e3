"""What the tickets say: varied, learnable but not trivial, the same until the last week."""

import re
from collections import Counter
from datetime import date, timedelta
from email import message_from_bytes
from email.header import decode_header, make_header
from itertools import product
from typing import NamedTuple

import pytest

from ticket_assets.routing import load_routing
from ticket_assets.sample.mailbox import SampleMail
from ticket_assets.sample.material import VAGUE, languages, shares

UNTIL = date(2025, 11, 20)
NEW_WORDS = re.compile(r"\b(?:nimbus|orbia)\b", re.IGNORECASE)


class Ticket(NamedTuple):
    day: date
    language: str
    category: str
    priority: str
    labelled: bool
    subject: str
    text: str

    @property
    def whole(self) -> str:
        return f"{self.subject}\n{self.text}"


@pytest.fixture(scope="module")
def tickets(mails: list[SampleMail]) -> list[Ticket]:
    tickets = []
    for mail in mails:
        if mail.group == "ticket" and mail.category and mail.priority:
            message = message_from_bytes(mail.content)
            body = next(part for part in message.walk() if part.get_content_maintype() == "text")
            payload = body.get_payload(decode=True).decode(body.get_content_charset())
            text = re.sub(r"<style>.*?</style>|<[^<>@]+>", " ", payload, flags=re.DOTALL)
            tickets.append(
                Ticket(
                    mail.received_at.date(),
                    mail.language,
                    mail.category,
                    mail.priority,
                    mail.labelled,
                    str(make_header(decode_header(message["Subject"]))),
                    text,
                )
            )
    return tickets


@pytest.fixture(scope="module")
def quiet(tickets: list[Ticket]) -> list[Ticket]:
    return [ticket for ticket in tickets if ticket.day <= UNTIL - timedelta(days=7)]


@pytest.fixture(scope="module")
def last_week(tickets: list[Ticket]) -> list[Ticket]:
    return [ticket for ticket in tickets if ticket.day > UNTIL - timedelta(days=7)]


def share(tickets: list[Ticket], language: str = "en") -> float:
    return sum(ticket.language == language for ticket in tickets) / len(tickets)


def test_there_are_fourteen_situations_and_more_in_each_category_and_language() -> None:
    categories = set(load_routing(None).categories)
    for text in languages().values():
        assert set(text.everyday) == categories | {VAGUE}
        assert set(text.rollout) == set(text.topics) == categories
        assert all(len(text.everyday[category]) >= 14 for category in categories)
        assert all(
            situation.neighbour is None or situation.neighbour in categories - {situation.category}
            for situations in text.everyday.values()
            for situation in situations
        )


@pytest.mark.slow
def test_no_template_is_left_unfilled(tickets: list[Ticket]) -> None:
    unfilled = [ticket.whole for ticket in tickets if re.search(r"\{\w+\}|\|\w+\]", ticket.whole)]

    assert unfilled == []


@pytest.mark.slow
def test_few_texts_are_repeated(tickets: list[Ticket]) -> None:
    own_words = Counter(
        re.split(r"\n-- \n|\n(?:Le|On) .*(?:écrit\s:|wrote:)\n|\n_{32}|\n-----", ticket.text)[0]
        for ticket in tickets
    )

    repeated = own_words.total() - len(own_words)

    assert repeated / own_words.total() < 0.05


def test_priority_does_not_follow_from_the_category(tickets: list[Ticket]) -> None:
    observed = Counter((ticket.category, ticket.priority) for ticket in tickets)
    categories = Counter(ticket.category for ticket in tickets)
    priorities = Counter(ticket.priority for ticket in tickets)
    chi_square = 0.0
    for category, priority in product(categories, priorities):
        expected = categories[category] * priorities[priority] / len(tickets)
        chi_square += (observed[category, priority] - expected) ** 2 / expected

    cramers_v = (chi_square / (len(tickets) * (min(len(categories), len(priorities)) - 1))) ** 0.5

    assert cramers_v < 0.09  # about 0.05 is what chance alone brings at this size
    assert min(priorities.values()) / len(tickets) > 0.1


def test_priority_rises_with_impact_and_with_urgency() -> None:
    order = load_routing(None).priorities
    matrix = [
        [
            order.index(shares().priorities[impact][urgency])
            for urgency in ("later", "week", "today", "now")
        ]
        for impact in ("person", "team", "site")
    ]

    assert all(row == sorted(row) for row in matrix)
    assert all(list(column) == sorted(column) for column in zip(*matrix, strict=True))
    assert {level for row in matrix for level in row} == set(range(len(order)))


def test_quiet_days_are_alike(quiet: list[Ticket]) -> None:
    half = len(quiet) // 2
    first, second = quiet[:half], quiet[half:]

    assert share(first) == pytest.approx(0.32, abs=0.04)
    assert share(second) == pytest.approx(0.32, abs=0.04)
    for category in load_routing(None).categories:
        shares = [
            sum(ticket.category == category for ticket in part) / len(part)
            for part in (first, second)
        ]
        assert shares[0] == pytest.approx(shares[1], abs=0.04)
    assert [ticket.whole for ticket in quiet if NEW_WORDS.search(ticket.whole)] == []


def test_the_last_week_brings_new_products_more_english_and_other_categories(
    quiet: list[Ticket], last_week: list[Ticket]
) -> None:
    before = Counter(ticket.category for ticket in quiet)
    now = Counter(ticket.category for ticket in last_week)

    new_words = sum(bool(NEW_WORDS.search(ticket.whole)) for ticket in last_week) / len(last_week)
    change = {
        category: (now[category] / len(last_week)) / (before[category] / len(quiet))
        for category in before
    }

    assert new_words == pytest.approx(0.45, abs=0.06)
    assert share(last_week) == pytest.approx(0.6, abs=0.06)
    assert change["applications"] > 1.7
    assert change["access"] > 1.3
    assert change["hardware"] < 0.6
    assert change["printing"] < 0.5


def test_a_linear_model_learns_much_of_it_but_not_all(quiet: list[Ticket]) -> None:
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    split = len(quiet) * 3 // 4
    known, new = [ticket for ticket in quiet[:split] if ticket.labelled], quiet[split:]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    vectors = vectorizer.fit_transform([ticket.whole for ticket in known])
    new_vectors = vectorizer.transform([ticket.whole for ticket in new])

    right = {}
    for target in ("category", "priority"):
        model = LinearSVC(C=0.5).fit(vectors, [getattr(ticket, target) for ticket in known])
        scores = np.sort(model.decision_function(new_vectors), axis=1)
        by_confidence = np.argsort(scores[:, -2] - scores[:, -1])
        truth = np.array([getattr(ticket, target) for ticket in new])
        right[target] = (model.predict(new_vectors) == truth)[by_confidence]

    assert 0.85 <= right["category"].mean() <= 0.95
    assert 0.70 <= right["priority"].mean() <= 0.88
    assert right["category"][: len(new) * 6 // 10].mean() > 0.95
