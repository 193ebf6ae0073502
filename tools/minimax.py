#!/usr/bin/env python3
"""Coefficients of the polynomials in src/kernels/vmath.h and vmath_pieces.h.

Each polynomial is the weighted minimax fit (Remez exchange on a dense grid) of one smooth function; its coefficients are
rounded to float32 and then moved by single units in the last place while that lowers the largest error. Prints every polynomial with its largest weighted error.

    python3 tools/minimax.py [NAME ...]
"""
import decimal
import math
import sys

import numpy as np

L = np.longdouble


def exchange(basis, target, weight):
    """Columns of `basis` (grid × n) fitted to `target`; minimizes max |weight * error|. Returns (coefficients, error)."""
    m, n = basis.shape
    at = np.unique(((1 - np.cos(np.pi * np.arange(n + 1) / n)) / 2 * (m - 1)).round().astype(int))
    scale = np.abs(basis).max(0)
    scale[scale == 0] = 1
    for _ in range(60):
        a = np.hstack([(basis[at] / scale).astype(float), ((-1.0) ** np.arange(n + 1) / weight[at])[:, None].astype(float)])
        solution = np.linalg.solve(a, target[at].astype(float))
        coefficients = solution[:n] / scale
        error = weight * (target - basis @ coefficients)
        peaks, start = [], 0
        for k in range(1, m + 1):
            if k == m or (error[k] > 0) != (error[start] > 0):
                peaks.append(start + int(np.argmax(np.abs(error[start:k]))))
                start = k
        while len(peaks) > n + 1:
            peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
        if len(peaks) < n + 1 or list(at) == peaks:
            break
        at = np.array(peaks)
    return coefficients, float(np.abs(error).max())


def fit(x, target, weight, degree, kind=np.float32):
    """Coefficients of powers 0…degree of x, as numbers of `kind`."""
    powers = np.stack([x**k for k in range(degree + 1)], 1)
    c = exchange(powers, target, weight)[0].astype(kind)
    error = lambda c: float(np.abs(weight * (target - powers @ c.astype(L))).max())
    best, improved = error(c), kind is np.float32
    while improved:
        improved = False
        for k in range(degree + 1):
            for way in (-np.inf, np.inf):
                trial = c.copy()
                trial[k] = np.nextafter(c[k], kind(way))
                if error(trial) < best:
                    c, best, improved = trial, error(trial), True
    return list(c), best


def grid(low, high, cut=1e-3, n=4001):
    """Chebyshev-spaced points, without those nearer to 0 than cut, where the functions cancel."""
    x = (L(low) + L(high)) / 2 - (L(high) - L(low)) / 2 * np.cos(np.pi * np.arange(n).astype(L) / (n - 1))
    return x[np.abs(x) >= cut]


def each(f, x):
    return np.array([L(f(float(v))) for v in x])


def exp_tail(degree=4):
    """(e^r - 1 - r) / r^2 for |r| <= ln(2)/2"""
    x = grid(-0.3475, 0.3475)
    return fit(x, (np.expm1(x) - x) / x**2, x**2 / np.exp(x), degree)


def log_tail(degree=7):
    """(log(1+f) - f + f^2/2) / f^3 for 2/3 <= 1+f <= 4/3"""
    x = grid(-1 / 3 - 1e-4, 1 / 3 + 1e-4, 4e-3)
    return fit(x, (np.log1p(x) - x + x**2 / 2) / x**3, np.abs(x**3 / np.log1p(x)), degree)


def sin_tail(degree=2):
    """(sin(r) - r) / r^3 in r^2, |r| <= pi/4"""
    x = grid(0.02, 0.7856)
    return fit(x**2, (np.sin(x) - x) / x**3, x**3 / np.sin(x), degree)


def cos_tail(degree=2):
    """(cos(r) - 1 + r^2/2) / r^4 in r^2, |r| <= pi/4"""
    x = grid(0.05, 0.7856)
    return fit(x**2, (np.cos(x) - 1 + x**2 / 2) / x**4, x**4 / np.cos(x), degree)


def erf_small(degree=5, edge=0.875):
    """erf(x) / x - 1 in x^2, |x| <= edge"""
    x = grid(0, edge)
    return fit(x**2, each(math.erf, x) / x - 1, x / each(math.erf, x), degree)


def erf_large(degree=6, edge=0.875):
    """log2(erfc(x)) for edge <= x <= 4, weighted by what it does to erf"""
    x = grid(edge, 4.0)
    erfc = each(math.erfc, x)
    return fit(x, np.log2(erfc), erfc * L(math.log(2)) / each(math.erf, x), degree)


def normal_tail(degree=9):
    """Phi(-t) exp(t^2/2) in (t-2)/(t+3), 0 <= t <= 14.3; Phi is the normal distribution function"""
    t = grid(0, 14.3)
    q = each(lambda v: math.erfc(v / math.sqrt(2)), t) * np.exp(t**2 / 2) / 2
    return fit((t - 2) / (t + 3), q, 1 / q, degree)


def asin_tail(degree=4):
    """(asin(x) - x) / x^3 in x^2, |x| <= 1/2"""
    x = grid(0, 0.5001, 0.02)
    return fit(x**2, (np.arcsin(x) - x) / x**3, x**3 / np.arcsin(x), degree)


def atan_tail(degree=7):
    """(atan(x) - x) / x^3 in x^2, |x| <= 1"""
    x = grid(0, 1.0001, 0.02)
    return fit(x**2, (np.arctan(x) - x) / x**3, x**3 / np.arctan(x), degree)


def log2_double(degree=5):
    """log2((1+s)/(1-s)) / s in s^2, |s| <= 1/5, in double"""
    s = grid(0, 0.2001)
    target = (np.log1p(s) - np.log1p(-s)) / np.log(L(2)) / s
    return fit(s**2, target, 1 / target, degree, np.float64)


def exp2_tail(degree=5):
    """(2^t - 1) / t, |t| <= 1/2"""
    t = grid(-0.5000001, 0.5000001)
    return fit(t, (np.exp2(t) - 1) / t, np.abs(t) / np.exp2(t), degree)


def exp2_double(degree=7):
    """2^t, |t| <= 1/2, in double"""
    t = grid(-0.5001, 0.5001, 0)
    return fit(t, np.exp2(t), 1 / np.exp2(t), degree, np.float64)


def pieces(f, square, line, degree=6):
    """Columns of f in pieces, where square t^2 + line t rounds to 0 … 15: each piece's middle, then a polynomial in the
    distance from it, highest power first."""
    at = lambda y: (math.sqrt(line * line + 4 * square * max(y, 0)) - line) / (2 * square)
    columns, worst = [], 0
    for i in range(16):
        low, high = at(i - 0.5), at(i + 0.5)
        middle = np.float32((low + high) / 2)
        t = grid(low, high, 0, 401)
        target = each(f, t)
        c, error = fit(t - L(middle), target, 1 / target, degree)
        columns.append([middle] + c[::-1])
        worst = max(worst, error)
    return np.array(columns).T, worst


def gelu_pieces():
    """Phi(-t), 0 <= t < 5.5"""
    return pieces(lambda t: math.erfc(t / math.sqrt(2)) / 2, 0.375, 0.75)


def gelu_tanh_pieces():
    """1 / (1 + exp(2 sqrt(2/pi) (t + 0.044715 t^3))), 0 <= t < 5"""
    return pieces(lambda t: 1 / (1 + math.exp(2 * math.sqrt(2 / math.pi) * (t + 0.044715 * t**3))), 0.42, 1)


ALL = [exp_tail, log_tail, sin_tail, cos_tail, erf_small, erf_large, normal_tail, asin_tail, atan_tail, log2_double, exp2_tail, exp2_double]
PIECES = [gelu_pieces, gelu_tanh_pieces]


def print_exp_parts(n=128):
    """2^(i / n) as doubles, and what their rounding leaves."""
    decimal.getcontext().prec = 60
    exact = [(decimal.Decimal(2).ln() * i / n).exp() for i in range(n)]
    print(", ".join(float(v).hex() for v in exact))
    print(", ".join(float(v - decimal.Decimal(float(v))).hex() for v in exact))


if __name__ == "__main__":
    if "exp_parts" in sys.argv[1:]:
        print_exp_parts()
    for f in ALL:
        if len(sys.argv) == 1 or f.__name__ in sys.argv[1:]:
            coefficients, error = f()
            print(f"{f.__name__}: {f.__doc__}\n  error {error:.2e}")
            for k, c in enumerate(coefficients):
                print(f"  {k:2d} {float(c):+.17e}  {float(c).hex()}")
    for f in PIECES:
        if len(sys.argv) == 1 or f.__name__ in sys.argv[1:]:
            rows, error = f()
            print(f"{f.__name__}: {f.__doc__}\n  error {error:.2e}")
            for row in rows:
                print("  {" + ", ".join(float(c).hex().replace("0000000p", "p") + "f" for c in row) + "},")
