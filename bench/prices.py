"""Compare the packaged prices with those that the package litellm ships, or take them over.

    pip install litellm && python bench/prices.py            # lists what differs
    python bench/prices.py --write                           # rewrites src/opto/llm/prices.json
    python bench/prices.py --from model_prices.json          # a file that was taken out of a wheel

litellm itself is not imported: its data file is read, and its version from the package's metadata.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

from opto.llm.prices import Price, PriceTable

DATA = "model_prices_and_context_window_backup.json"
OURS = Path(__file__).parent.parent / "src" / "opto" / "llm" / "prices.json"
# Whose list price a bare name stands for; "" are names without a provider before them.
MAKERS = {"openai": "", "anthropic": "", "gemini": "gemini/", "deepseek": "", "mistral": "mistral/", "xai": "xai/"}
# Paid for by more than text tokens (sound, pictures, searches), trials, guests, or not models that answer.
OTHER = re.compile(
    r"audio|tts|image|search|computer-use|robotics|lyria|omni|research|container|voxtral|^ft:|vision"
    r"|beta|experimental|gv2|customtools|vibe|gemini-gemma|glm-|mistral-code|codestral-mamba"
)
_LONG = re.compile(r"input_cost_per_token_above_(\d+)k_tokens$")


def dollars(entry: dict[str, Any], name: str) -> float:
    return round(entry.get(name, 0.0) * 1e6, 6)


def price(entry: dict[str, Any]) -> dict[str, Any]:
    """The price of one model in the form of prices.json; dearer long prompts included."""
    found: dict[str, Any] = {
        "prompt": dollars(entry, "input_cost_per_token"),
        "completion": dollars(entry, "output_cost_per_token"),
    }
    long = next((match for match in map(_LONG.match, entry) if match), None)
    if long:
        rest = f"cost_per_token_above_{long[1]}k_tokens"
        found["long"] = {
            "above": int(long[1]) * 1000,
            "prompt": dollars(entry, f"input_{rest}"),
            "completion": dollars(entry, f"output_{rest}"),
        }
    return found


def theirs(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The makers' own prices by bare name; a price of nothing is a price that nobody wrote down."""
    found: dict[str, dict[str, Any]] = {}
    for name, entry in data.items():
        prefix = MAKERS.get(entry.get("litellm_provider", ""))
        if prefix is None or not name.startswith(prefix) or entry.get("mode") not in ("chat", "embedding"):
            continue
        bare = name.removeprefix(prefix)
        if "/" not in bare and not OTHER.search(bare) and entry.get("input_cost_per_token"):
            found[bare] = price(entry)
    return found


def wanted(prices: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """All but the dated names that cost what the undated one costs: the table finds these by itself."""
    kept: dict[str, dict[str, Any]] = {}
    for name in sorted(prices, key=len):
        if PriceTable.of(kept, {}, packaged=False).price(name) != PriceTable.of({"x": prices[name]}, {}).price("x"):
            kept[name] = prices[name]
    return dict(sorted(kept.items()))


def differences(prices: dict[str, dict[str, Any]]) -> list[str]:
    """Names for which our table answers with another price, or does not answer."""
    table, found = PriceTable.of(environment={}), list[str]()
    for name, given in prices.items():
        ours, its = table.price(name), PriceTable.of({"x": given}, {}).price("x")
        if ours != its:
            found.append(f"{name}: ours {shown(ours)}, theirs {shown(its)}")
    return found


def shown(given: Price | None) -> str:
    return "unknown" if given is None else f"{given.prompt:g} / {given.completion:g}"


def write(prices: dict[str, dict[str, Any]], version: str, today: str) -> None:
    """Take `prices` over; models that the source has dropped keep what an older one said."""
    data = json.loads(OURS.read_text(encoding="utf-8"))
    source = f"litellm {version}"
    kept = {name: given for name, given in data["models"].items() if name not in prices and "source" in given}
    models = {**kept, **wanted(prices)}
    head = {**data, "source": f"{source} ({DATA} in the wheel on PyPI)", "read": today}
    lines = [f"    {json.dumps(name)}: {json.dumps(models[name])}" for name in sorted(models)]
    begin = json.dumps({name: head[name] for name in head if name != "models"}, indent=2).removesuffix("\n}")
    OURS.write_text(begin + ',\n  "models": {\n' + ",\n".join(lines) + "\n  }\n}\n", encoding="utf-8")


def installed() -> Path:
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        sys.exit("litellm is not installed: pip install litellm, or give its data file with --from.")
    return Path(spec.origin).with_name(DATA)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the packaged prices with litellm's.")
    parser.add_argument("--from", dest="file", type=Path, help=f"a {DATA} instead of the installed one")
    parser.add_argument("--version", help="the version of that file")
    parser.add_argument("--write", action="store_true", help="take the prices over")
    options = parser.parse_args()
    prices = theirs(json.loads((options.file or installed()).read_text(encoding="utf-8")))
    if options.write:
        write(prices, options.version or importlib.metadata.version("litellm"), datetime.date.today().isoformat())
        return 0
    found = differences(prices)
    head = json.loads(OURS.read_text(encoding="utf-8"))
    print(f"ours: {head['source']}, read {head['read']}; {len(prices)} names compared, {len(found)} differ")
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
