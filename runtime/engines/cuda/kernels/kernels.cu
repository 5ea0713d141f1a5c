// The kernels from cameras to pictures, for all.cu.
#include "boxes.cu"
#include "edge.cu"
#include "shrink.cu"
#include "thermal.cu"
#include "unit.cu"
