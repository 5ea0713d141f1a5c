// All kernels, for one fat binary.
#include "edge.cu"
#include "restormer.cu"
#include "thermal.cu"
