/* Functions in sixteen pieces, of |x| up to `end`: where square t^2 + line t rounds to 0, 1 … 15, a
 * polynomial of degree 6 in the distance from the piece's middle. Coefficients are this project's own minimax
 * fits (tools/minimax.py prints them), right to a few units in the eighth digit. */
#ifndef IFD_KERNELS_VMATH_PIECES_H
#define IFD_KERNELS_VMATH_PIECES_H

#include "kernels/simd.h"

typedef struct ifd_pieces {
  float end, square, line;
  float rows[8][16]; /* middles, then coefficients, the highest power's first */
} ifd_pieces;

/* The polynomials of t's pieces; `low`: all are among the first eight. */
IFD_INLINE v16 v16_pieces(const bool low, const ifd_pieces *p, v16 t, i16 piece) {
#define ROW(k) (low ? v16_permute_low(v16_load(p->rows[k]), piece) : v16_permute(v16_load(p->rows[k]), piece))
  const v16 d = v16_sub(t, ROW(0));
  v16 v = ROW(1);
  for (int k = 2; k < 8; k++) v = v16_fma(v, d, ROW(k));
#undef ROW
  return v;
}

/* Of 0 <= t <= end; NaN of NaN, and anything beyond. */
IFD_INLINE v16 v16_piece(const ifd_pieces *p, v16 t) {
  const float to_integer = 0x1.8p23f; /* rounds what it is added to, whose last bits are then the sum's */
  const v16 sum = v16_fma(t, v16_fma(t, v16_set1(p->square), v16_set1(p->line)), v16_set1(to_integer));
#if defined(IFD_ISA_avx2) /* one register has eight of a row: numbers near 0, as most are, need no others */
  if (__builtin_expect(!m16_any(v16_le(v16_set1(to_integer + 8), sum)), 1))
    return v16_pieces(true, p, t, v16_bits(sum));
#endif
  return v16_pieces(false, p, t, v16_bits(sum));
}

/* Phi(-t), Phi the normal distribution function */
static const ifd_pieces ifd_gelu_pieces = {
    5.5f,
    0.375f,
    0.75f,
    {
        {0x1.0e17cap-2f, 0x1.c37ad8p-1f, 0x1.80a1f6p+0f, 0x1.fde0dep+0f, 0x1.347c8cp+1f, 0x1.641318p+1f,
         0x1.8f59d6p+1f, 0x1.b75104p+1f, 0x1.dca274p+1f, 0x1.ffc5b2p+1f, 0x1.10895ap+2f, 0x1.20663ap+2f,
         0x1.2f93b2p+2f, 0x1.3e26bap+2f, 0x1.4c306cp+2f, 0x1.59beeap+2f},
        {0x1.07b24ap-9f, 0x1.4520b8p-9f, -0x1.62fa18p-11f, -0x1.5e72a6p-10f, -0x1.5f7814p-11f,
         -0x1.3e7578p-14f, 0x1.5a286ep-13f, 0x1.8a2622p-13f, 0x1.1ee53ap-13f, 0x1.581f70p-14f,
         0x1.6f77c0p-15f, 0x1.6a2b4cp-16f, 0x1.503ddep-17f, 0x1.29ea0ap-18f, 0x1.fc4ad0p-20f,
         0x1.a42f5ep-21f},
        {-0x1.0ca0a8p-7f, 0x1.2876dep-9f, 0x1.7b8ab6p-8f, 0x1.30df34p-9f, -0x1.5578cap-12f, -0x1.28f7f8p-10f,
         -0x1.075e62p-10f, -0x1.572bd8p-11f, -0x1.7e0354p-12f, -0x1.80b76cp-13f, -0x1.68e572p-14f,
         -0x1.40de8ep-15f, -0x1.117586p-16f, -0x1.c255c6p-18f, -0x1.68516ep-19f, -0x1.195be4p-20f},
        {-0x1.96a91cp-7f, -0x1.698d1ap-6f, -0x1.88f672p-8f, 0x1.2099a6p-8f, 0x1.93f4a0p-8f, 0x1.2bb8b8p-8f,
         0x1.604d48p-9f, 0x1.6b61a8p-10f, 0x1.57da66p-11f, 0x1.31c63ep-12f, 0x1.0354f8p-13f, 0x1.a7ab14p-15f,
         0x1.4f9cbap-16f, 0x1.03233cp-17f, 0x1.878f34p-19f, 0x1.2252a4p-20f},
        {0x1.e96f9ep-5f, 0x1.48c74ep-7f, -0x1.bb066ep-6f, -0x1.bcb742p-6f, -0x1.1f05eep-6f, -0x1.327522p-7f,
         -0x1.24ebccp-8f, -0x1.03fb16p-9f, -0x1.b552fep-11f, -0x1.60fd88p-12f, -0x1.13c0d2p-13f,
         -0x1.a37762p-15f, -0x1.37fcb8p-16f, -0x1.c75ad8p-18f, -0x1.46e434p-19f, -0x1.cea876p-21f},
        {0x1.a0450cp-5f, 0x1.e861ccp-4f, 0x1.8d0eaep-4f, 0x1.bfceb0p-5f, 0x1.af9440p-6f, 0x1.7b87e8p-7f,
         0x1.39e884p-8f, 0x1.f0a738p-10f, 0x1.7bb7fep-11f, 0x1.1a8a66p-12f, 0x1.9b382cp-14f, 0x1.25bb26p-15f,
         0x1.9d0282p-17f, 0x1.1e6702p-18f, 0x1.887664p-20f, 0x1.0a0de0p-21f},
        {-0x1.8a8d00p-2f, -0x1.14ed1cp-2f, -0x1.084512p-3f, -0x1.c1abb4p-5f, -0x1.66262ap-6f, -0x1.10dd1ep-7f,
         -0x1.9274a2p-9f, -0x1.216960p-10f, -0x1.97e4b2p-12f, -0x1.1aaaa6p-13f, -0x1.8244bcp-15f,
         -0x1.04bbaap-16f, -0x1.5c487ep-18f, -0x1.cce84cp-20f, -0x1.2e7338p-21f, -0x1.89fd3cp-23f},
        {0x1.957c28p-2f, 0x1.82f4c4p-3f, 0x1.10556cp-4f, 0x1.7c2158p-6f, 0x1.055464p-7f, 0x1.623db6p-9f,
         0x1.da344ep-11f, 0x1.39f0d4p-12f, 0x1.9bb58cp-14f, 0x1.0baeacp-15f, 0x1.5975f8p-17f, 0x1.bad42cp-19f,
         0x1.1a1662p-20f, 0x1.65644ap-22f, 0x1.c27ff6p-24f, 0x1.1a9bf0p-25f},
    },
};

/* 1 / (1 + exp(2 sqrt(2/pi) (t + 0.044715 t^3))) */
static const ifd_pieces ifd_gelu_tanh_pieces = {
    5,
    0.42f,
    1,
    {
        {0x1.b28c8cp-3f, 0x1.77a8ccp-1f, 0x1.489cb6p+0f, 0x1.ba6960p+0f, 0x1.0e6100p+1f, 0x1.3a57bap+1f,
         0x1.627a98p+1f, 0x1.87a55cp+1f, 0x1.aa6be6p+1f, 0x1.cb376ap+1f, 0x1.ea55fep+1f, 0x1.0401bcp+2f,
         0x1.123776p+2f, 0x1.1fdf18p+2f, 0x1.2d081cp+2f, 0x1.39bf5ap+2f},
        {0x1.cbb3b8p-10f, 0x1.93f97ep-9f, 0x1.9e02aap-13f, -0x1.4e01a2p-10f, -0x1.1ee83ep-10f,
         -0x1.1c7886p-11f, -0x1.049dcap-13f, 0x1.9818dap-14f, 0x1.6b36fcp-13f, 0x1.5bedb2p-13f,
         0x1.05cc92p-13f, 0x1.512abap-14f, 0x1.8104d0p-15f, 0x1.8d83e4p-16f, 0x1.77caeep-17f,
         0x1.483b6ap-18f},
        {-0x1.260b00p-7f, 0x1.831ee8p-18f, 0x1.8c998cp-8f, 0x1.14f068p-8f, 0x1.58a542p-10f, -0x1.a487eep-12f,
         -0x1.0a8286p-10f, -0x1.0c79b2p-10f, -0x1.9ef3a4p-11f, -0x1.1276b2p-11f, -0x1.431960p-12f,
         -0x1.590560p-13f, -0x1.52235ep-14f, -0x1.32a9f8p-15f, -0x1.02fcc6p-16f, -0x1.9966c0p-18f},
        {-0x1.55435ap-7f, -0x1.7ac730p-6f, -0x1.91d0c4p-7f, 0x1.daa012p-19f, 0x1.581cbap-8f, 0x1.7f6a2ep-8f,
         0x1.2eeef4p-8f, 0x1.94ba9ap-9f, 0x1.e1fe06p-10f, 0x1.058700p-10f, 0x1.059f7cp-11f, 0x1.e6165ep-13f,
         0x1.a59e52p-14f, 0x1.56edf8p-15f, 0x1.068288p-16f, 0x1.7b6aaep-18f},
        {0x1.fe7574p-5f, 0x1.79eff2p-6f, -0x1.36b6d2p-6f, -0x1.de98d4p-6f, -0x1.907ee4p-6f, -0x1.0e03c2p-6f,
         -0x1.418cdcp-7f, -0x1.5da674p-8f, -0x1.60431cp-9f, -0x1.4b4776p-10f, -0x1.242e26p-11f,
         -0x1.e507b2p-13f, -0x1.7bf2dcp-14f, -0x1.199a1ap-15f, -0x1.8bd1d8p-17f, -0x1.084ffap-18f},
        {0x1.548af6p-5f, 0x1.ca3bb2p-4f, 0x1.ca0890p-4f, 0x1.3c660ap-4f, 0x1.752f30p-5f, 0x1.8fd48ep-6f,
         0x1.8e729ap-7f, 0x1.7508dep-8f, 0x1.49a4f8p-9f, 0x1.13ae4ep-10f, 0x1.b532bep-12f, 0x1.493ad8p-13f,
         0x1.d79acep-15f, 0x1.41b77ap-16f, 0x1.a2a26cp-18f, 0x1.041cd4p-19f},
        {-0x1.8f6166p-2f, -0x1.37d93ap-2f, -0x1.668b78p-3f, -0x1.70bd6cp-4f, -0x1.61fce0p-5f, -0x1.420e48p-6f,
         -0x1.173348p-7f, -0x1.ce1f70p-9f, -0x1.6d4bbap-10f, -0x1.13e452p-11f, -0x1.8e505cp-13f,
         -0x1.12f448p-14f, -0x1.6b3904p-16f, -0x1.cb7364p-18f, -0x1.167462p-19f, -0x1.43ae0ep-21f},
        {0x1.a9f81cp-2f, 0x1.da6b96p-3f, 0x1.98d43ep-4f, 0x1.58700cp-5f, 0x1.1a67d0p-6f, 0x1.c15448p-8f,
         0x1.59de86p-9f, 0x1.00ffa8p-10f, 0x1.700b2ap-12f, 0x1.fb54bcp-14f, 0x1.505998p-15f, 0x1.ace140p-17f,
         0x1.06f098p-18f, 0x1.3616b8p-20f, 0x1.5fd21ap-22f, 0x1.802c4cp-24f},
    },
};

#endif
