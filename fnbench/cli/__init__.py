"""The command line: a thin skin. Each verb is one library call; user errors become one line and exit code 2."""

from __future__ import annotations

import click

from fnbench import __version__
from fnbench.cli import apply, datasets, demo, evaluate, leaderboard, models, render, report, train
from fnbench.errors import FnbenchError


class UserError(click.ClickException):
    """A user error on the terminal: one line, exit code 2."""

    exit_code = 2


class Commands(click.Group):
    """Print user-facing errors as one line, wrong arguments included; let bugs keep their traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FnbenchError as error:
            raise UserError(str(error)) from error
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            verb = ctx if error.ctx is None else error.ctx
            raise UserError(f"{error.format_message()} See {verb.command_path} --help.") from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="fnbench")
def main() -> None:
    """Exact ground truth and honest scores for face surface normals."""


main.add_command(apply.predict)
main.add_command(apply.refine)
main.add_command(datasets.datasets)
main.add_command(demo.demo)
main.add_command(evaluate.evaluate)
main.add_command(evaluate.doctor)
main.add_command(evaluate.submission)
main.add_command(evaluate.compare)
main.add_command(evaluate.reproduce)
main.add_command(leaderboard.leaderboard)
main.add_command(models.convert_weights)
main.add_command(models.export_model)
main.add_command(models.fit)
main.add_command(render.export)
main.add_command(render.ls)
main.add_command(render.merge)
main.add_command(render.render_gt)
main.add_command(render.verify)
main.add_command(report.card)
main.add_command(report.cite)
main.add_command(report.report)
main.add_command(report.view)
main.add_command(train.positions)
main.add_command(train.train)
