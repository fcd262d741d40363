"""What Snakemake looks for to offer `--logger rim`, which profiles/default/config.yaml asks for; see `rim.workflow.screen`."""

from rim.workflow.screen import Screen as LogHandler

__all__ = ["LogHandler"]
