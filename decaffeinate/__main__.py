"""`python -m decaffeinate`: the command line where no script is installed."""

from decaffeinate.cli import main

main(prog_name="decaffeinate")
