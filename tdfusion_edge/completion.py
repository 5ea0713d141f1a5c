"""Print a script that completes commands, options and their values in a shell.

  source <(tdfusion-edge completion bash)             # in ~/.bashrc
  source <(tdfusion-edge completion zsh)              # in ~/.zshrc, after compinit
  tdfusion-edge completion fish | source              # in ~/.config/fish/config.fish

Or keep the script in a file and source that: the shell starts faster. The script is made from the commands
of this installation. A command whose libraries are missing is completed by its name alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from tdfusion_edge import bundle
from tdfusion_edge.arguments import Suggesting, bundle_path
from tdfusion_edge.cli import COMMANDS, Command, command_parser
from tdfusion_edge.console import say

PROGRAM = "tdfusion-edge"
ROOT = {"--help": "show the commands", "--version": "show the version"}


class Value(NamedTuple):
    """What an option or a positional argument takes."""

    name: str
    choices: tuple[str, ...]
    """All that it takes; empty for a free text."""
    suggested: tuple[str, ...]
    """What else stands for something, such as a bundle that ships with the package; others are taken too."""
    is_file: bool
    """Whether it may be a file or a folder: all but numbers."""


class Option(NamedTuple):
    """One option of a command."""

    flags: tuple[str, ...]
    help: str
    value: Value | None
    """None: a switch."""


class Completed(NamedTuple):
    """What can follow the name of a command."""

    summary: str
    options: tuple[Option, ...]
    positionals: tuple[Value, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("shell", choices=tuple(SHELLS), help="whose script")


def main(args: argparse.Namespace) -> int:
    """Print the script."""
    say(SHELLS[args.shell]({row.name: _completed(row.summary, _parser(row)) for row in COMMANDS}).rstrip())
    return 0


def _parser(row: Command) -> argparse.ArgumentParser | None:
    try:
        return command_parser(row)[0]
    except ImportError:
        return None


def _completed(summary: str, parser: argparse.ArgumentParser | None) -> Completed:
    # argparse has no public way to read a parser.
    known = [] if parser is None else parser._actions
    actions = [action for action in known if action.help is not argparse.SUPPRESS]
    options = tuple(
        Option(tuple(action.option_strings), _one_line(action.help), _value(action))
        for action in actions
        if action.option_strings
    )
    positionals = (_value(action) for action in actions if not action.option_strings)
    return Completed(summary, options, tuple(value for value in positionals if value is not None))


def _value(action: argparse.Action) -> Value | None:
    if action.nargs == 0:
        return None
    name = action.metavar if isinstance(action.metavar, str) else action.dest
    suggested = action.suggestions if isinstance(action, Suggesting) else ()
    if action.type is bundle_path:
        suggested = tuple(folder.name for folder in bundle.shipped())
    is_file = action.type not in (int, float) and not isinstance(action, Suggesting)
    return Value(name, tuple(map(str, action.choices or ())), suggested, is_file)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _words(texts: Iterable[str]) -> str:
    return " ".join(texts)


def bash(commands: Mapping[str, Completed]) -> str:
    """For bash 3.2 and newer; files are completed by the shell's own default."""
    cases = "\n".join(line for name, command in commands.items() for line in _cases(name, command))
    return f"""\
# bash completion of {PROGRAM}
_tdfusion_edge() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} words=""
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "{_words((*commands, *ROOT))}" -- "$current"))
        return
    fi
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[COMP_CWORD - 1]}}" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _tdfusion_edge {PROGRAM}
"""


def _cases(name: str, command: Completed) -> Iterable[str]:
    for option in command.options:
        if option.value is not None:
            previous = "|".join(f'"{name} {flag}"' for flag in option.flags)
            words = (*option.value.choices, *option.value.suggested)
            yield f'        {previous}) words="{_words(words)}" ;;'
    flags = _words(flag for option in command.options for flag in option.flags)
    choices = _words(word for value in command.positionals for word in (*value.choices, *value.suggested))
    yield f"""        "{name} "*)
            words="{choices}"
            if [[ $current == -* ]]; then words="{flags}"; fi ;;"""


def zsh(commands: Mapping[str, Completed]) -> str:
    """For zsh with compinit; sourced, or as ``_tdfusion-edge`` in a folder of ``fpath``."""
    listed = "\n".join(f"        {_zsh(f'{name}:{row.summary}')}" for name, row in commands.items())
    listed += "".join(f"\n        {_zsh(f'{flag}:{text}')}" for flag, text in ROOT.items())
    cases = "\n".join(
        f"        {name}) _arguments {_words(_zsh(spec) for spec in _specs(command))} ;;"
        for name, command in commands.items()
        if command.options
    )
    return f"""\
#compdef {PROGRAM}
_tdfusion_edge() {{
    local -a commands=(
{listed}
    )
    if ((CURRENT == 2)); then
        _describe command commands
        return
    fi
    shift words
    ((CURRENT--))
    case $words[1] in
{cases}
    esac
}}
if [[ $funcstack[1] == _tdfusion-edge ]]; then
    _tdfusion_edge "$@"
else
    compdef _tdfusion_edge {PROGRAM}
fi
"""


def _specs(command: Completed) -> Iterable[str]:
    for option in command.options:
        text = option.help.replace("\\", "\\\\").replace("[", r"\[").replace("]", r"\]").replace(":", r"\:")
        for flag in option.flags:
            yield f"*{flag}[{text}]" + ("" if option.value is None else _action(option.value))
    for value in command.positionals:
        yield "*" + _action(value)


def _action(value: Value) -> str:
    words = _words((*value.choices, *value.suggested))
    if value.choices or not value.is_file:
        what = f"({words})" if words else " "
    else:
        what = f"{{compadd {words}; _files}}" if words else "_files"
    return f":{value.name.replace(':', ' ')}:{what}"


def _zsh(text: str) -> str:
    return "'" + text.replace("'", r"'\''") + "'"


def fish(commands: Mapping[str, Completed]) -> str:
    """For fish 3 and newer."""
    lines = [f"# fish completion of {PROGRAM}", f"complete -c {PROGRAM} -n __fish_use_subcommand -f"]
    for name, command in commands.items():
        lines.append(f"complete -c {PROGRAM} -n __fish_use_subcommand -a {name} -d {_fish(command.summary)}")
        there = f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {name}'"
        for option in command.options:
            names = " ".join(
                f"-{'l' if flag.startswith('--') else 's'} {flag.lstrip('-')}" for flag in option.flags
            )
            lines.append(f"{there} {names}{_taken(option.value)} -d {_fish(option.help)}")
        for value in command.positionals:
            if words := _words((*value.choices, *value.suggested)):
                lines.append(f"{there}{' -f' if value.choices else ''} -a {_fish(words)}")
    lines += [
        f"complete -c {PROGRAM} -n __fish_use_subcommand -l {flag.lstrip('-')} -d {_fish(text)}"
        for flag, text in ROOT.items()
    ]
    return "\n".join(lines) + "\n"


def _taken(value: Value | None) -> str:
    if value is None:
        return ""
    words = _words((*value.choices, *value.suggested))
    takes = " -r -F" if value.is_file and not value.choices else " -x"
    return f"{takes} -a {_fish(words)}" if words else takes


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", r"\'") + "'"


SHELLS: Mapping[str, Callable[[Mapping[str, Completed]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
