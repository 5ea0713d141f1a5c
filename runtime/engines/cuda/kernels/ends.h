// The two ends of the paper's F: both stems, and the two convolutions behind its blocks.
#pragma once

#include "product.h"

namespace tdfusion::restormer {

constexpr int STEM_CHANNELS = 16, STEM_FLOATS = 9 * STEM_CHANNELS;  // of a stream

__device__ __forceinline__ void stem(const StemParameters& p) {
    DYNAMIC_SHARED(shared);
    float* weights = reinterpret_cast<float*>(shared);
    for (int index = threadIdx.x; index < 2 * STEM_FLOATS; index += THREADS) {
        ITERATION();
        weights[index] = LOAD(p.weights + index) * (1.f / 255.f);
    }
    __syncthreads();
    const long long pixels = static_cast<long long>(p.width) * p.height;
    // Two lanes a pixel, eight channels each.
    for (long long index = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x; index < 4 * pixels;
         index += static_cast<long long>(gridDim.x) * THREADS) {
        ITERATION();
        const int stream = index >= 2 * pixels, part = index % 2;
        const long long pixel = index / 2 - stream * pixels;
        const int y = static_cast<int>(pixel / p.width), x = static_cast<int>(pixel % p.width);
        const unsigned char* source = stream ? p.visible : p.infrared;
        const long long pitch = stream ? p.visible_pitch : p.infrared_pitch;
        float sum[8] = {};
#pragma unroll
        for (int tap = 0; tap < 9; ++tap) {
            const int row = y + tap / 3 - 1, column = x + tap % 3 - 1;
            if (row < 0 || row >= p.height || column < 0 || column >= p.width) continue;
            const float level = LOAD(source + row * pitch + column);
            const float* weight = weights + stream * STEM_FLOATS + tap * STEM_CHANNELS + 8 * part;
#pragma unroll
            for (int channel = 0; channel < 8; ++channel) sum[channel] = fmaf(weight[channel], level, sum[channel]);
        }
        STORE(reinterpret_cast<uint4*>(p.target) + index,
              make_uint4(pack_halves(sum[0], sum[1]), pack_halves(sum[2], sum[3]), pack_halves(sum[4], sum[5]),
                         pack_halves(sum[6], sum[7])));
    }
}

template <int HEIGHT_, int WIDTH_>
struct HeadTile {
    static constexpr int HEIGHT = HEIGHT_, WIDTH = WIDTH_;
    static constexpr int CHANNELS = 32, ROW = 2 * CHANNELS, NEAR_ROW = 32;
    static constexpr int NEAR_WIDTH = WIDTH + 2, NEAR = (HEIGHT + 2) * NEAR_WIDTH;
    static constexpr int ALL_HEIGHT = HEIGHT + 4, ALL_WIDTH = WIDTH + 4;
    using Matrix = Dense<2, 9 * CHANNELS / 16>;                // tap by tap
    static constexpr int LAST = Matrix::BYTES;                 // floats of the last convolution: tap, channel
    static constexpr int WEIGHT_BYTES = LAST + 4 * 9 * 16;
    static constexpr int FEATURES = WEIGHT_BYTES;
    static constexpr int ACTIVE = FEATURES + ALL_HEIGHT * ALL_WIDTH * ROW;
    static constexpr int BYTES = ACTIVE + NEAR * NEAR_ROW;
    static_assert(HEIGHT * WIDTH * 2 % 32 == 0, "all lanes of a warp have a pixel");
};

constexpr float SLOPE = 0.01f;  // of the leaky ReLU

template <class T>
__device__ __forceinline__ void first_convolution(const Place& place, unsigned char* shared) {
    multiply<typename T::Matrix, T::NEAR>(
        shared,
        [&](int pixel, int step, int half) {
            const int tap = step / 2, corner = pixel / T::NEAR_WIDTH * T::ALL_WIDTH + pixel % T::NEAR_WIDTH;
            return shared + T::FEATURES +
                   at<T::ROW>(corner + tap / 3 * T::ALL_WIDTH + tap % 3, 32 * (step % 2) + 16 * half);
        },
        [&](int pixel, bool mine, int t, const float(&value)[2][2]) {
            if (!mine) return;
            const bool there =
                place.holds(place.row - 1 + pixel / T::NEAR_WIDTH, place.column - 1 + pixel % T::NEAR_WIDTH);
#pragma unroll
            for (int part = 0; part < 2; ++part) {
                const float one = value[part][0], other = value[part][1];
                const unsigned both = pack_halves(fmaxf(one, SLOPE * one), fmaxf(other, SLOPE * other));
                *reinterpret_cast<unsigned*>(shared + T::ACTIVE + at<T::NEAR_ROW>(pixel, 16 * part + 4 * t)) =
                    there ? both : 0u;
            }
        });
}

// The last convolution and the sigmoid in float32, two lanes a pixel.
template <class T>
__device__ __forceinline__ void last_convolution(const HeadParameters& p, const Place& place,
                                                 const unsigned char* shared) {
    const float* weights = reinterpret_cast<const float*>(shared + T::LAST);
    for (int index = threadIdx.x; index < 2 * T::HEIGHT * T::WIDTH; index += THREADS) {
        ITERATION();
        const int pixel = index / 2, part = index % 2;
        const int corner = pixel / T::WIDTH * T::NEAR_WIDTH + pixel % T::WIDTH;
        float sum = 0.f;
#pragma unroll
        for (int tap = 0; tap < 9; ++tap) {
            const uint4 given = *reinterpret_cast<const uint4*>(
                shared + T::ACTIVE + at<T::NEAR_ROW>(corner + tap / 3 * T::NEAR_WIDTH + tap % 3, 16 * part));
            const unsigned word[4] = {given.x, given.y, given.z, given.w};
            const float* weight = weights + 16 * tap + 8 * part;
#pragma unroll
            for (int channel = 0; channel < 4; ++channel) {
                sum = fmaf(weight[2 * channel], low_half(word[channel]), sum);
                sum = fmaf(weight[2 * channel + 1], high_half(word[channel]), sum);
            }
        }
        sum = together<2>(sum);
        const int y = place.row + pixel / T::WIDTH, x = place.column + pixel % T::WIDTH;
        if (part == 0 && place.holds(y, x))
            STORE(p.luma + static_cast<long long>(y) * p.width + x, 1.f / (1.f + exponential(-sum)));
    }
}

template <int HEIGHT, int WIDTH>
__device__ __forceinline__ void head(const HeadParameters& p) {
    using T = HeadTile<HEIGHT, WIDTH>;
    DYNAMIC_SHARED(shared);
    stage(shared, p.weights, T::WEIGHT_BYTES);
    Place place = {0, 0, p.height, p.width};
    const int across = (p.width + WIDTH - 1) / WIDTH, tiles = across * ((p.height + HEIGHT - 1) / HEIGHT);
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        place.row = tile / across * HEIGHT;
        place.column = tile % across * WIDTH;
        load<T::CHANNELS, false, T::ALL_HEIGHT, T::ALL_WIDTH>(p.source, T::ROW, place, 2, shared + T::FEATURES, nullptr);
        __syncthreads();
        first_convolution<T>(place, shared);
        __syncthreads();
        last_convolution<T>(p, place, shared);
        // The next tile's features go where nobody reads any more; its first barrier is before `ACTIVE` is written.
    }
}

}  // namespace tdfusion::restormer
