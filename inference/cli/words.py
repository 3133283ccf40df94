"""Words of the command line become dataclasses: tyro reads types, defaults and help off fields and docstrings."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import field, make_dataclass
from typing import Any

import tyro

from inference.recipes import OptionError

GROUPS = (tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands)


def parse(words: Sequence[str], *, prog: str, description: str, **groups: Any) -> Any:
    """Values of options, in an object with an attribute for each group.

    Args:
        words: words of the command line after the command.
        prog: the command.
        description: one sentence for its help.
        groups: dataclasses whose fields are options, under the heading of their group; either instances, whose values
            are the defaults, or classes, if a field has no default.

    Raises:
        SystemExit: after the help was shown, or an error that names the option and suggests similar ones.
    """
    kinds = [
        (name, group) if isinstance(group, type) else (name, type(group), field(default=group))
        for name, group in groups.items()
    ]
    options = make_dataclass("Options", kinds, kw_only=True, frozen=True)
    options.__doc__ = description
    return tyro.cli(options, args=words, prog=prog, config=GROUPS)


def last_value(words: Sequence[str], option: str) -> str | None:
    """The value that words give an option, before they are parsed; the last one, or None.

    Args:
        words: words of the command line.
        option: its name, without dashes.
    """
    found = None
    for word, following in zip(words, [*words[1:], None], strict=True):
        if word == f"--{option}":
            found = following
        elif word.startswith(f"--{option}="):
            found = word.partition("=")[2]
    return found


def choose(what: str, choices: Mapping[str, str], words: Sequence[str], *, prog: str, description: str) -> str:
    """The choice that a word names.

    Args:
        what: what is chosen, in one word.
        choices: name -> what it is, in one line for the help.
        words: the word; none shows what is missing.
        prog: the command before the word.
        description: one sentence for its help.

    Raises:
        OptionError: if there is no such choice; suggests the nearest.
        SystemExit: after the help with all choices was shown, or what is missing.
    """
    if words and words[0] in choices:
        return words[0]
    if words and not words[0].startswith("-"):
        near = difflib.get_close_matches(words[0], choices, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise OptionError(f"there is no {what} {words[0]!r}.{hint} Expected one of {', '.join(choices)}")
    subcommands = {name: _subcommand(name, text) for name, text in choices.items()}
    return tyro.extras.subcommand_cli_from_dict(subcommands, args=words, prog=prog, description=description)


def _subcommand(name: str, text: str) -> Any:
    def chosen() -> str:
        return name

    chosen.__doc__ = text.partition("\n")[0]
    return chosen
