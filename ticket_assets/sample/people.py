"""The staff who write to the desk: names, addresses, signatures and habits."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ticket_assets.sample.material import Material
from ticket_assets.sample.wording import full_name, mailbox_name, phone


@dataclass(frozen=True)
class Person:
    """Somebody who writes to the desk, always from the same mail client."""

    name: str
    address: str
    language: str
    client: str
    """Key of `clients.CLIENTS`."""
    signature: tuple[str, ...]
    """Lines of the company signature, none for people who do without."""


_CLIENTS = {
    "outlook": 30,
    "outlook_classic": 12,
    "outlook_mobile": 10,
    "thunderbird": 12,
    "gmail": 14,
    "apple_mail": 8,
    "iphone": 7,
    "webmail": 7,
}


def staff(material: Material, count: int, rng: Random) -> list[Person]:
    """`count` people who write in the material's language."""
    return [_person(material, rng) for _ in range(count)]


def _person(material: Material, rng: Random) -> Person:
    name = full_name(material, rng)
    domain = "example.org" if rng.random() < 0.9 else rng.choice(("example.com", "example.net"))
    address = f"{mailbox_name(name)}@{domain}"
    return Person(
        name=name,
        address=address,
        language=material.language,
        client=rng.choices(list(_CLIENTS), list(_CLIENTS.values()))[0],
        signature=_signature(material, name, address, rng) if rng.random() < 0.75 else (),
    )


def _signature(material: Material, name: str, address: str, rng: Random) -> tuple[str, ...]:
    language, words = material.language, material.words
    desk, direct = phone(language, rng), phone(language, rng)
    function = rng.choice(words[f"function_{language}"])
    first, last = name.split(" ", 1)
    lines = [f"{first} {last.upper()}" if rng.random() < 0.4 else name]
    if rng.random() < 0.3:
        lines.append(f"{function} | {rng.choice(words['company'])}")
    else:
        lines += [function, rng.choice(words["company"])]
    if rng.random() < 0.6:
        lines.append(rng.choice(words[f"street_{language}"]))
    labels = ("Tél. : ", "Ligne directe : ") if language == "fr" else ("Tel: ", "Direct: ")
    lines.append(f"{labels[0]}{desk}" + (f" - {labels[1]}{direct}" if rng.random() < 0.4 else ""))
    if rng.random() < 0.6:
        lines.append(f"{address} | www.example.org")
    if rng.random() < 0.25:
        lines += ["", rng.choice(material.phrases["disclaimer"])]
    return tuple(lines)
