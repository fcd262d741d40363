"""Write the libraries that draw DVC's plots (`dvc plots show`) to where .dvc/plots/page.html loads them from, without a network."""

from pathlib import Path

import vl_convert

PLACE = Path(__file__).parents[1] / ".dvc/tmp/vega.js"

PLACE.parent.mkdir(parents=True, exist_ok=True)
PLACE.write_text(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
