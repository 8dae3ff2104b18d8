"""The argument parser of `retalk`: argparse with help that fits the terminal, suggestions for mistyped words,
and one line of usage.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from pipelines.monitoring.terminal import fitted
from retalk_models import __version__

#: Columns of a help text, at most.
WIDTH = 100
#: Where an option that somebody expects of a command is found, by command and option.
INSTEAD = {("run", "--dry-run"): " (`retalk plan MANIFEST` shows what a run would do)"}


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs to the width of the terminal; lines that are indented (examples, tables) stay as they
    are.
    """

    def __init__(self, prog: str) -> None:
        width = max(20, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))
        super().__init__(prog, max_help_position=28, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = []
        for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
            lines = paragraph.splitlines()
            if any(line.startswith(" ") for line in lines):
                paragraphs.append(paragraph)
            else:
                filled = textwrap.fill(" ".join(lines), width, break_on_hyphens=False, break_long_words=False)
                paragraphs.append(textwrap.indent(filled, indent))
        return "\n\n".join(paragraphs)


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` for people.

    A mistake is answered by one line that says what is wrong, with the word that was probably meant, and one
    line of usage. Positional arguments and required options stand in that line, the others are ``[options]``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", HelpFormatter)
        super().__init__(*args, **kwargs)
        self._given: list[str] = []
        #: Parsers that take over where their word comes first.
        self.instead: dict[str, Parser] = {}

    def short_usage(self) -> str:
        """Usage in one line."""
        words = [self.prog]
        optional = False
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                words.append(str(action.metavar or "COMMAND"))
            elif not action.option_strings:
                words.append(argparse.HelpFormatter(self.prog)._format_args(action, action.dest.upper()))
            elif action.required:
                words.append(f"{action.option_strings[0]} {action.metavar or action.dest.upper()}")
            else:
                optional = optional or action.help != argparse.SUPPRESS
        return " ".join([*words, *(["[options]"] if optional else [])])

    def format_usage(self) -> str:
        """The line of usage, as `--help` begins with it."""
        return fitted(f"usage: {self.short_usage()}", sys.stdout) + "\n"

    def format_help(self) -> str:
        """The whole help, beginning with the line of usage."""
        whole = super().format_help()
        _, _, rest = whole.partition("\n\n")
        return f"{self.format_usage()}\n{rest}"

    def _match_arguments_partial(self, actions: Any, arg_strings_pattern: str) -> list[int]:
        """As argparse does; an optional word waits for those behind the next option, as in newer versions of Python."""
        counts: list[int] = super()._match_arguments_partial(actions, arg_strings_pattern)  # type: ignore[misc]
        while counts and not counts[-1] and "A" in arg_strings_pattern[sum(counts) :]:
            counts.pop()
        return counts

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does; the words are kept for suggestions. A first word of `instead` hands the rest on."""
        if args and args[0] in self.instead:
            return self.instead[args[0]].parse_args(args[1:], namespace), []
        self._given = [str(word) for word in args] if args is not None else []
        return super().parse_known_args(args, namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does; words that no option takes are told by the command that was given them."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self._deepest(found).error(f"unrecognized arguments: {' '.join(unknown)}")
        return found

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and one line of usage, and end with exit code 2."""
        unknown = [
            word
            for word in self._given[: self._end_of_options()]
            if word.startswith("--") and not self._knows(word)
        ]
        if message.startswith("the following arguments are required") and unknown:
            message = f"unrecognized arguments: {' '.join(unknown)}"
        elif message.startswith("the following arguments are required"):
            message = message.replace("the following arguments are required: ", "missing: ")
        if message.startswith("unrecognized arguments: "):
            message = "; ".join(self._unknown(message.removeprefix("unrecognized arguments: ").split(" ")))
        if "--json" in self._given and "--json" in self._option_string_actions:
            print(json.dumps({"exit_code": 2, "error": message}))
        usage = f"usage: {self.short_usage()}; see {self.prog} --help"
        self.exit(2, fitted(f"{self.prog}: {message}\n{usage}", sys.stderr) + "\n")

    def _end_of_options(self) -> int:
        return self._given.index("--") if "--" in self._given else len(self._given)

    def _knows(self, word: str) -> bool:
        name = word.partition("=")[0]
        return any(option.startswith(name) for option in self._option_string_actions)

    def _unknown(self, words: Sequence[str]) -> Iterator[str]:
        options = [
            option
            for option, action in self._option_string_actions.items()
            if action.help != argparse.SUPPRESS
        ]
        named = [word for word in words if word.startswith("-")]
        for word in named:
            name = word.partition("=")[0]
            hint = INSTEAD.get((self.prog.rsplit(" ", 1)[-1], name)) or did_you_mean(name, options)
            yield f"unknown option {name}{hint}"
        if not named:
            yield f"unexpected {'arguments' if len(words) > 1 else 'argument'} {' '.join(words)} (a name with spaces needs quotes)"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            known = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                None,
                f"unknown command {value!r}{did_you_mean(str(value), known)}; there are {', '.join(known)}",
            )
        known = [str(choice) for choice in action.choices]
        raise argparse.ArgumentError(
            action,
            f"unknown value {value!r}{did_you_mean(str(value), known)}; choose from {', '.join(known)}",
        )

    def _deepest(self, found: argparse.Namespace) -> Parser:
        for action in self._actions:
            if (
                isinstance(action, argparse._SubParsersAction)
                and getattr(found, action.dest, None) in action.choices
            ):
                inner: Parser = action.choices[getattr(found, action.dest)]
                return inner._deepest(found) if isinstance(inner, Parser) else self
        return self


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`` (did you mean X?)`` where a known word is near, else nothing."""
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f" (did you mean {near[0]}?)" if near else ""


class ShowVersion(argparse.Action):
    """Print the version."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"retalk {__version__}")
        parser.exit(0)
