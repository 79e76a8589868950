"""Settings: `[plugins.bayes]` in config.toml."""

from __future__ import annotations

from pydantic import Field

from mailserver import api

__all__ = ["BayesSettings"]


class BayesSettings(api.PluginSettings):
    """[plugins.bayes]"""

    shared: bool = Field(
        True,
        description="Whether accounts learn from each other: what one files as junk or as good mail counts for all,"
        " though less than what an account files itself. Only counts are shared, no words.",
    )
    enough: int = Field(
        200,
        ge=2,
        le=100_000,
        description="Messages of each kind, junk and good, that must be known until the content counts fully. Half of"
        " them give half the points, and with less than a tenth there is no opinion.",
    )
    junk_points: float = Field(
        5.0,
        ge=0,
        le=100,
        description="Points for what is junk with 99 % certainty, and up to a fifth more above that. With 5, such mail"
        " goes to Junk by its content alone.",
    )
    good_points: float = Field(
        2.0,
        ge=0,
        le=100,
        description="Points taken off for what is good mail with 99 % certainty.",
    )
    most_a_day: int = Field(
        1000,
        ge=1,
        le=1_000_000,
        description="Messages a day from which an account can teach by moving and marking them.",
    )
    max_size: api.Size = Field(
        256 << 20,
        ge=1 << 20,
        description="Size of what was learned, on disk (7 KB for a message of usual length). Above it, what was seen"
        " once and long ago is forgotten first.",
    )
