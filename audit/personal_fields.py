"""Which fields of an event's `data` are personal: names, addresses and free text. Imports no Django.

A field is known by its name, at any depth, in lower case. Not personal is what an agent did: commands, statements,
URLs, hosts and paths stay readable, because they are what the log is read for.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

# Sealed whatever is in them.
WHOLE = frozenset(
    {
        # People, and where they are.
        "account_email",
        "author",
        "author_email",
        "client.address",
        "client_ip",
        "committer",
        "display_name",
        "email",
        "first_name",
        "full_name",
        "host.name",
        "ip",
        "ip_address",
        "last_name",
        "phone",
        "process.owner",
        "real_name",
        "recipient",
        "remote_address",
        "sender",
        "source.address",
        "user_account_id",
        "user_account_uuid",
        "user_agent.original",
        "user_email",
        "user_id",
        "user_name",
        "username",
        # What people and models say to one another.
        "answer",
        "completion",
        "conversation",
        "gen_ai.completion",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.prompt",
        "gen_ai.system_instructions",
        "last_assistant_message",
        "messages",
        "prompt",
        "prompts",
        "question",
        "questions",
        "system_prompt",
        "thinking",
        "transcript",
        # What people write to explain themselves, and what they look for.
        "purpose",
        "q",
        "search",
    }
)
# Sealed where they hold text; an object in them is walked into.
TEXTS = frozenset(
    {
        "arguments",
        "body",
        "comment",
        "content",
        "description",
        "explanation",
        "finding",
        "function_args",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.tool.definitions",
        "justification",
        "message",
        "new_string",
        "note",
        "old_string",
        "output",
        "reason",
        "result",
        "response",
        "stderr",
        "stdout",
        "subject",
        "summary",
        "text",
        "title",
        "tool_input",
        "tool_output",
        "tool_parameters",
        "tool_response",
        "tool_result",
    }
)
# OpenTelemetry's attributes of whoever uses an agent.
PREFIXES = ("user.", "enduser.")
# A name is personal where it is a person's: tools, agents and roles have names too.
PEOPLE = frozenset({"person", "user", "owner", "people", "account"})
# What a program says of credentials names nobody; its reasons are words of ours.
NEVER = ("credential.",)

SEALED, FOR = "sealed", "for"
EMPTY: tuple[Any, ...] = (None, "", [], {})


class Rule(Enum):
    NOT = 0
    WHOLE = 1
    TEXT = 2
    NAME = 3


NOT = Rule.NOT
Change = Callable[[Any, str], Any]


def changed(data: Mapping[str, Any], change: Change) -> Mapping[str, Any]:
    """`data` with each personal field given to `change(value, pointer)`; `data` itself where there is none.

    The pointer is the field's place in `data` (RFC 6901).
    """
    found = _object(data, change, "", "")
    return found if found is not None else data


def _object(fields: Mapping[str, Any], change: Change, above: str, place: str) -> dict[str, Any] | None:
    """A copy with what changed, or None."""
    copy: dict[str, Any] | None = None
    for name, value in fields.items():
        kind = type(value)
        rule = _rule(name)
        if rule is not NOT and value not in EMPTY and _personal(rule, kind, above):
            new = change(value, f"{place}/{_escaped(name)}")
        elif kind is dict:
            new = _object(value, change, name, f"{place}/{_escaped(name)}")
        elif kind is list:
            new = _list(value, change, name, f"{place}/{_escaped(name)}")
        else:
            continue
        if new is not None:
            copy = copy if copy is not None else dict(fields)
            copy[name] = new
    return copy


def _list(values: list[Any], change: Change, above: str, place: str) -> list[Any] | None:
    copy: list[Any] | None = None
    for index, value in enumerate(values):
        if type(value) is dict:
            new: Any = _object(value, change, above, f"{place}/{index}")
        elif type(value) is list:
            new = _list(value, change, above, f"{place}/{index}")
        else:
            continue
        if new is not None:
            copy = copy if copy is not None else list(values)
            copy[index] = new
    return copy


@lru_cache(maxsize=4096)
def _rule(name: str) -> Rule:
    name = name.lower()
    if name in WHOLE or name.startswith(PREFIXES):
        return Rule.WHOLE
    if name in TEXTS:
        return Rule.TEXT
    return Rule.NAME if name == "name" else NOT


def _personal(rule: Rule, kind: type, above: str) -> bool:
    if rule is Rule.TEXT:
        return kind is str or kind is list
    return rule is Rule.WHOLE or above.lower() in PEOPLE


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name


def sealed_in(value: Any, place: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Each sealed field in a parsed `data`, with its pointer."""
    if isinstance(value, dict):
        if value.keys() == {SEALED, FOR} and isinstance(value[SEALED], str) and isinstance(value[FOR], str):
            yield value, place
            return
        for name, one in value.items():
            yield from sealed_in(one, f"{place}/{_escaped(name)}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from sealed_in(one, f"{place}/{index}")


def replaced(value: Any, with_what: Change, place: str = "") -> Any:
    """A copy in which each sealed field is what `with_what(field, pointer)` makes of it."""
    if isinstance(value, dict):
        if value.keys() == {SEALED, FOR} and isinstance(value[SEALED], str) and isinstance(value[FOR], str):
            return with_what(value, place)
        return {name: replaced(one, with_what, f"{place}/{_escaped(name)}") for name, one in value.items()}
    if isinstance(value, list):
        return [replaced(one, with_what, f"{place}/{index}") for index, one in enumerate(value)]
    return value
