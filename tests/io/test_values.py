"""Values survive being read and written: .npy, .npz and .pb files, against NumPy and the onnx package."""

import io
import struct
import zipfile

import numpy as np
import onnx
import pytest
import tool
from onnx import TensorProto, helper, numpy_helper

NUMPYS = "? u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8 c8 c16".split()
OTHERS = [t for t in TensorProto.DataType.values()
          if t != TensorProto.UNDEFINED and helper.tensor_dtype_to_np_dtype(t).type.__module__ == "ml_dtypes"]


def through(kind, source, tmp_path, wanted=0):
    target = tmp_path / "out"
    (answer,) = tool.answers("values", [(kind, source, target, wanted)])
    return answer, target


def npy(raw, tmp_path, wanted=0):
    source = tmp_path / "in.npy"
    source.write_bytes(raw)
    answer, target = through("npy", source, tmp_path, wanted)
    return answer, np.load(target) if answer == "ok" else None


def npys(arrays, tmp_path, wanted=0):
    """Copies of arrays, all of which must succeed."""
    jobs = [("npy", tmp_path / f"{i}.npy", tmp_path / f"{i}.out", wanted) for i in range(len(arrays))]
    for job, a in zip(jobs, arrays):
        job[1].write_bytes(dumped(a))
    assert set(tool.answers("values", jobs)) == {"ok"}
    return [np.load(job[2]) for job in jobs]


def dumped(array):
    f = io.BytesIO()
    np.save(f, array, allow_pickle=True)
    return f.getvalue()


def sample(code, shape=(2, 3, 4)):
    n = int(np.prod(shape))
    raw = np.random.default_rng(0).integers(0, 256, n * np.dtype(code).itemsize, np.uint8)
    return (raw > 99 if code == "?" else np.frombuffer(raw.tobytes(), code)).reshape(shape)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("code", NUMPYS)
def test_npy(code, tmp_path):
    arrays = [sample(code, shape) for shape in [(), (0,), (7,), (2, 3, 4), (1, 0, 3), (2,) * 12]]
    assert all(map(same, npys(arrays, tmp_path), arrays))


@pytest.mark.parametrize("code", NUMPYS)
def test_npy_fortran_and_big_endian(code, tmp_path):
    a = sample(code)
    arrays = [np.asfortranarray(a), a.astype(a.dtype.newbyteorder(">")), np.asfortranarray(a.astype(a.dtype.newbyteorder(">")))]
    assert all(same(b, a) for b in npys(arrays, tmp_path))


def test_npy_strings(tmp_path):
    texts = [["a", "bcé", ""], ["\U0001f600\u4e2d", "x" * 300], [["a", "b"], ["c", "dd"]], []]
    arrays = [np.array(t, str) for t in texts]
    arrays += [np.asfortranarray(a) for a in arrays] + [a.astype(a.dtype.newbyteorder(">")) for a in arrays]
    assert all(b.shape == a.shape and np.array_equal(a, b) for a, b in zip(arrays, npys(arrays, tmp_path)))


def test_npy_bytes(tmp_path):
    a, b = np.array([b"a\xff", b"", b"bc"]), np.array([[b"a", b"bc"]])
    x, y = npys([a, b], tmp_path)
    assert same(x, a) and same(y, b.astype("U2"))


@pytest.mark.parametrize("dtype", OTHERS)
def test_npy_types_that_numpy_does_not_have(dtype, tmp_path):
    n = helper.tensor_dtype_to_np_dtype(dtype)
    digits = "".join(c for c in n.name if c.isdigit())
    bits = 16 if n.name == "bfloat16" else int(digits[0])
    a = np.arange(2**bits, dtype=np.uint16).astype(f"u{n.itemsize}").view(n)
    (b,) = npys([a], tmp_path, dtype)
    assert b.dtype == np.dtype(f"V{n.itemsize}")
    b = np.frombuffer(b.tobytes(), n)
    # integers of less than a byte are sign-extended
    assert np.array_equal(a.astype(int), b.astype(int)) if "int" in n.name else a.tobytes() == b.tobytes()
    answer, _ = npy(dumped(a), tmp_path)
    assert "elements of type" in answer


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n"


def made(header, data=bytes(12), magic=b"\x93NUMPY\x01\0", length=None):
    size = struct.pack("<H" if magic[6] == 1 else "<I", len(header) if length is None else length)
    return magic + size + header.encode() + data


@pytest.mark.parametrize("version", [1, 2, 3])
def test_npy_versions(version, tmp_path):
    answer, b = npy(made(HEADER, magic=b"\x93NUMPY" + bytes([version, 0])), tmp_path)
    assert answer == "ok" and same(b, np.zeros(3, np.float32))


@pytest.mark.parametrize("raw, message", [
    (b"", "not a .npy file"),
    (made(HEADER, magic=b"\x93NUMPX\x01\0"), "not a .npy file"),
    (made(HEADER, magic=b"\x93NUMPY\x09\0"), "version 9"),
    (made(HEADER, length=65535), "cut off"),
    (made(HEADER)[:9], "not a .npy file"),
    (made(HEADER)[:11], "cut off"),
    (made(HEADER, b"\0" * 11), "takes 12"),
    (made(HEADER, b"\0" * 13), "takes 12"),
    (made(HEADER.replace("3", "-3")), "number"),
    (made(HEADER.replace("3", "9223372036854775808")), "too large"),
    (made(HEADER.replace("3", "4611686018427387904")), "larger than memory"),
    (made(HEADER.replace("(3,)", "(1," * 1000)), "header"),
    (made(HEADER.replace("(3,)", "(" + "1," * 13 + ")")), "dimensions"),
    (made(HEADER.replace("<f4", "|O")), "Python objects"),
    (made(HEADER.replace("<f4", "<f16")), "<f16"),
    (made(HEADER.replace("<f4", "<M8[ns]")), "no type"),
    (made(HEADER.replace("<f4", "<U0")), "0 bytes"),
    (made(HEADER.replace("<f4", "")), "no type"),
    (made(HEADER.replace("'<f4'", "[('a', '<f4')]")), "structured"),
    (made(HEADER.replace("False", "None")), "fortran_order"),
    (made("{'descr': '<f4', 'fortran_order': False}"), "missing"),
    (made("{'descr': '<f4'"), "header"),
    (made("{'descr"), "header"),
    (made("{" * 60000), "header"),
    (made("__import__('os').system('true')"), "dictionary"),
    (made(HEADER + "1"), "behind"),
])
def test_npy_malformed(raw, message, tmp_path):
    answer, _ = npy(raw, tmp_path)
    assert message in answer and not (tmp_path / "out").exists()


# ---- archives ----


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(save, tmp_path):
    arrays = {code: sample(code) for code in NUMPYS if code != "?"} | {"a/b": np.array(["x", "yz"]), "é": np.zeros((0, 2))}
    source = tmp_path / "in.npz"
    save(source, **arrays)
    answer, target = through("npz", source, tmp_path)
    assert answer == "ok"
    with np.load(target) as out:
        assert list(out) == list(arrays)
        assert all(same(out[k], a) for k, a in arrays.items())
    first = target.read_bytes()
    assert zipfile.ZipFile(target).testzip() is None
    assert {i.date_time for i in zipfile.ZipFile(target).infolist()} == {(1980, 1, 1, 0, 0, 0)}
    through("npz", source, tmp_path)
    assert target.read_bytes() == first


def test_empty_npz(tmp_path):
    np.savez(tmp_path / "in.npz")
    answer, target = through("npz", tmp_path / "in.npz", tmp_path)
    assert answer == "ok" and list(np.load(target)) == [] and zipfile.ZipFile(target).testzip() is None


def damaged(tmp_path, change):
    source = tmp_path / "in.npz"
    np.savez_compressed(source, x=np.arange(10000))
    source.write_bytes(change(source.read_bytes()))
    return through("npz", source, tmp_path)


def test_npz_malformed(tmp_path):
    for change in (lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PK" * 100,
                   lambda b: b[:200] + bytes([b[200] ^ 255]) + b[201:]):
        answer, target = damaged(tmp_path, change)
        assert answer != "ok" and not target.exists(), answer


def test_npz_bomb(tmp_path):
    """A member that says it is larger than it is, and one that unpacks to more than may be held."""
    def lie(b):
        at = b.rindex(b"PK\x01\x02")
        return b[: at + 24] + struct.pack("<I", 1 << 20) + b[at + 28 :]
    answer, _ = damaged(tmp_path, lie)
    assert "'x'" in answer
    source = tmp_path / "in.npz"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as z, z.open("x.npy", "w") as f:
        f.write(made(HEADER.replace("3", str(25 << 20)), b""))
        for _ in range(100):
            f.write(bytes(1 << 20))
    answer, _ = through("npz", source, tmp_path)
    assert "memory" in answer


# ---- protos ----


def pb(message, kinds, tmp_path):
    source = tmp_path / "in.pb"
    source.write_bytes(message if isinstance(message, bytes) else message.SerializeToString())
    target = tmp_path / "out.pb"
    (answer,) = tool.answers("values", [("pb", source, target, kinds)])
    if answer != "ok":
        return answer, None
    out = type(message)()
    out.ParseFromString(target.read_bytes())
    return answer, out


def all_tensors():
    for dtype in TensorProto.DataType.values():
        if dtype in (TensorProto.UNDEFINED, TensorProto.STRING):
            continue
        for shape in [(), (3,), (2, 5), (0, 4)]:
            n = helper.tensor_dtype_to_np_dtype(dtype)
            a = np.ones(shape, n) if dtype == TensorProto.BOOL else np.asarray(np.arange(np.prod(shape)).reshape(shape) % 2).astype(n)
            yield f"{TensorProto.DataType.Name(dtype)} {shape}", numpy_helper.from_array(a, "v")
            yield f"{TensorProto.DataType.Name(dtype)} {shape} array", helper.make_tensor("v", dtype, shape, a.flatten())


def test_pb_tensors(tmp_path):
    tensors = list(all_tensors())
    jobs = [("pb", tmp_path / f"{i}.pb", tmp_path / f"{i}.out", "t") for i in range(len(tensors))]
    for job, (_, t) in zip(jobs, tensors):
        job[1].write_bytes(t.SerializeToString())
    assert set(tool.answers("values", jobs)) == {"ok"}
    for job, (name, t) in zip(jobs, tensors):
        out = TensorProto.FromString(job[2].read_bytes())
        assert out.data_type == t.data_type and out.name == "v", name
        assert same(numpy_helper.to_array(out), numpy_helper.to_array(t)), name


def test_pb_strings(tmp_path):
    t = helper.make_tensor("v", TensorProto.STRING, [2, 2], [b"a", b"", "é".encode(), b"long" * 100])
    answer, out = pb(t, "t", tmp_path)
    assert answer == "ok" and out.SerializeToString() == t.SerializeToString()


A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((0,), np.float32)


@pytest.mark.parametrize("message, kinds", [
    (numpy_helper.from_list([A, B], "v"), "st"),
    (numpy_helper.from_list([], "v"), "st"),
    (numpy_helper.from_list([], "v", onnx.SequenceProto.MAP), "sm"),
    (numpy_helper.from_list([[A], [B, A]], "v"), "sst"),
    (numpy_helper.from_list([{1: np.float32(2)}, {1: np.float32(3)}], "v"), "smt"),
    (numpy_helper.from_optional(A, "v"), "ot"),
    (numpy_helper.from_optional([A, A], "v"), "ost"),
    (numpy_helper.from_optional([], "v"), "ost"),
    (numpy_helper.from_dict({1: np.float32(2), -5: np.float32(7)}, "v"), "mt"),
])
def test_pb_other_values(message, kinds, tmp_path):
    answer, out = pb(message, kinds, tmp_path)
    assert answer == "ok" and out == message


def test_pb_string_keys(tmp_path):
    m = onnx.MapProto(name="v", key_type=TensorProto.STRING, string_keys=[b"a", b"b"])
    m.values.CopyFrom(numpy_helper.from_list([np.float32(1), np.float32(2)]))
    answer, out = pb(m, "mt", tmp_path)
    assert answer == "ok" and out == m


@pytest.mark.parametrize("kinds", ["ot", "ost"])
@pytest.mark.parametrize("dtype", [0, None])
def test_pb_absent_optional(kinds, dtype, tmp_path):
    dtype = {"ot": 1, "ost": 3}[kinds] if dtype is None else dtype
    answer, out = pb(onnx.OptionalProto(name="v", elem_type=dtype), kinds, tmp_path)
    assert answer == "ok" and numpy_helper.to_optional(out) is None


def test_pb_sparse(tmp_path):
    sparse = helper.make_sparse_tensor(numpy_helper.from_array(np.float32([5, 7])), numpy_helper.from_array(np.int64([1, 5])), [2, 3])
    source, target = tmp_path / "in.pb", tmp_path / "out.pb"
    source.write_bytes(sparse.SerializeToString())
    assert tool.answers("values", [("pb", source, target, "c")]) == ["ok"]
    out = TensorProto.FromString(target.read_bytes())
    assert same(numpy_helper.to_array(out), np.float32([[0, 5, 0], [0, 0, 7]]))


@pytest.mark.parametrize("raw, kinds, message", [
    (b"", "t", "element type 0"),
    (numpy_helper.from_array(A).SerializeToString()[:20], "t", "cut off"),
    (onnx.SequenceProto().SerializeToString(), "t", "element type 0"),
    (numpy_helper.from_list([A]).SerializeToString(), "smt", "elem_type 1 where 4 is declared"),
    (onnx.SequenceProto(elem_type=9).SerializeToString(), "st", "elem_type 9"),
    (onnx.SequenceProto(elem_type=4, tensor_values=[numpy_helper.from_array(A)]).SerializeToString(), "s", "another kind"),
    (onnx.MapProto(key_type=1, keys=[1]).SerializeToString(), "m", "key_type 1"),
    (onnx.MapProto(key_type=7, keys=[1, 2]).SerializeToString(), "m", "2 keys"),
    (TensorProto(data_type=1, dims=[4], data_location=1).SerializeToString(), "t", "cannot have external data"),
])
def test_pb_malformed(raw, kinds, message, tmp_path):
    answer, _ = pb(raw, kinds, tmp_path)
    assert message in answer and not (tmp_path / "out.pb").exists()
