"""`python -m ktb`: the command line."""

from ktb.cli.main import app

if __name__ == "__main__":
    app(prog_name="python -m ktb")
