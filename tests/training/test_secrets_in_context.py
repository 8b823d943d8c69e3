"""What is learnt from marked texts, and that the package computes what the training did."""

from __future__ import annotations

import pytest

from ticket_assets.desk import Desk
from ticket_assets.embedding.presets import resolve_model
from ticket_assets.settings import Settings
from ticket_assets.text.secret_passages import secret_passages
from ticket_assets.text.secrets_in_context import weights


@pytest.mark.slow
def test_the_package_gives_the_probabilities_of_what_was_trained() -> None:
    import torch
    from transformers import AutoTokenizer

    from training.said_secrets import unmarked
    from training.secrets_in_context import SecretReader, of_text

    settings = Settings(_env_file=None)
    encoder = resolve_model(
        "multilingual-e5-small", encoders_dir=settings.unpacked_encoders_dir, allow_download=False
    )
    text, secret = unmarked("je tape ⟦Brouette⟧ depuis hier, et le code du local est ⟦4471⟧")
    tokenizer = AutoTokenizer.from_pretrained(encoder.folder)
    (example,) = of_text(text, secret, tokenizer, encoder.prefix, 1)
    reader = SecretReader(encoder).eval()
    reader.take(weights())
    with torch.inference_mode():
        trained = torch.sigmoid(reader([example])).tolist()
    product = Desk(settings).secrets_in_context
    assert product is not None

    (words,) = product.probable_words([text], [secret_passages(text)])

    assert [text[start:end] for start, end, _ in words if (start, end) in secret] == [
        "Brouette",
        "4471",
    ]
    assert example.are_secret == [float((start, end) in secret) for start, end, _ in words]
    assert [probability for *_, probability in words] == pytest.approx(trained, abs=0.01)
