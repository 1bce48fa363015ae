"""The commands, put together."""

import typer

from . import approvals, commands, gc, history, why
from .demo import demo
from .fleet import devices_app, token_app
from .serve import serve_command

app = typer.Typer(help="Galaxy: run constellations of subtasks across your devices.", no_args_is_help=True)
app.command("serve")(serve_command)
app.command("demo")(demo)
app.command("run")(commands.run)
app.command("get")(commands.get)
app.command("list")(commands.list_command)
app.command("why")(why.why)
app.command("watch")(commands.watch)
app.command("cancel")(commands.cancel)
app.command("pause")(commands.pause)
app.command("resume")(commands.resume)
app.command("retry")(commands.retry)
app.command("edit")(commands.edit)
app.command("revisions")(history.revisions)
app.command("diff")(history.diff)
app.command("undo")(history.undo)
app.command("fork")(history.fork)
app.command("gc")(gc.gc)
app.command("check")(gc.check)
app.command("backtest")(history.backtest)
app.command("approvals")(approvals.approvals)
app.command("approve")(approvals.approve)
app.command("deny")(approvals.deny)
app.add_typer(approvals.rules_app, name="rules")
app.add_typer(devices_app, name="devices")
app.add_typer(token_app, name="token")


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
