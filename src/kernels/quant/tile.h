/* The micro-kernels of integer products: a tile of M rows by NV panels, summed in registers. Where bytes are
 * summed by fours it is finished there; else sums are kept, those of some tiles below each other. */
#ifndef IFD_KERNELS_QUANT_TILE_H
#define IFD_KERNELS_QUANT_TILE_H

#include "kernels/quant/finish.h"
#include "kernels/quant/sizes.h"

enum { IFD_QUANT_VECTORS = 4, IFD_QUANT_MOST_ROWS = 14 };

typedef struct ifd_quant_tile {
  const uint8_t *a;
  int64_t a_rs;
  int64_t pieces, quads; /* of a row; quads of a piece */
  const int64_t *offsets;
  const int8_t *b;
  int64_t b_vs;          /* bytes between panels */
  ifd_quant_store store; /* of a tile that is finished */
  int64_t rows;          /* of kept ones: whole tiles, at most IFD_QUANT_KEPT_ROWS, */
  int32_t *sums;         /* and where they are kept: [panels][IFD_QUANT_KEPT_ROWS][16]; */
  const int32_t *add;    /* what they begin with */
} ifd_quant_tile;

typedef void (*ifd_quant_kernel)(const ifd_quant_tile *t);

/* Products of bytes added by fours in 32 bits; by pairs in 16 bits, which A's bytes must keep within; of
 * 16-bit words, which the bytes of A have become: of each quad the even ones and the odd ones; by pairs of
 * two quads in 16 bits. */
typedef enum ifd_quant_way {
  IFD_QUANT_QUADS,
  IFD_QUANT_PAIRS,
  IFD_QUANT_WORDS,
  IFD_QUANT_FOURS
} ifd_quant_way;

/* The kernel for a tile of so many rows and panels (1, 2 or 4); rows <= ifd_quant_rows of it. */
ifd_quant_kernel IFD_K(ifd_quant_find)(ifd_quant_way way, int64_t rows, int64_t vectors);
/* The most rows of a tile of so many panels. */
int64_t IFD_K(ifd_quant_rows)(ifd_quant_way way, int64_t vectors);

#endif
