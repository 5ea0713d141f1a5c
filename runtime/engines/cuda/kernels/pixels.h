// Features of the paper's network F in shared memory: halves, a pixel's channels side by side.
//
// Source: TDFusion, CVPR 2025 (arXiv 2412.03240), section 3.3; its blocks are Restormer's (arXiv 2111.09881).
#pragma once

#include "parameters.h"
#include "portable.h"

namespace tdfusion::restormer {

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr unsigned ALL = 0xffffffffu;

// What a block of F is made of. A merge has two streams of 16 channels side by side, and its queries are the other's.
struct Encoder {
    static constexpr int CHANNELS = 16, HIDDEN = 32, HEADS = 8;
    static constexpr bool NORMAL = true, APART = false;
};
struct Decoder {
    static constexpr int CHANNELS = 32, HIDDEN = 64, HEADS = 8;
    static constexpr bool NORMAL = true, APART = false;
};
struct Merge {
    static constexpr int CHANNELS = 32, HIDDEN = 128, HEADS = 16;
    static constexpr bool NORMAL = false, APART = true;  // no LayerNorm; values do not leave their stream
};

// One of two types: what the standard library has for it, a compiler that runs on the device does not have.
template <bool FIRST, class One, class Other>
struct Chosen {
    using Type = One;
};
template <class One, class Other>
struct Chosen<false, One, Other> {
    using Type = Other;
};

// Where a tile begins, and how large the picture is.
struct Place {
    int row, column, height, width;
    __device__ __forceinline__ bool holds(int y, int x) const { return y >= 0 && y < height && x >= 0 && x < width; }
};

// Where byte `byte` of a pixel of BYTES lies: neighbours swap their 16 bytes, so that the 8 rows of a matrix lie in
// 32 different banks.
template <int BYTES>
__device__ __forceinline__ int at(int pixel, int byte) {
    constexpr int PARTS = BYTES / 16, TOGETHER = 8 / PARTS;  // so many pixels fill all banks
    return pixel * BYTES + ((((byte >> 4) ^ (pixel / TOGETHER)) & (PARTS - 1)) << 4) + (byte & 15);
}

// The sum over so many neighbouring lanes, for all of them.
template <int LANES>
__device__ __forceinline__ float together(float value) {
#pragma unroll
    for (int step = 1; step < LANES; step *= 2) value += __shfl_xor_sync(ALL, value, step);
    return value;
}

constexpr float NORM_EPSILON = 1e-5f;

// Copies what a block needs once into its shared memory, 16 bytes at a time.
__device__ __forceinline__ void stage(unsigned char* target, const unsigned char* source, int bytes) {
    for (int index = threadIdx.x; index < bytes / 16; index += THREADS) {
        ITERATION();
        reinterpret_cast<uint4*>(target)[index] = LOAD(reinterpret_cast<const uint4*>(source) + index);
    }
}

// Features of a tile and AROUND pixels beside it, and the same behind LayerNorm's mean and deviation; its scale and
// shift are in the weights behind it. What lies outside of the picture is 0. Eight channels a lane.
template <int CHANNELS, bool NORMAL, int HEIGHT, int WIDTH>
__device__ __forceinline__ void load(const unsigned char* source, int pixel_bytes, const Place& place, int around,
                                     unsigned char* features, unsigned char* normal) {
    constexpr int LANES = CHANNELS / 8, BYTES = 2 * CHANNELS, PIXELS = HEIGHT * WIDTH;
    for (int index = threadIdx.x; index < (PIXELS * LANES + 31) / 32 * 32; index += THREADS) {
        ITERATION();
        const int pixel = min(index / LANES, PIXELS - 1), part = index % LANES;
        const int y = place.row - around + pixel / WIDTH, x = place.column - around + pixel % WIDTH;
        uint4 given = make_uint4(0, 0, 0, 0);
        if (place.holds(y, x)) {
            const long long number = static_cast<long long>(y) * place.width + x;
            given = LOAD(reinterpret_cast<const uint4*>(source + number * pixel_bytes) + part);
        }
        const bool mine = index < PIXELS * LANES;
        if (mine) *reinterpret_cast<uint4*>(features + at<BYTES>(pixel, 16 * part)) = given;
        if (NORMAL) {
            const unsigned word[4] = {given.x, given.y, given.z, given.w};
            float value[8], sum = 0.f, squares = 0.f;
#pragma unroll
            for (int channel = 0; channel < 8; ++channel) {
                value[channel] = channel % 2 ? high_half(word[channel / 2]) : low_half(word[channel / 2]);
                sum += value[channel];
            }
            const float mean = together<LANES>(sum) * (1.f / CHANNELS);
#pragma unroll
            for (int channel = 0; channel < 8; ++channel) {
                value[channel] -= mean;
                squares = fmaf(value[channel], value[channel], squares);
            }
            const float scale = 1.f / sqrtf(together<LANES>(squares) * (1.f / CHANNELS) + NORM_EPSILON);
            unsigned both[4];
#pragma unroll
            for (int pair = 0; pair < 4; ++pair)
                both[pair] = pack_halves(value[2 * pair] * scale, value[2 * pair + 1] * scale);
            if (mine)
                *reinterpret_cast<uint4*>(normal + at<BYTES>(pixel, 16 * part)) =
                    make_uint4(both[0], both[1], both[2], both[3]);
        }
    }
}

// The depth-wise 3x3 convolution of four channels for RUN pixels one below the other. `corner` is the pixel above and
// left of the first one, in features WIDTH pixels wide; weights are TAP_BYTES apart from tap to tap.
template <int RUN, int BYTES, int WIDTH, int TAP_BYTES>
__device__ __forceinline__ void depthwise(float (&sum)[RUN][4], const unsigned char* features, int corner, int byte,
                                          const unsigned char* weights) {
#pragma unroll
    for (int row = 0; row < RUN; ++row)
#pragma unroll
        for (int channel = 0; channel < 4; ++channel) sum[row][channel] = 0.f;
#pragma unroll
    for (int column = 0; column < 3; ++column) {
        float weight[3][4];
#pragma unroll
        for (int row = 0; row < 3; ++row) {
            const uint2 packed = *reinterpret_cast<const uint2*>(weights + (3 * row + column) * TAP_BYTES);
            weight[row][0] = low_half(packed.x), weight[row][1] = high_half(packed.x);
            weight[row][2] = low_half(packed.y), weight[row][3] = high_half(packed.y);
        }
#pragma unroll
        for (int row = 0; row < RUN + 2; ++row) {
            const uint2 packed =
                *reinterpret_cast<const uint2*>(features + at<BYTES>(corner + row * WIDTH + column, byte));
            const float value[4] = {low_half(packed.x), high_half(packed.x), low_half(packed.y), high_half(packed.y)};
#pragma unroll
            for (int tap = 0; tap < 3; ++tap) {
                if (row - tap < 0 || row - tap >= RUN) continue;
#pragma unroll
                for (int channel = 0; channel < 4; ++channel)
                    sum[row - tap][channel] = fmaf(weight[tap][channel], value[channel], sum[row - tap][channel]);
            }
        }
    }
}

}  // namespace tdfusion::restormer
