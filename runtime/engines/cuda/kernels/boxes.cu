// A detector's proposals on the GPU: those whose score counts, in pixels of the picture, in the order of the detector.
//
// It is the first half of tdfusion_edge/detections.py, to the last bit, in one block: boxes are scaled and cut at the
// picture's edges, what lies outside is left out, and where there are too many the best stay, the earlier of two that
// are equal. A NaN is above no threshold; of scores that are none the CPU is told. What overlaps is compared there.
#include "parameters.h"
#include "portable.h"
#include "ranks.h"

namespace tdfusion {

constexpr int BOXES_THREADS = 512, BOXES_WARPS = BOXES_THREADS / 32;
// Of `found`: how many proposals count, the lowest and the highest score, how many are none at all; then of each
// proposal its box, its score and its place among all scores.
constexpr int FOUND_HEAD = 4, FOUND_ROW = 6;
constexpr unsigned SIGN = 0x80000000u, INFINITE = 0x7f800000u;

__device__ __forceinline__ unsigned bits_of(float value) { return __float_as_uint(value); }

// Between 0 and the edge; a NaN stays one, which fminf and fmaxf would lose.
__device__ __forceinline__ float cut(float value, float edge) {
    if (value != value) return value;
    const float above = value > 0.f ? value : 0.f;
    return above < edge ? above : edge;
}

struct Proposal {
    float side[4];
    float score;
    bool counts;
};

__device__ __forceinline__ Proposal proposal_at(const BoxesParameters& p, float threshold, int index) {
    Proposal found = {{0.f, 0.f, 0.f, 0.f}, LOAD_FRESH(p.scores + index), false};
    if (!(found.score > threshold)) return found;
    const float* box = p.boxes + 4ll * (index / p.classes);
    for (int side = 0; side < 4; ++side)
        found.side[side] = cut(LOAD_FRESH(box + side) * (side % 2 ? p.scale_y : p.scale_x),
                               side % 2 ? p.picture_height : p.picture_width);
    found.counts = !(found.side[2] <= found.side[0] || found.side[3] <= found.side[1]);
    return found;
}

struct BoxesShared {
    unsigned bins[256];
    unsigned sums[BOXES_WARPS];
    unsigned lowest, highest;  // scores in an order of unsigned numbers
    unsigned infinite;
    unsigned key, wanted_ties;
    int bin;
    unsigned within;
};

// Floats in an order of unsigned numbers.
__device__ __forceinline__ unsigned ordered(float value) {
    const unsigned bits = bits_of(value);
    return bits & SIGN ? ~bits : bits | SIGN;
}

__device__ __forceinline__ unsigned bits_from_ordered(unsigned key) { return key & SIGN ? key ^ SIGN : ~key; }

// How many before this thread in the block, and in all of it, of two counts in one word.
__device__ __forceinline__ unsigned before_in_block(BoxesShared& s, unsigned own, unsigned& total) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    unsigned upto = own;
    for (int step = 1; step < 32; step *= 2) {
        const unsigned other = __shfl_up_sync(0xffffffffu, upto, step);
        if (lane >= step) upto += other;
    }
    __syncthreads();  // the sums of the round before have been read
    if (lane == 31) s.sums[warp] = upto;
    __syncthreads();
    unsigned before = upto - own;
    total = 0;
    for (int other = 0; other < BOXES_WARPS; ++other) {
        if (other < warp) before += s.sums[other];
        total += s.sums[other];
    }
    return before;
}

__device__ __forceinline__ void store_proposal(const BoxesParameters& p, unsigned place, const Proposal& found, int index) {
    unsigned* row = p.found + FOUND_HEAD + FOUND_ROW * static_cast<long long>(place);
    for (int side = 0; side < 4; ++side) {
        ITERATION();
        STORE(row + side, bits_of(found.side[side]));
    }
    STORE(row + 4, bits_of(found.score));
    STORE(row + 5, static_cast<unsigned>(index));
}

// All proposals that count in their order, as far as there is room; gives their number.
__device__ __forceinline__ unsigned take_all(const BoxesParameters& p, BoxesShared& s, float threshold, int count) {
    unsigned taken = 0, total, infinite = 0, lowest = ~0u, highest = 0;
    for (int from = 0; from < count; from += BOXES_THREADS) {
        ITERATION();
        const int index = from + threadIdx.x;
        Proposal found = {{0.f, 0.f, 0.f, 0.f}, 0.f, false};
        if (index < count) {
            found = proposal_at(p, threshold, index);
            infinite += (bits_of(found.score) & INFINITE) == INFINITE;
            const unsigned key = ordered(found.score);
            lowest = key < lowest ? key : lowest;
            highest = key > highest ? key : highest;
        }
        const unsigned place = taken + before_in_block(s, found.counts, total);
        if (found.counts && place < static_cast<unsigned>(p.most)) store_proposal(p, place, found, index);
        taken += total;
    }
    const int lane = threadIdx.x & 31;
    for (int step = 1; step < 32; step *= 2) {
        const unsigned other_low = __shfl_sync(0xffffffffu, lowest, lane ^ step);
        const unsigned other_high = __shfl_sync(0xffffffffu, highest, lane ^ step);
        lowest = other_low < lowest ? other_low : lowest;
        highest = other_high > highest ? other_high : highest;
    }
    if (infinite) atomicAdd(&s.infinite, infinite);
    if (lane == 0) {
        atomicMin(&s.lowest, lowest);
        atomicMax(&s.highest, highest);
    }
    return taken;
}

// The score that the last of the best has, by its bits eight at a time: those above 0 are ordered as their bits are.
__device__ __forceinline__ void find_last(const BoxesParameters& p, BoxesShared& s, float threshold, int count, unsigned taken) {
    unsigned rank = taken - p.most, known = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (int bin = threadIdx.x; bin < 256; bin += BOXES_THREADS) s.bins[bin] = 0;
        __syncthreads();
        for (int index = threadIdx.x; index < count; index += BOXES_THREADS) {
            ITERATION();
            const Proposal found = proposal_at(p, threshold, index);
            const unsigned key = bits_of(found.score);
            const bool alike = shift == 24 || key >> (shift + 8) == known >> (shift + 8);
            if (found.counts && alike) atomicAdd(&s.bins[key >> shift & 255], 1u);
        }
        __syncthreads();
        if (threadIdx.x < 32) {
            int bin;
            unsigned within;
            find(s.bins, rank, bin, within);
            if (threadIdx.x == 0) {
                s.bin = bin;
                s.within = within;
                s.wanted_ties = s.bins[bin] - within;
            }
        }
        __syncthreads();
        known |= static_cast<unsigned>(s.bin) << shift;
        rank = s.within;
    }
    if (threadIdx.x == 0) s.key = known;
    __syncthreads();
}

// Only those above that score, and the first of those that have it.
__device__ __forceinline__ void take_best(const BoxesParameters& p, BoxesShared& s, float threshold, int count) {
    unsigned above = 0, ties = 0, total;
    for (int from = 0; from < count; from += BOXES_THREADS) {
        ITERATION();
        const int index = from + threadIdx.x;
        Proposal found = {{0.f, 0.f, 0.f, 0.f}, 0.f, false};
        if (index < count) found = proposal_at(p, threshold, index);
        const bool better = found.counts && bits_of(found.score) > s.key;
        const bool tie = found.counts && bits_of(found.score) == s.key;
        const unsigned before = before_in_block(s, better | tie << 16, total);
        const unsigned own_ties = ties + (before >> 16);
        const unsigned place = above + (before & 0xffffu) + (own_ties < s.wanted_ties ? own_ties : s.wanted_ties);
        if (better || (tie && own_ties < s.wanted_ties)) store_proposal(p, place, found, index);
        above += total & 0xffffu;
        ties += total >> 16;
    }
}

__device__ __forceinline__ void take_boxes(const BoxesParameters& p) {
    DYNAMIC_SHARED(memory);
    BoxesShared& s = *reinterpret_cast<BoxesShared*>(memory);
    const float threshold = LOAD_FRESH(p.threshold);
    const int count = p.anchors * p.classes;
    if (threadIdx.x == 0) {
        s.lowest = ~0u;
        s.highest = 0;
        s.infinite = 0;
    }
    __syncthreads();
    const unsigned taken = take_all(p, s, threshold, count);
    __syncthreads();
    if (taken > static_cast<unsigned>(p.most)) {
        find_last(p, s, threshold, count, taken);
        take_best(p, s, threshold, count);
    }
    if (threadIdx.x == 0) {
        STORE(p.found, taken);
        STORE(p.found + 1, bits_from_ordered(s.lowest));
        STORE(p.found + 2, bits_from_ordered(s.highest));
        STORE(p.found + 3, s.infinite);
    }
}

}  // namespace tdfusion

extern "C" __global__ void __launch_bounds__(tdfusion::BOXES_THREADS) boxes(const tdfusion::BoxesParameters p) {
    tdfusion::take_boxes(p);
}
