"""What says the same is linked to the first; what differs in a number or a name is not."""

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ticket_assets.text.duplicates import (
    COLUMNS,
    DUPLICATE_DAYS,
    EARLIER_COLUMNS,
    Duplicate,
    body_hash,
    first_earlier_day,
    link_duplicates,
)
from ticket_assets.text.tokens import tokens

START = datetime(2026, 3, 2, 9)
PAIRS = yaml.safe_load(Path(__file__).with_name("duplicates.yaml").read_text("utf-8"))
LONG = PAIRS[0]["first"]
BY_LANGUAGE = {pair["language"]: pair["first"] for pair in reversed(PAIRS)}
BACKUP = """la sauvegarde du serveur de fichiers a échoué cette nuit,
le rapport complet est dans la console de supervision,
le prochain passage est prévu ce soir à vingt heures,
les archives du service commercial sont concernées,
merci de prévenir le responsable avant le week-end."""


def ticket(text, sender="jean@x.fr", *, day=0.0, message_id=None, attachments="[]", body="b"):
    return {
        "received_at": START + timedelta(days=day),
        "text": text,
        "token_count": len(tokens(text, "fr")),
        "sender": sender,
        "message_id": message_id,
        "attachments": attachments,
        "body_hash": body,
    }


def table(*tickets):
    rows = [{"ticket_id": f"t{number}", **ticket} for number, ticket in enumerate(tickets)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def linked(*tickets):
    return [link and link.of for link in link_duplicates(table(*tickets), [])]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["first"][:30])
def test_a_pair_is_told(pair):
    senders = ("jean@x.fr", "jean@x.fr" if pair["one_sender"] else "marie@x.fr")
    rows = [ticket(pair[name], who) for name, who in zip(("first", "then"), senders, strict=True)]

    (_, found) = link_duplicates(table(*rows), [])

    assert (found.rule if found else None) == pair["rule"]


@pytest.mark.parametrize(
    ("language", "added"),
    [
        ("fr", "Problème résolu, fermez le ticket."),
        ("fr", "annulez ma demande svp"),
        ("fr", "commentaire : souris clavier"),
        ("fr", "c'est réglé, merci"),
        ("fr", "finalement tout remarche"),
        ("fr", "cela concerne aussi le compte martin"),
        ("en", "Issue solved, please close."),
        ("en", "it works again, thanks"),
        ("en", "please cancel this"),
        ("de", "Hat sich erledigt."),
        ("de", "bitte stornieren, danke"),
        ("es", "Ya funciona, gracias."),
        ("es", "anulen la solicitud por favor"),
        ("pt", "Já está resolvido."),
        ("pt", "cancelem o pedido"),
    ],
)
@pytest.mark.parametrize("case", [str, str.lower, str.upper])
def test_what_was_added_about_the_matter_is_new(language, added, case):
    first = BY_LANGUAGE[language]

    for place in (f"{first}\n{added}", f"{added}\n{first}"):
        assert linked(ticket(case(first)), ticket(case(place), day=1)) == [None, None]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("dupont", "dupond"),
        ("durand", "durant"),
        ("martin", "marlin"),
        ("louis", "louise"),
        ("marie", "maria"),
        ("mathieu", "matthieu"),
        ("bernard", "bernhard"),
        ("christoph", "christophe"),
        ("alexandre", "alexander"),
        ("meier", "meyer"),
        ("fernandes", "fernandez"),
        ("mouse", "house"),
        ("cable", "table"),
        ("srva", "srvb"),
        ("ouvert", "couvert"),
        ("martin à durand", "durand à martin"),
        ("srv-12 à srv-13", "srv-13 à srv-12"),
    ],
)
@pytest.mark.parametrize("case", [str, str.title, str.upper])
@pytest.mark.parametrize("language", BY_LANGUAGE)
def test_another_name_or_code_is_new(name, other, case, language):
    texts = [f"{BY_LANGUAGE[language]}\nil s'agit de {case(who)}" for who in (name, other)]

    assert linked(ticket(texts[0]), ticket(texts[1], day=1)) == [None, None]


@pytest.mark.parametrize(
    ("language", "right", "wrong"),
    [
        ("fr", ["rapidement", "l'entreprise"], ["rapidemnet", "l'entrprise"]),
        ("en", ["computer", "colleagues"], ["compuetr", "colleages"]),
        ("de", ["Anmeldung", "Laufwerke"], ["Anmeldnug", "Lauwferke"]),
        ("es", ["imprime", "compañeros"], ["impirme", "compañros"]),
        ("pt", ["ficheiros", "atualização"], ["fichieros", "atualziação"]),
    ],
)
def test_two_misspelt_words_are_the_same_text(language, right, wrong):
    first = misspelt = BY_LANGUAGE[language]
    for word, slip in zip(right, wrong, strict=True):
        assert word in first
        misspelt = misspelt.replace(word, slip, 1)

    links = link_duplicates(table(ticket(first), ticket(misspelt, "marie@x.fr", day=1)), [])

    assert links == [None, Duplicate("t0", "nearly the same text")]


@pytest.mark.parametrize(
    ("language", "comment"),
    [
        ("fr", "Pour info, je vous transfère."),
        ("fr", "Relance : toujours pas de réponse de votre part."),
        ("fr", "Bonjour,\nje me permets de vous relancer.\nMerci d'avance"),
        ("en", "FYI, see below."),
        ("en", "Gentle reminder. Any news on this?"),
        ("de", "Zur Info, siehe unten."),
        ("de", "Erinnerung: gibt es schon Neuigkeiten?"),
        ("es", "Recordatorio: sin respuesta todavía."),
        ("pt", "Lembrete: alguma novidade?"),
    ],
)
def test_a_reminder_or_a_forward_around_the_same_text_repeats_it(language, comment):
    first = BY_LANGUAGE[language]

    assert linked(ticket(first), ticket(f"{comment}\n{first}", day=1)) == [None, "t0"]


def test_lines_in_another_order_are_the_same_text_but_other_lines_are_not():
    lines = BACKUP.split("\n")
    moved = "\n".join([*lines[2:], *lines[:2]])
    changed = moved.replace("commercial", "juridique")

    assert linked(ticket(BACKUP), ticket(moved, "marie@x.fr", day=1)) == [None, "t0"]
    assert linked(ticket(BACKUP), ticket(changed, day=1)) == [None, None]


def test_the_pairs_are_of_every_language_and_of_both_kinds():
    kinds = [(pair["language"], pair["rule"] is not None) for pair in PAIRS]

    assert len(kinds) >= 40
    assert set(kinds) == {
        (lang, wording) for lang in ("fr", "en", "de", "es", "pt") for wording in (0, 1)
    }


def test_one_message_delivered_twice_is_a_duplicate_whatever_was_added_to_it():
    first = ticket("Écran noir", message_id="1@x")
    again = ticket("Écran noir\nMessage externe", message_id="1@x", day=1)
    others = ticket("Autre chose", "marie@x.fr", message_id="1@x", day=2)

    links = link_duplicates(table(first, again, others), [])

    assert links == [None, Duplicate("t0", "same message"), None]


def test_an_id_of_an_export_tells_nothing():
    rows = [ticket("Écran noir", message_id="12"), ticket("Clavier", message_id="12", day=1)]

    assert linked(*rows) == [None, None]


def test_attachments_tell_equal_texts_apart():
    texts = [ticket("Voir pièce jointe", attachments=f'["{name}.pdf"]') for name in ("a", "b", "a")]

    assert linked(*texts) == [None, None, "t0"]


def test_behind_a_placeholder_the_whole_message_decides():
    texts = [ticket("Créer un compte pour [EMAIL]", body=body_hash("s", who)) for who in "aba"]

    assert linked(*texts) == [None, None, "t0"]


def test_a_duplicate_of_a_duplicate_is_one_of_the_first_also_after_the_window():
    days = (0, DUPLICATE_DAYS - 1, 2 * DUPLICATE_DAYS - 2, 4 * DUPLICATE_DAYS)
    rows = [ticket("Écran noir", day=day) for day in days]

    assert linked(*rows) == [None, "t0", "t0", None]


def test_tickets_without_a_sender_are_told_by_long_texts_alone():
    rows = [ticket(text, None) for text in ("Écran noir", "Écran noir", LONG, LONG)]

    assert linked(*rows) == [None, None, None, "t2"]


def test_texts_of_signs_alone_are_not_all_the_same():
    assert linked(ticket("???"), ticket("!!!"), ticket("???")) == [None, None, "t0"]


@pytest.mark.slow
def test_days_one_by_one_give_what_one_run_gives():
    rows = []
    for day in range(80):
        text = LONG.replace("matin", ("matin", "matn", "soir")[day % 3])
        rows += [
            ticket(text, f"p{day % 4}@x.fr", day=day),
            ticket("Écran noir", f"p{day % 37}@x.fr", day=day + 0.1),
            ticket(f"Alerte srv-{day % 9}", "nagios@x.fr", day=day + 0.2),
        ]
    whole = table(*rows)
    at_once = link_duplicates(whole.sample(frac=1, random_state=1), [])
    at_once = pd.Series(at_once, index=whole.sample(frac=1, random_state=1).index).sort_index()

    stored = whole.iloc[:0].assign(duplicate_of=None)
    for day, new in whole.groupby(whole["received_at"].dt.date):
        within = stored[stored["received_at"] >= pd.Timestamp(first_earlier_day(day))]
        links = link_duplicates(new, [within.iloc[::2], within.iloc[1::2]])
        done = new.assign(duplicate_of=[link and link.of for link in links])
        stored = done if stored.empty else pd.concat([stored, done])

    assert stored["duplicate_of"].tolist() == [link and link.of for link in at_once]
    assert tuple(stored.columns) == EARLIER_COLUMNS
    assert stored["duplicate_of"].nunique() > 10
