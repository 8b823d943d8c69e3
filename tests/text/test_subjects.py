"""What programs write before a subject is known from what people write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticket_assets.text.subjects import is_forwarded, without_prefixes, without_tags


@pytest.mark.parametrize(
    ("subject", "own"),
    [
        ("Re: VPN", "VPN"),
        ("RE : TR: Fwd: AW: VPN", "VPN"),
        ("Re[2]: VPN", "VPN"),
        ("RE(3) : VPN", "VPN"),
        ("Re^2: VPN", "VPN"),
        ("WG: RV: ENC: VPN", "VPN"),
        # Lotus Notes, and the words written out.
        ("Réf. : VPN", "VPN"),
        ("Rép. : Tr : VPN", "VPN"),
        ("Réponse : VPN", "VPN"),
        ("Antwort: Wtr: VPN", "VPN"),
        ("Antw.: Weiterl.: VPN", "VPN"),
        ("Weitergeleitet: VPN", "VPN"),
        ("Reply: Forwarded: VPN", "VPN"),
        ("Respuesta: Reenv.: VPN", "VPN"),
        ("Resposta : Encaminhado: VPN", "VPN"),
        ("RES.: VPN", "VPN"),
        ("RE\u00a0: VPN", "VPN"),
        ("RE：VPN", "VPN"),
        ("回复：VPN", "VPN"),
        ("Rif: Doorst: VPN", "VPN"),
        # Tags of gateways.
        ("[EXTERNAL] RE: VPN", "VPN"),
        ("{EXT} AW: VPN", "VPN"),
        ("**EXTERN** VPN", "VPN"),
        ("<External> TR: VPN", "VPN"),
        ("[Mail externe] Réponse: VPN", "VPN"),
        ("(EXTERNE) RE : VPN", "VPN"),
        ("EXTERN: AW: VPN", "VPN"),
        ("EXTERNO - RV: VPN", "VPN"),
        ("EXT RE: [EXTERNAL] Fwd: VPN", "VPN"),
        ("【EXTERNAL】RE: VPN", "VPN"),
        ("~EXT~ -EXTERN- RE: VPN", "VPN"),
        ("[Externer Absender] AW: VPN", "VPN"),
        ("[Remitente externo] RV: VPN", "VPN"),
        ("RE:", ""),
        # What people write.
        ("Réponse attendue", "Réponse attendue"),
        ("Réponse du serveur : erreur 500", "Réponse du serveur : erreur 500"),
        ("Antwort vom Server fehlt: VPN", "Antwort vom Server fehlt: VPN"),
        ("Réf. : 2026-114 écran", "Réf. : 2026-114 écran"),
        ("Ref: INC0012 pantalla", "Ref: INC0012 pantalla"),
        ("Référence : VPN", "Référence : VPN"),
        ("Respuesta lenta: correo", "Respuesta lenta: correo"),
        ("Weiterleitung einrichten: Postfach", "Weiterleitung einrichten: Postfach"),
        ("Weiterleitung: Postfach", "Weiterleitung: Postfach"),
        ("Transfert : ligne 4012", "Transfert : ligne 4012"),
        ("[Extranet] VPN", "[Extranet] VPN"),
        ("Externe Festplatte defekt", "Externe Festplatte defekt"),
        ("(externe) Mitarbeiter ohne Zugang", "(externe) Mitarbeiter ohne Zugang"),
        ("Externe : accès au VPN", "Externe : accès au VPN"),
        ("Tri des mails", "Tri des mails"),
        ("Ressources : accès", "Ressources : accès"),
        ("Re-installation : VPN", "Re-installation : VPN"),
    ],
)
def test_prefixes_are_stripped_however_many(subject: str, own: str) -> None:
    assert without_prefixes(subject) == own


@pytest.mark.parametrize(
    ("subject", "forwarded"),
    [
        ("TR: VPN", True),
        ("[EXT] Fwd : VPN", True),
        ("*EXT* WG: VPN", True),
        ("Wtr.: VPN", True),
        ("RE: TR: VPN", False),
        ("Antwort: VPN", False),
        ("VPN", False),
        ("Trafic : lent", False),
    ],
)
def test_a_forward_is_told_by_its_first_prefix(subject: str, forwarded: bool) -> None:
    assert is_forwarded(subject) is forwarded


@pytest.mark.parametrize("tag", ["[EXT]", "[ Externe ]", "{EXTERN}", "*EXTERNO*", "[EXTERNAL]:"])
def test_a_tag_alone_is_no_prefix(tag: str) -> None:
    assert without_tags(f"{tag} VPN") == "VPN"
    assert without_tags(f"RE: {tag} VPN") == "RE: VPN"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["RE: ", "[EXT] ", "[[[ ", "* ext *", "EXT ", "re ", "( ext "])
def test_no_subject_takes_for_ever(unit: str) -> None:
    assert without_prefixes(unit * 20_000) is not None


@given(st.text(max_size=60))
def test_the_own_subject_is_the_end_of_the_whole(subject: str) -> None:
    own = without_prefixes(subject)

    assert subject.strip().endswith(own)
    assert without_prefixes(own) == own
