"""`python -m runner` is `drawbridge`, where nothing is installed."""

from runner.cli import app

app(prog_name="drawbridge")
