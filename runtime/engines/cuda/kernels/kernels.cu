// All kernels, for one fat binary.
#include "edge.cu"
#include "thermal.cu"
