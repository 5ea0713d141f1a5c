// All kernels, for one fat binary.
#include "kernels.cu"
#include "restormer.cu"
