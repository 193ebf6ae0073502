"""Certificates of infold optimize: what they say is so, and infold verify finds what is not."""

import hashlib
import json
import shutil

import numpy as np
import onnx
import pytest
from test_edit import MODELS, infold


@pytest.fixture
def made(tmp_path):
    """A model, what became of it, and the certificate, in one folder."""
    shutil.copy(MODELS / "residual_net/model.onnx", tmp_path / "in.onnx")
    shutil.copy(MODELS / "residual_net/inputs.npz", tmp_path / "inputs.npz")
    infold("optimize", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx", "--inputs", tmp_path / "inputs.npz",
           "--certificate", tmp_path / "c.json")
    return tmp_path


def read(folder):
    return json.loads((folder / "c.json").read_text())


def write(folder, certificate):
    (folder / "c.json").write_text(json.dumps(certificate))


def verify(folder, *args, code=0):
    return infold("verify", "--certificate", folder / "c.json", *args, code=code)


def outputs(model, folder, *args):
    infold("run", model, "--inputs", folder / "inputs.npz", "--output", folder / "o.npz", "--no-optimize", "--exact-conv", *args)
    with np.load(folder / "o.npz") as archive:
        return {n: archive[n].astype("f8") for n in archive.files}


def test_what_it_says(made):
    said = read(made)
    for which, name in (("original", "in.onnx"), ("optimized", "out.onnx")):
        data = (made / name).read_bytes()
        assert said[which] == {"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert said["passes"]["fuse_bn"] > 0 and said["rewrites"] == sum(said["passes"].values())
    assert [run["fill"] for run in said["runs"]] == ["given"]
    exact = outputs(made / "in.onnx", made, "--float64")
    for which, name in (("original", "in.onnx"), ("optimized", "out.onnx")):
        got = outputs(made / name, made)
        for row in said["outputs"]:
            x, y = got[row["name"]], exact[row["name"]]
            off, large = np.abs(x - y), np.abs(y) >= 1e-3 * np.abs(x).max()
            assert row["elements"] == x.size
            assert row[which]["absolute"] == off.max() > 0
            assert row[which]["relative"] == (off / np.abs(y))[large].max()
            np.testing.assert_allclose(row[which]["ulp"], (off / np.spacing(np.abs(y).astype("f4")))[large].max(),
                                       rtol=1e-6)


def test_it_holds(made):
    assert "came out again in 1 run" in verify(made)
    assert "came out again" in verify(made, made / "in.onnx", made / "out.onnx")
    (made / "deeper").mkdir()
    infold("optimize", made / "in.onnx", "-o", made / "deeper/out.onnx", "--no-provenance", "--seed", "7",
           "--certificate", made / "deeper/c.json")
    assert read(made / "deeper")["original"]["file"] == "../in.onnx"
    assert [run["batch"] for run in read(made / "deeper")["runs"]] == [1, 3]
    verify(made / "deeper")


def test_the_same_bytes_each_time(made):
    first = (made / "c.json").read_bytes()
    infold("optimize", made / "in.onnx", "-o", made / "out.onnx", "--inputs", made / "inputs.npz", "--certificate",
           made / "c.json", "--threads", "1")
    assert (made / "c.json").read_bytes() == first


def test_another_file(made):
    for name in ("in.onnx", "out.onnx"):
        kept = (made / name).read_bytes()
        for changed in (kept[:-1], kept + b"x", bytes([kept[0] ^ 1]) + kept[1:]):
            (made / name).write_bytes(changed)
            assert "is another file: its SHA-256 is" in verify(made, code=1)
        (made / name).write_bytes(kept)
    model = onnx.load(made / "out.onnx")
    model.doc_string = "the same but for this"
    onnx.save(model, made / "out.onnx")
    assert "is another file" in verify(made, code=1)
    (made / "out.onnx").unlink()
    verify(made, code=3)


def test_other_errors_than_it_says(made):
    said = read(made)
    for which in ("original", "optimized"):
        for kind in ("absolute", "relative", "ulp"):
            for factor in (0, 0.999, 2):
                changed = json.loads(json.dumps(said))
                changed["outputs"][0][which][kind] *= factor
                write(made, changed)
                text = verify(made, code=1)
                assert f"the {kind} error of the {which} model is" in text and text.count("\n") == 1


def test_other_inputs(made):
    with np.load(made / "inputs.npz") as archive:
        feeds = {n: archive[n] + np.float32(1e-3) for n in archive.files}
    np.savez(made / "inputs.npz", **feeds)
    assert "the inputs in" in verify(made, code=1)


@pytest.mark.parametrize("change", [
    lambda c: c.pop("runs"), lambda c: c.update(runs=[]), lambda c: c.update(runs=[7]), lambda c: c.update(outputs={}),
    lambda c: c.update(original="in.onnx"), lambda c: c["original"].pop("sha256"), lambda c: c["runs"][0].pop("from"),
    lambda c: c["runs"][0].update(fill="ones"), lambda c: c["outputs"][0].pop("optimized"),
    lambda c: c.update(runs=[{"fill": "random", "seed": 0, "batch": 1, "other": 1, "inputs": {}}]),
    lambda c: c.update(runs=[{"fill": "random", "seed": 0, "batch": 1, "other": 1, "inputs": {"image": [1, -3, 32, 32]}}]),
    lambda c: c.update(runs=[{"fill": "random", "seed": 0, "batch": 1, "other": 1, "inputs": {"image": [1] * 99}}]),
])
def test_what_is_no_certificate(made, change):
    said = read(made)
    change(said)
    write(made, said)
    assert verify(made, code=3).count("\n") == 1


def test_what_is_none_at_all(made):
    for text, code in (("", 3), ("[", 3), ("[]", 3), ("{}", 3), ('{"format": "other"}', 4), ("\0\xff", 3)):
        (made / "c.json").write_text(text)
        assert verify(made, code=code).count("\n") == 1
    said = '{"format": "infold certificate 1", "original": ' + "[" * 100000
    (made / "c.json").write_text(said)
    verify(made, code=3)
    (made / "c.json").unlink()
    verify(made, code=3)


def test_shapes_that_do_not_fit(made):
    said = read(made)
    said["runs"] = [{"fill": "random", "seed": 0, "batch": 1, "other": 1, "inputs": {"image": [2**40, 3, 2**20, 2**20]}}]
    write(made, said)
    done = infold("verify", "--certificate", made / "c.json", code=5)
    assert done.count("\n") == 1
    said["runs"][0]["inputs"]["image"] = [1, 4, 32, 32]
    write(made, said)
    verify(made, code=2)


def test_nothing_is_written_without_evidence(made):
    for options in (("--no-verify",), ("--skip", "nobody")):
        infold("optimize", made / "in.onnx", "-o", made / "x.onnx", "--certificate", made / "x.json", *options, code=2)
    infold("optimize", made / "in.onnx", "--certificate", made / "x.json", code=2)
    assert not (made / "x.json").exists() and not (made / "x.onnx").exists()


def test_external_data_counts(tmp_path):
    for name in ("model.onnx", "model.onnx.data"):
        shutil.copy(MODELS / "external_data" / name, tmp_path / name)
    infold("optimize", tmp_path / "model.onnx", "-o", tmp_path / "out.onnx", "--external-data", "out.bin",
           "--certificate", tmp_path / "c.json")
    for which, name in (("original", "model.onnx.data"), ("optimized", "out.bin")):
        data = (tmp_path / name).read_bytes()
        said = read(tmp_path)[which]["external_data"]
        assert said == [{"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}]
    verify(tmp_path)
    changed = bytearray((tmp_path / "model.onnx.data").read_bytes())
    changed[100] ^= 1
    (tmp_path / "model.onnx.data").write_bytes(changed)
    assert "external data 'model.onnx.data' is another file" in verify(tmp_path, code=1)


def test_fixed_dimensions(tmp_path):
    """The original is not fixed; the runs' shapes are."""
    infold("optimize", MODELS / "unet/model.onnx", "-o", tmp_path / "out.onnx", "--batch", "2", "--fix-dim", "H=24",
           "--certificate", tmp_path / "c.json")
    assert [run["inputs"]["image"][:3] for run in read(tmp_path)["runs"]] == [[2, 3, 24]]
    verify(tmp_path)


@pytest.mark.parametrize("name", ["bn_training", "lstm_tagger", "quant_qdq", "control_flow", "half_net", "text_classifier"])
def test_models_of_all_kinds(name, tmp_path):
    infold("optimize", MODELS / name / "model.onnx", "-o", tmp_path / "out.onnx", "--certificate", tmp_path / "c.json")
    verify(tmp_path)
