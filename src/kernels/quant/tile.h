/* The micro-kernels of integer products: a tile of M rows by NV panels, summed in registers and finished
 * there. */
#ifndef IFD_KERNELS_QUANT_TILE_H
#define IFD_KERNELS_QUANT_TILE_H

#include "kernels/quant/finish.h"

enum { IFD_QUANT_VECTORS = 4, IFD_QUANT_MOST_ROWS = 14 };

typedef struct ifd_quant_tile {
  const uint8_t *a;
  int64_t a_rs;
  int64_t pieces, quads; /* of a row; quads of a piece */
  const int64_t *offsets;
  const int8_t *b;
  int64_t b_vs; /* bytes between panels */
  ifd_quant_store store;
} ifd_quant_tile;

typedef void (*ifd_quant_kernel)(const ifd_quant_tile *t);

/* The kernel for a tile of so many rows and panels (1, 2 or 4); rows <= ifd_quant_rows of it. */
ifd_quant_kernel IFD_K(ifd_quant_find)(ifd_dot dot, int64_t rows, int64_t vectors);
/* The most rows of a tile of so many panels. */
int64_t IFD_K(ifd_quant_rows)(ifd_dot dot, int64_t vectors);

#endif
