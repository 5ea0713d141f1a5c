// Products of pixels and a matrix of weights: tensor cores (SM 80 and up), or plain arithmetic in float32 on halves.
//
// Either way a lane gets, of one pixel, the outputs 2t and 2t+1 of every eight, where t is its number among four; the
// four lanes of a pixel stand side by side. Weights are B fragments: step, eight outputs, lane, two words.
#pragma once

#include "pixels.h"

namespace tdfusion::restormer {

constexpr int SLOT_BYTES = 32 * 8;  // of 16 inputs and 8 outputs

// All inputs count for all outputs.
template <int TILES_, int STEPS_>
struct Dense {
    static constexpr int TILES = TILES_, STEPS = STEPS_, BYTES = TILES * STEPS * SLOT_BYTES;
    __device__ static constexpr bool uses(int, int) { return true; }
    __device__ static constexpr int slot(int tile, int step) { return step * TILES + tile; }
};

// Sixteen inputs count for as many outputs, the next sixteen for the next.
template <int TILES_, int STEPS_>
struct Diagonal {
    static constexpr int TILES = TILES_, STEPS = STEPS_, BYTES = TILES * SLOT_BYTES;
    __device__ static constexpr bool uses(int tile, int step) { return tile / 2 == step; }
    __device__ static constexpr int slot(int tile, int) { return tile; }
};

#if TENSOR_CORES

template <class Matrix, class Row>
__device__ __forceinline__ void add_products(float (&sum)[Matrix::TILES][4], int pixel, const Row& row,
                                             const unsigned char* weights) {
    const int lane = threadIdx.x & 31;
    const uint2* packed = reinterpret_cast<const uint2*>(weights) + lane;
#pragma unroll
    for (int step = 0; step < Matrix::STEPS; ++step) {
        unsigned a[4];
        load_matrices(a, row(pixel, step, lane >> 4));
#pragma unroll
        for (int tile = 0; tile < Matrix::TILES; ++tile) {
            if (!Matrix::uses(tile, step)) continue;
            const uint2 two = packed[Matrix::slot(tile, step) * 32];
            multiply_16x8x16(sum[tile], a, two.x, two.y);
        }
    }
}

template <int TILES, class Then>
__device__ __forceinline__ void hand_over(const float (&sum)[TILES][4], int first, int pixels, const Then& then) {
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float value[TILES][2];
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
            value[tile][0] = sum[tile][2 * half];
            value[tile][1] = sum[tile][2 * half + 1];
        }
        const int pixel = first + lane / 4 + 8 * half;
        then(min(pixel, pixels - 1), pixel < pixels, lane & 3, value);
    }
}

// For each of PIXELS, then(pixel, whether it is one, t, outputs); all lanes of a warp call it together. row(pixel,
// step, half) is where eight inputs lie.
template <class Matrix, int PIXELS, class Row, class Then>
__device__ __forceinline__ void multiply(const unsigned char* weights, const Row& row, const Then& then) {
    for (int first = threadIdx.x / 32 * 16; first < PIXELS; first += WARPS * 16) {
        float sum[Matrix::TILES][4] = {};
        add_products<Matrix>(sum, min(first + static_cast<int>(threadIdx.x & 15), PIXELS - 1), row, weights);
        hand_over<Matrix::TILES>(sum, first, PIXELS, then);
    }
}

// Sums over several products with PIXELS pixels.
template <class Matrix, int PIXELS>
struct Sums {
    static constexpr int TIMES = (PIXELS / 16 + WARPS - 1) / WARPS;
    float sum[TIMES][Matrix::TILES][4] = {};

    template <class Row>
    __device__ __forceinline__ void add(const unsigned char* weights, const Row& row) {
#pragma unroll
        for (int time = 0; time < TIMES; ++time) {
            const int first = (time * WARPS + static_cast<int>(threadIdx.x / 32)) * 16;
            if (first < PIXELS) add_products<Matrix>(sum[time], first + (threadIdx.x & 15), row, weights);
        }
    }

    template <class Then>
    __device__ __forceinline__ void finish(const Then& then) const {
#pragma unroll
        for (int time = 0; time < TIMES; ++time) {
            const int first = (time * WARPS + static_cast<int>(threadIdx.x / 32)) * 16;
            if (first < PIXELS) hand_over<Matrix::TILES>(sum[time], first, PIXELS, then);
        }
    }
};

#else

template <class Matrix, class Row>
__device__ __forceinline__ void add_products(float (&sum)[Matrix::TILES][2], int pixel, int t, const Row& row,
                                             const unsigned char* weights) {
#pragma unroll 1
    for (int eight = 0; eight < 2 * Matrix::STEPS; ++eight) {
        const int step = eight / 2, half = eight % 2;
        const uint4 given = *reinterpret_cast<const uint4*>(row(pixel, step, half));
        const unsigned word[4] = {given.x, given.y, given.z, given.w};
#pragma unroll
        for (int tile = 0; tile < Matrix::TILES; ++tile) {
            if (!Matrix::uses(tile, step)) continue;
            const unsigned* packed = reinterpret_cast<const unsigned*>(weights) + Matrix::slot(tile, step) * 64 + half;
#pragma unroll
            for (int output = 0; output < 2; ++output)
#pragma unroll
                for (int pair = 0; pair < 4; ++pair) {
                    const unsigned both = packed[((2 * t + output) * 4 + pair) * 2];
                    sum[tile][output] = fmaf(low_half(both), low_half(word[pair]), sum[tile][output]);
                    sum[tile][output] = fmaf(high_half(both), high_half(word[pair]), sum[tile][output]);
                }
        }
    }
}

template <class Matrix, int PIXELS, class Row, class Then>
__device__ __forceinline__ void multiply(const unsigned char* weights, const Row& row, const Then& then) {
    for (int index = threadIdx.x; index < (4 * PIXELS + 31) / 32 * 32; index += THREADS) {
        const int pixel = min(index / 4, PIXELS - 1), t = index % 4;
        float sum[Matrix::TILES][2] = {};
        add_products<Matrix>(sum, pixel, t, row, weights);
        then(pixel, index < 4 * PIXELS, t, sum);
    }
}

template <class Matrix, int PIXELS>
struct Sums {
    static constexpr int TIMES = (4 * PIXELS + THREADS - 1) / THREADS;
    float sum[TIMES][Matrix::TILES][2] = {};

    template <class Row>
    __device__ __forceinline__ void add(const unsigned char* weights, const Row& row) {
#pragma unroll
        for (int time = 0; time < TIMES; ++time) {
            const int index = time * THREADS + static_cast<int>(threadIdx.x);
            if (index < 4 * PIXELS) add_products<Matrix>(sum[time], index / 4, index % 4, row, weights);
        }
    }

    template <class Then>
    __device__ __forceinline__ void finish(const Then& then) const {
#pragma unroll
        for (int time = 0; time < TIMES; ++time) {
            const int index = time * THREADS + static_cast<int>(threadIdx.x);
            if (index < 4 * PIXELS) then(index / 4, true, index % 4, sum[time]);
        }
    }
};

#endif

}  // namespace tdfusion::restormer
