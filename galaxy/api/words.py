"""What all that goes in and comes out is made of: names, texts, limits."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, JsonValue, StringConstraints

from protocol.vocabulary import NAME

from ..core.condition import CONDITION_CHARS_MAX

STARS_MAX = 100_000
LINES_MAX = 400_000
DAY_S = 86_400.0
WEEK_S = 7 * DAY_S

Name = Annotated[str, StringConstraints(pattern=f"^(?:{NAME.pattern})$")]
ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/~-]{0,119}$")]
Text = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]  # no database keeps a NUL in a text
Cel = Annotated[str, StringConstraints(min_length=1, max_length=CONDITION_CHARS_MAX)]
JsonObject = dict[str, JsonValue]


class Strict(BaseModel):
    """What a caller sends: an unknown field is a mistake, and is said to be one."""

    model_config = ConfigDict(extra="forbid")


class Out(BaseModel):
    """What is answered; more fields may come."""

    model_config = ConfigDict(extra="allow")
