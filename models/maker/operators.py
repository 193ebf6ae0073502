"""Operators in double precision for onnx.reference, where its own are float32 only, leave part of the specification
out or differ from it: BatchNormalization at every opset, Add of opset 6, LRN, grouped ConvTranspose, recurrent layers
with sequence_lens, Loop without a condition or with scan outputs of rank 0, Scan along other axes than the first, and
the quantizing operators.
"""

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_conv import _conv_implementation as convolve


class Record:
    """What a run leaves behind. stats: (mean, var) of the input of each BatchNormalization whose mean's name is in
    `measure`, by that name; these are used in place of the given ones. margin: the least distance of a quantized
    value, before rounding and in steps, from a tie."""

    def __init__(self, measure=()):
        self.measure, self.stats, self.margin = measure, {}, 0.5


def _channel_wise(v, x):
    return v.reshape(-1, *[1] * (x.ndim - 2))


def _batch_norm(record):
    class BatchNormalization(OpRun):
        op_domain = ""

        def is_training(self, training_mode, is_test):
            version = self.run_params["opsets"][""]
            if version >= 14:
                return bool(training_mode)
            return len(self.onnx_node.output) > 1 if version >= 7 else not is_test

        def used_statistics(self, x, mean, var):
            name = self.onnx_node.input[3]
            if name in record.measure and name not in record.stats:
                record.stats[name] = _moments(x)
            return record.stats.get(name, (mean, var))

        def _run(self, x, scale, bias, mean, var, epsilon=None, momentum=None, training_mode=None, is_test=None, **_):
            mean, var = self.used_statistics(x, mean, var)
            m, v = _moments(x) if self.is_training(training_mode, is_test) else (mean, var)
            k = scale / np.sqrt(v + epsilon)
            y = (x - _channel_wise(m, x)) * _channel_wise(k, x) + _channel_wise(bias, x)
            running = [old * momentum + new * (1 - momentum) for old, new in ((mean, m), (var, v))]
            return (y, *running, m, v)[: len(self.onnx_node.output)]

    return BatchNormalization


def _moments(x):
    axes = (0, *range(2, x.ndim))
    return x.mean(axis=axes), x.var(axis=axes)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _lstm_step(x, state, w, r, b):
    h, c = state
    i, o, f, g = np.split(x @ w.T + h @ r.T + sum(np.split(b, 2)), 4, axis=-1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


def _gru_step_reset_after(x, state, w, r, b):
    """linear_before_reset = 1."""
    (h,) = state
    xz, xr, xh = np.split(x @ w.T + np.split(b, 2)[0], 3, axis=-1)
    hz, hr, hh = np.split(h @ r.T + np.split(b, 2)[1], 3, axis=-1)
    z = _sigmoid(xz + hz)
    return ((1 - z) * np.tanh(xh + _sigmoid(xr + hr) * hh) + z * h,)


def _gru_step_reset_before(x, state, w, r, b):
    """linear_before_reset = 0: the reset gate meets h before the product."""
    (h,) = state
    n = h.shape[-1]
    wb, rb = np.split(b, 2)
    xz, xr, xh = np.split(x @ w.T + wb, 3, axis=-1)
    z = _sigmoid(xz + h @ r[:n].T + rb[:n])
    reset = _sigmoid(xr + h @ r[n : 2 * n].T + rb[n : 2 * n])
    return ((1 - z) * np.tanh(xh + (reset * h) @ r[2 * n :].T + rb[2 * n :]) + z * h,)


def _sweep(step, x, lens, state, w, r, b, backward):
    """One direction over x [seq, batch, n]; a sample's steps past its length output 0 and leave its state alone."""
    y = np.zeros((len(x), *state[0].shape))
    for t in reversed(range(len(x))) if backward else range(len(x)):
        live = (t < lens)[:, None]
        new = step(x[t], state, w, r, b)
        state = tuple(np.where(live, n, o) for n, o in zip(new, state))
        y[t] = np.where(live, new[0], 0)
    return y, state


class _Recurrent(OpRun):
    """Default activations, layout 0, no peepholes and no clip: what the models here use."""

    op_domain = ""

    def sweep_all(self, step, x, w, r, b, lens, starts):
        n_dir, batch, hidden = w.shape[0], x.shape[1], r.shape[-1]
        lens = np.full(batch, len(x)) if lens is None else lens
        b = np.zeros((n_dir, 2 * w.shape[1])) if b is None else b
        starts = [np.zeros((n_dir, batch, hidden)) if s is None else s for s in starts]
        reverse = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[self.direction]
        runs = [
            _sweep(step, x, lens, tuple(s[d] for s in starts), w[d], r[d], b[d], back) for d, back in enumerate(reverse)
        ]
        y = np.stack([run[0] for run in runs], axis=1)
        ends = [np.stack([run[1][i] for run in runs]) for i in range(len(starts))]
        return (y, *ends)[: len(self.onnx_node.output)]


class LSTM(_Recurrent):
    def _run(self, x, w, r, b=None, lens=None, h=None, c=None, **_):
        return self.sweep_all(_lstm_step, x, w, r, b, lens, [h, c])


class GRU(_Recurrent):
    def _run(self, x, w, r, b=None, lens=None, h=None, linear_before_reset=None, **_):
        step = _gru_step_reset_after if linear_before_reset else _gru_step_reset_before
        return self.sweep_all(step, x, w, r, b, lens, [h])


class LRN(OpRun):
    op_domain = ""

    def _run(self, x, alpha=None, beta=None, bias=None, size=None):
        before, c = (size - 1) // 2, x.shape[1]
        square = np.pad(x**2, ((0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)))
        total = sum(square[:, i : i + c] for i in range(size))
        return (x / (bias + alpha / size * total) ** beta,)


class Add(OpRun):
    """With the `axis` of opset 6 and before: where b's first dim stands in a."""

    op_domain = ""

    def _run(self, a, b, axis=None, **_):
        return (a + (b if axis is None else b.reshape(*b.shape, *[1] * (a.ndim - axis - b.ndim))),)


def _place(y, taps, offsets, strides):
    """Add taps [N,C,*in] into y [N,C,*out] at offset + stride * index along each spatial axis."""
    at = tuple(slice(o, o + s * (n - 1) + 1, s) for o, s, n in zip(offsets, strides, taps.shape[2:]))
    y[(slice(None), slice(None), *at)] += taps


class ConvTranspose(OpRun):
    """Every input pixel times the kernel, added up where it lands; then the pads are cut off. Explicit pads only."""

    op_domain = ""

    def _run(self, x, w, b=None, dilations=None, group=None, output_padding=None, pads=None, strides=None, **_):
        rank, kernel = x.ndim - 2, w.shape[2:]
        dilations, strides = dilations or [1] * rank, strides or [1] * rank
        extra, pads = output_padding or [0] * rank, pads or [0] * 2 * rank
        spatial = [
            s * (n - 1) + d * (k - 1) + 1 + e for s, n, d, k, e in zip(strides, x.shape[2:], dilations, kernel, extra)
        ]
        parts = []
        for xg, wg in zip(np.split(x, group, axis=1), np.split(w, group, axis=0)):
            y = np.zeros((len(x), wg.shape[1], *spatial))
            for k in np.ndindex(*kernel):
                taps = np.einsum("nc...,co->no...", xg, wg[(slice(None), slice(None), *k)])
                _place(y, taps, [i * d for i, d in zip(k, dilations)], strides)
            parts.append(y)
        y = np.concatenate(parts, axis=1)
        y = y[(..., *(slice(p, n - q) for p, q, n in zip(pads[:rank], pads[rank:], spatial)))]
        return (y if b is None else y + _channel_wise(b, y),)


class Loop(OpRun):
    op_domain = ""

    def need_context(self):
        return True

    def _run(self, limit, cond, *state, context=None, attributes=None, bindings=None, **_):
        names, state = self.body.input_names, list(state)
        scans = [[] for _ in range(len(self.body.output_names) - 1 - len(state))]
        go, i = True if cond is None else bool(cond), 0
        while go and (limit is None or i < limit):
            given = dict(zip(names, [np.int64(i), np.bool_(True), *state]))
            keep_on, *outs = self._run_body({**context, **given}, attributes=attributes, bindings=bindings)
            state = outs[: len(state)]
            for scan, value in zip(scans, outs[len(state) :]):
                scan.append(value)
            go, i = cond is None or bool(keep_on), i + 1
        return (*state, *(np.stack(scan) for scan in scans))


class Scan(OpRun):
    """Forward scans, opset 9 and later."""

    op_domain = ""

    def need_context(self):
        return True

    def _run(self, *inputs, context=None, attributes=None, bindings=None, num_scan_inputs=None, **axes):
        state, scanned = list(inputs[:-num_scan_inputs]), inputs[-num_scan_inputs:]
        in_axes = axes.get("scan_input_axes") or [0] * len(scanned)
        rows = zip(*(np.moveaxis(x, axis, 0) for x, axis in zip(scanned, in_axes)))
        emitted = []
        for row in rows:
            given = dict(zip(self.body.input_names, [*state, *row]))
            outs = self._run_body({**context, **given}, attributes=attributes, bindings=bindings)
            state = outs[: len(state)]
            emitted.append(outs[len(state) :])
        columns = [*zip(*emitted)]
        out_axes = axes.get("scan_output_axes") or [0] * len(columns)
        return (*state, *(np.stack(c, axis) for c, axis in zip(columns, out_axes)))


def _along(v, rank, axis):
    """A per-axis vector, shaped to broadcast; scalars stay."""
    return v.reshape([-1 if i == axis % rank else 1 for i in range(rank)]) if np.ndim(v) and np.size(v) > 1 else v


class DequantizeLinear(OpRun):
    op_domain = ""

    def _run(self, x, scale, zero_point=None, axis=None, **_):
        zero = 0 if zero_point is None else _along(zero_point, x.ndim, axis)
        return ((x.astype(np.float64) - zero) * _along(scale, x.ndim, axis),)


def _quantizers(record):
    def saturate(v, zero_point):
        """round half to even, add the zero point, clip to its type."""
        limits = np.iinfo(zero_point.dtype)
        inside = v[(v + zero_point >= limits.min - 1) & (v + zero_point <= limits.max + 1)]
        if inside.size:
            record.margin = min(record.margin, 0.5 - np.abs(inside - np.rint(inside)).max())
        return np.clip(np.rint(v) + zero_point, limits.min, limits.max).astype(zero_point.dtype)

    class QuantizeLinear(OpRun):
        op_domain = ""

        def _run(self, x, scale, zero_point=None, axis=None, **_):
            zero_point = np.uint8(0) if zero_point is None else zero_point
            return (saturate(x / _along(scale, x.ndim, axis), _along(zero_point, x.ndim, axis)),)

    class DynamicQuantizeLinear(OpRun):
        op_domain = ""

        def _run(self, x):
            low, high = min(0, x.min()), max(0, x.max())
            scale = np.float64(np.float32((high - low) / 255))
            zero = saturate(np.array(-low / scale), np.uint8(0))
            return saturate(x / scale, zero), np.array(scale), zero

    class QLinearConv(OpRun):
        op_domain = ""

        def _run(self, x, xs, xz, w, ws, wz, ys, yz, b=None, dilations=None, group=None, pads=None, strides=None, **_):
            x = x.astype(np.float64) - xz
            w = w.astype(np.float64) - _along(wz, w.ndim, 0)
            bias = None if b is None else b.astype(np.float64)
            rank = w.ndim - 2
            acc = convolve(
                x,
                w,
                bias,
                "NOTSET",
                dilations or [1] * rank,
                group,
                w.shape[2:],
                pads or [0] * 2 * rank,
                strides or [1] * rank,
            )
            return (saturate(acc * (xs * _along(ws, w.ndim, 1) / ys), yz),)

    class QLinearMatMul(OpRun):
        op_domain = ""

        def _run(self, a, a_scale, az, b, b_scale, bz, ys, yz):
            acc = (a.astype(np.float64) - az) @ (b.astype(np.float64) - bz)
            return (saturate(acc * (a_scale * b_scale / ys), yz),)

    return [QuantizeLinear, DynamicQuantizeLinear, QLinearConv, QLinearMatMul]


def operators(record):
    """The classes to hand to ReferenceEvaluator, noting what they see in `record`."""
    return [_batch_norm(record), Add, LRN, ConvTranspose, LSTM, GRU, Loop, Scan, DequantizeLinear, *_quantizers(record)]
