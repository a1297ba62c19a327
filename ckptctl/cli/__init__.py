"""The command line: typer lives here and nowhere else, one small file per command."""
