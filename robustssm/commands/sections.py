"""Help pages in titled sections."""

from collections.abc import Mapping, Sequence
from typing import Any

import click


class SectionedCommand(click.Command):
    """A command whose help shows its options under titles: names of parameters by title."""

    def __init__(
        self, *arguments: Any, sections: Mapping[str, Sequence[str]], **settings: Any
    ) -> None:
        super().__init__(*arguments, **settings)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those without a title last."""
        shown = {str(p.name): p.get_help_record(ctx) for p in self.get_params(ctx)}
        titled = {name for names in self.sections.values() for name in names}
        rest = {"Other options": [name for name in shown if name not in titled]}
        for title, names in {**self.sections, **rest}.items():
            with formatter.section(title):
                formatter.write_dl([row for name in names if (row := shown.get(name))])


class SectionedGroup(click.Group):
    """A group whose help shows its commands under titles."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.sections: dict[str, list[str]] = {}

    def add_section(self, title: str, commands: Sequence[click.Command]) -> None:
        """Add commands under a title."""
        for command in commands:
            self.add_command(command)
        self.sections[title] = [str(command.name) for command in commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, the columns of all sections in line."""
        width = max(map(len, self.commands))
        for title, names in self.sections.items():
            with formatter.section(title):
                told = {name: self.commands[name].get_short_help_str(limit=200) for name in names}
                formatter.write_dl([(f"{name:{width}}", text) for name, text in told.items()])
