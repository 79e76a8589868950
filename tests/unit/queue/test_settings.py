from __future__ import annotations

import pytest
from pydantic import ValidationError

from mailserver.queue.settings import QueueSettings


def test_the_names_of_the_contract() -> None:
    settings = QueueSettings()
    assert settings.max_age == 5 * 86400
    assert settings.retry[0] > 0
    assert (settings.relay, settings.port, settings.allow_private_addresses) == ("", 25, False)


def test_durations_are_written_with_units() -> None:
    settings = QueueSettings.model_validate({"max_age": "2d", "retry": ["5m", "1h"]})
    assert (settings.max_age, settings.retry) == (172800.0, [300.0, 3600.0])


@pytest.mark.parametrize("relay", ["smtp.example.test:587", "127.0.0.1:2525", "[2001:db8::1]:25", ""])
def test_a_relay_that_can_be(relay: str) -> None:
    assert QueueSettings(relay=relay).relay == relay


@pytest.mark.parametrize(
    "values",
    [
        {"relay": "smtp.example.test"},
        {"relay": "host:0"},
        {"relay": "host:65536"},
        {"relay": "host:٢٥"},
        {"relay": "a b:25"},
        {"relay": "host:25\n"},
        {"retry": []},
        {"retry": ["0s"]},
        {"max_age": "0s"},
        {"max_age": "soon"},
        {"max_items": 0},
        {"port": 0},
        {"retries": []},
    ],
)
def test_what_cannot_be_is_an_error(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        QueueSettings.model_validate(values)
