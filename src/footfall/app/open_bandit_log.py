"""The Open Bandit log, from its pinned package: fetched, checked by checksum, read; the package is not installed."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from footfall.errors import FormatError, WorkspaceError

PACKAGE = "obp==0.4.1"
WHEEL = "obp-0.4.1-py3-none-any.whl"
SHA256 = "87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208"
MEMBER = "obp/dataset/obd/{policy}/all/all.csv"


def fetch(directory: Path, policy: str) -> pa.Table:
    """The impressions logged under ``policy`` (random or bts): one row each.

    Raises WorkspaceError where the package cannot be fetched, FormatError where its checksum is not the pinned one.
    """
    wheel = directory / WHEEL
    if not wheel.exists():
        _download(directory)
    content = wheel.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        wheel.unlink()
        raise FormatError(
            f"{WHEEL} has checksum {found[:16]}..., {SHA256[:16]}... is pinned",
            "it was removed; run the demo again",
        )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        table = pa_csv.read_csv(io.BytesIO(archive.read(MEMBER.format(policy=policy))))
    return table


def _download(directory: Path) -> None:
    requirement = directory / "open-bandit.txt"
    requirement.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(directory), "-r", str(requirement)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip ended without a word"])[-1]
        way_out = "check the network and that pip can reach its registry"
        if "No module named pip" in reason:
            way_out = f"add pip to this environment: {sys.executable} -m ensurepip, or uv pip install pip"
        raise WorkspaceError(f"{PACKAGE} could not be fetched: {reason}", way_out)


def events(impressions: pa.Table) -> pa.Table:
    """One ``impression`` event a row, and a ``click`` event for each row that was clicked."""
    n = impressions.num_rows
    visit = pa.array([f"impression-{i}" for i in range(n)])
    shown = pa.table(
        {
            "message_id": visit,
            "ts": pc.cast(impressions["timestamp"], pa.timestamp("us", tz="UTC")),
            "name": pa.array(["impression"] * n),
            "visitor_id": visit,
            "visit_id": visit,
            "provider_id": pc.binary_join_element_wise("item", pc.cast(impressions["item_id"], pa.string()), "-"),
            "position": pc.cast(impressions["position"], pa.string()),
            "propensity": pc.cast(impressions["propensity_score"], pa.float64()),
        }
    )
    clicked = shown.filter(pc.equal(impressions["click"], 1))
    names = {
        "message_id": pc.binary_join_element_wise("click", clicked["visit_id"], "-"),
        "name": pa.array(["click"] * clicked.num_rows),
    }
    for name, column in names.items():
        clicked = clicked.set_column(clicked.column_names.index(name), name, column)
    return pa.concat_tables([shown, clicked.cast(shown.schema)])
