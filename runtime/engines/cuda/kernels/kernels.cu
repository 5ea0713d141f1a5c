// All kernels, for one fat binary.
#include "boxes.cu"
#include "edge.cu"
#include "shrink.cu"
#include "thermal.cu"
#include "unit.cu"
