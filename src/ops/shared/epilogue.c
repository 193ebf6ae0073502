#include "ops/shared/epilogue.h"

static ifd_k_act act_of(const ifd_node *node, const char *attr) {
  int i = 0;
  while (i < IFD_K_N_ACTS && !ifd_node_string_is(node, attr, "None", ifd_k_act_name((ifd_k_act)i))) i++;
  return i < IFD_K_N_ACTS ? (ifd_k_act)i : IFD_K_ACT_NONE;
}

ifd_k_epilogue ifd_epilogue_act(const ifd_node *node, const char *activation, const char *parameters,
                                const char *rounding) {
  ifd_k_epilogue e = {.scale = 1, .act = act_of(node, activation), .rounding = act_of(node, rounding)};
  const float *p;
  int n = ifd_node_floats(node, parameters, &p);
  for (int i = 0; i < n && i < 2; i++) e.p[i] = p[i];
  return e;
}

ifd_k_epilogue ifd_epilogue_of(const ifd_node *node) {
  static const char *const joins[] = {[IFD_K_JOIN_NONE] = "None",
                                      [IFD_K_JOIN_ADD] = "AddAct",
                                      [IFD_K_JOIN_ADD_ACT] = "ActAdd",
                                      [IFD_K_JOIN_MUL_ACT] = "ActMul"};
  ifd_k_epilogue e = ifd_epilogue_act(node, "activation", "activation_p", "rounding");
  e.rounds_sums = ifd_node_int(node, "rounds_sums", 0);
  for (size_t i = 0; i < sizeof joins / sizeof *joins; i++)
    if (ifd_node_string_is(node, "join", "None", joins[i])) e.join = (ifd_k_join)i;
  return e;
}
