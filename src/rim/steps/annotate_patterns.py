"""Let one annotator look for effort-minimizing patterns in training data and in replies before fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.core import contracts, tables
from rim.core.receipts import verified, write_receipt
from rim.instruments.annotate import annotate, annotation_table, texts_of_dataset, texts_of_responses
from rim.instruments.llm.client import open_client
from rim.settings.instruments import Annotator


def run(settings: dict[str, Any], datasets: list[Path], responses: list[Path], requests: Path, output: Path) -> None:
    """`datasets` and `responses` are receipts."""
    annotator = Annotator(**settings["annotator"])
    texts = []
    for name, path in zip(settings["datasets"], datasets, strict=True):
        texts += texts_of_dataset(name, tables.read(verified(path), contracts.DATASET), annotator.rows)
    for model, path in zip(settings["models"], responses, strict=True):
        texts += texts_of_responses(model, tables.read(verified(path), contracts.RESPONSE), annotator.rows)
    client = open_client(settings["endpoint"], requests)
    found = annotate(annotator, client, [text["text"] for text in texts], f"annotate {settings['name']}")
    tables.write(annotation_table(settings["name"], texts, found), contracts.ANNOTATION, output)
    write_receipt(output)
