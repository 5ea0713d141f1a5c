// Which of many values has a rank, by counting them in bins.
#pragma once

#include "portable.h"

namespace tdfusion {

// The bin of 256 that holds a rank, and the rank within it; a warp works together, and all its lanes get the answer.
__device__ __forceinline__ void find(const unsigned* bins, unsigned rank, int& bin, unsigned& within) {
    const int lane = threadIdx.x & 31;
    unsigned own = 0;
    for (int index = 0; index < 8; ++index) own += bins[lane * 8 + index];
    unsigned upto = own;
    for (int step = 1; step < 32; step *= 2) {
        const unsigned other = __shfl_up_sync(0xffffffffu, upto, step);
        if (lane >= step) upto += other;
    }
    unsigned below = upto - own;
    int found = -1;
    unsigned left = 0;
    for (int index = 0; index < 8; ++index) {
        const unsigned next = below + bins[lane * 8 + index];
        if (below <= rank && rank < next) {
            found = lane * 8 + index;
            left = rank - below;
        }
        below = next;
    }
    const int holder = __ffs(__ballot_sync(0xffffffffu, found >= 0)) - 1;
    bin = __shfl_sync(0xffffffffu, found, holder);
    within = __shfl_sync(0xffffffffu, left, holder);
}

}  // namespace tdfusion
