"""The staff who write to the desk: names, addresses, signatures and habits."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ticket_assets.sample.material import Language, MailClient, clients, draw
from ticket_assets.sample.wording import full_name, mailbox_name, phone


@dataclass(frozen=True)
class Person:
    """Somebody who writes to the desk, always from the same mail client."""

    name: str
    address: str
    language: Language
    client: MailClient
    signature: tuple[str, ...]
    """Lines of the company signature, none for people who do without."""

    @property
    def mailbox(self) -> str:
        """Name and address as one reads them."""
        return f"{self.name} <{self.address}>"


def staff(language: Language, rng: Random) -> list[Person]:
    """The people who write in `language`."""
    return [_person(language, rng) for _ in range(language.forms.staff)]


def _person(language: Language, rng: Random) -> Person:
    name = full_name(language, rng)
    domain = "example.org" if rng.random() < 0.9 else rng.choice(("example.com", "example.net"))
    address = f"{mailbox_name(name)}@{domain}"
    client = draw({name: client.share for name, client in clients().items()}, rng)
    signature = _signature(language, name, address, rng) if rng.random() < 0.75 else ()
    return Person(name, address, language, clients()[client], signature)


def _signature(language: Language, name: str, address: str, rng: Random) -> tuple[str, ...]:
    words, forms = language.words, language.forms
    desk, direct = phone(language, rng), phone(language, rng)
    function = rng.choice(words["function"])
    first, last = name.split(" ", 1)
    lines = [f"{first} {last.upper()}" if rng.random() < 0.4 else name]
    if rng.random() < 0.3:
        lines.append(f"{function} | {rng.choice(words['company'])}")
    else:
        lines += [function, rng.choice(words["company"])]
    if rng.random() < 0.6:
        lines.append(rng.choice(words["street"]))
    phones = forms.phone_lines if rng.random() < 0.4 else forms.phone_line
    lines.append(phones.format(desk, direct))
    if rng.random() < 0.6:
        lines.append(f"{address} | www.example.org")
    if rng.random() < 0.25:
        lines += ["", rng.choice(language.phrases["disclaimer"])]
    return tuple(lines)
