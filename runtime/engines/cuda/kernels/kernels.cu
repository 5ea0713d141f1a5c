// The kernels from cameras to pictures, for all.cu.
#include "edge.cu"
#include "thermal.cu"
