#!/usr/bin/env python3
"""Rebuild prices.json from the price table that the PyPI package `litellm` (MIT) ships.

    pip download --no-deps litellm && unzip litellm-*.whl 'litellm/model_prices_and_context_window_backup.json'
    python3 update_prices.py litellm/model_prices_and_context_window_backup.json

Only facts are taken (prices, context windows, output limits), only of the providers of the catalog, in our own schema:
micro-dollars per million tokens.
"""

import datetime
import hashlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent

# The table's name of a provider, where it differs from ours.
SOURCE_NAMES = {
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "fireworks_ai-embedding-models": "fireworks",
    "nvidia_nim": "nvidia",
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "text-completion-openai": None,
    "volcengine": None,
}
MODES = {"chat": "chat", "responses": "chat", "embedding": "embedding"}


def micro_per_million(dollars_per_token):
    return round(dollars_per_token * 1e12)


def price_row(provider, key, facts):
    model = key
    for prefix in (facts["litellm_provider"] + "/", provider + "/"):
        model = model.removeprefix(prefix)
    row = {
        "provider": provider,
        "model": model,
        "type": MODES[facts["mode"]],
        "input": micro_per_million(facts["input_cost_per_token"]),
        "output": micro_per_million(facts.get("output_cost_per_token") or 0),
    }
    for ours, theirs in (
        ("cache_read", "cache_read_input_token_cost"),
        ("cache_write", "cache_creation_input_token_cost"),
        ("reasoning", "output_cost_per_reasoning_token"),
        ("audio_in", "input_cost_per_audio_token"),
        ("audio_out", "output_cost_per_audio_token"),
    ):
        if facts.get(theirs) is not None:
            row[ours] = micro_per_million(facts[theirs])
    for ours, theirs in (("context_window", "max_input_tokens"), ("max_output_tokens", "max_output_tokens")):
        if isinstance(facts.get(theirs), int):
            row[ours] = facts[theirs]
    return row


def main():
    table = json.loads(pathlib.Path(sys.argv[1]).read_text())
    files = sorted((HERE / "providers").glob("*.json"))
    known = {provider["id"] for file in files for provider in json.loads(file.read_text())}
    rows = {}
    for key, facts in table.items():
        source = facts.get("litellm_provider")
        provider = SOURCE_NAMES.get(source, source)
        if provider not in known or facts.get("mode") not in MODES or facts.get("input_cost_per_token") is None:
            continue
        row = price_row(provider, key, facts)
        if provider == "bedrock" and "/" in row["model"]:
            # Prices of single regions and of reserved capacity; the ledger knows the model's name only.
            continue
        rows.setdefault((row["provider"], row["model"]), row)
    ordered = [rows[key] for key in sorted(rows)]
    version = hashlib.sha256(json.dumps(ordered).encode()).hexdigest()[:16]
    # The day: an older program must not put its prices in place of newer ones.
    edition = int(datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d"))
    lines = ",\n    ".join(json.dumps(row) for row in ordered)
    (HERE / "prices.json").write_text(f'{{\n  "edition": {edition},\n  "version": "{version}",\n  "prices": [\n    {lines}\n  ]\n}}\n')
    print(f"{len(ordered)} prices, version {version}")


if __name__ == "__main__":
    main()
