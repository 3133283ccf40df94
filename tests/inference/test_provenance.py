"""These tests pin: what a record of provenance has, also where there is no git."""

import json
import subprocess

from inference.runs.provenance import provenance


def test_a_record_has_command_commit_versions_and_machine():
    record = provenance(seed=4)
    assert json.loads(json.dumps(record)) == record
    assert record["seed"] == 4
    assert len(record["command"]) >= 1
    assert record["versions"]["torch"]
    assert record["machine"]["cores"] >= 1
    assert record["git"] is None or set(record["git"]) == {"commit", "dirty"}


def test_no_git_is_no_error(monkeypatch):
    def fail(*args, **kwargs):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", fail)
    assert provenance()["git"] is None
