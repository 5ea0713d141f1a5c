// The network of `edge`: stem, two layers and head, for a tile in shared memory.
//
// Two ways with one layout of weights: tensor cores (SM 80 and up), and plain arithmetic in float32 on halves.
// Either rounds features to halves once a layer and adds up in float32. What lies outside of the picture is 0 behind
// every layer, as padding of a whole picture makes it.
#pragma once

#include "tile.h"

namespace tdfusion {

// A weight of a 16x16 product as packed: for output `to` and input `from`, at the fragments of one tap.
__device__ __forceinline__ float packed_weight(const unsigned char* tap, int to, int from) {
    const int lane = (to & 7) * 4 + (from & 7) / 2, word = from / 8;
    const unsigned both = reinterpret_cast<const unsigned*>(tap)[((to >> 3) * 32 + lane) * 2 + word];
    return from & 1 ? high_half(both) : low_half(both);
}

__device__ __forceinline__ const float* biases(const unsigned char* shared) {
    return reinterpret_cast<const float*>(shared + BIASES);
}

__device__ __forceinline__ float gain_of(const unsigned char* shared, float sum) {
    return biases(shared)[3 * CHANNELS + 2] / (1.f + exponential(-sum));
}

template <class T>
__device__ __forceinline__ float2* gain_at(unsigned char* shared, int pixel) {
    return reinterpret_cast<float2*>(shared + T::GAINS) + pixel;
}

#if TENSOR_CORES

// Accumulators of 16 pixels become features, behind ReLU; rows `g` and `g + 8` of the product are this lane's.
template <int HEIGHT, int WIDTH>
__device__ __forceinline__ void store_features(unsigned char* features, const Place& place, int above, int first,
                                               const float (&sum)[2][4]) {
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int pixel = first + lane / 4 + 8 * half;
        if (pixel >= HEIGHT * WIDTH) continue;
        const bool there = place.holds(place.row - above + pixel / WIDTH, place.column - above + pixel % WIDTH);
#pragma unroll
        for (int part = 0; part < 2; ++part) {
            const unsigned both = pack_halves(fmaxf(sum[part][2 * half], 0.f), fmaxf(sum[part][2 * half + 1], 0.f));
            unsigned char* at = features + feature_offset(pixel, part) + (lane & 3) * 4;
            *reinterpret_cast<unsigned*>(at) = there ? both : 0u;
        }
    }
}

__device__ __forceinline__ void start_sums(float (&sum)[2][4], const float* bias) {
    const int column = (threadIdx.x & 3) * 2;
#pragma unroll
    for (int part = 0; part < 2; ++part)
#pragma unroll
        for (int index = 0; index < 4; ++index) sum[part][index] = bias[part * 8 + column + (index & 1)];
}

// Infrared and visible of one pixel of the input as halves, of whole numbers.
__device__ __forceinline__ unsigned input_pair(const unsigned char* input, int pixel) {
    const unsigned pair = *reinterpret_cast<const unsigned short*>(input + 2 * pixel);
    return pack_halves(static_cast<float>(pair & 255), static_cast<float>(pair >> 8));
}

template <class T>
__device__ __forceinline__ void stem(unsigned char* shared, const Place& place) {
    const int lane = threadIdx.x & 31, tap = lane & 3;
    const unsigned* weights = reinterpret_cast<const unsigned*>(shared + STEM_WEIGHTS);
    const unsigned* last = reinterpret_cast<const unsigned*>(shared + STEM_LAST);
    unsigned b[2][3];
#pragma unroll
    for (int part = 0; part < 2; ++part) {
        b[part][0] = weights[(part * 32 + lane) * 2];
        b[part][1] = weights[(part * 32 + lane) * 2 + 1];
        b[part][2] = last[part * 32 + lane];
    }
    constexpr int PIXELS = T::FIRST_HEIGHT * T::FIRST_WIDTH;
    for (int first = threadIdx.x / 32 * 16; first < PIXELS; first += T::WARPS * 16) {
        float sum[2][4] = {};
        unsigned a[4], ninth[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int pixel = min(first + lane / 4 + 8 * half, PIXELS - 1);
            const int corner = 2 * (pixel / T::FIRST_WIDTH) * T::INPUT_WIDTH + 2 * (pixel % T::FIRST_WIDTH);
            const int other = tap + 4;
            a[half] = input_pair(shared + T::INPUT, corner + tap / 3 * T::INPUT_WIDTH + tap % 3);
            a[half + 2] = input_pair(shared + T::INPUT, corner + other / 3 * T::INPUT_WIDTH + other % 3);
            ninth[half] = tap == 0 ? input_pair(shared + T::INPUT, corner + 2 * T::INPUT_WIDTH + 2) : 0u;
        }
#pragma unroll
        for (int part = 0; part < 2; ++part) {
            multiply_16x8x16(sum[part], a, b[part][0], b[part][1]);
            multiply_16x8x8(sum[part], ninth, b[part][2]);
        }
        float shifted[2][4];
        start_sums(shifted, biases(shared));
#pragma unroll
        for (int part = 0; part < 2; ++part)
#pragma unroll
            for (int index = 0; index < 4; ++index)
                shifted[part][index] = fmaf(sum[part][index], 1.f / 255.f, shifted[part][index]);
        store_features<T::FIRST_HEIGHT, T::FIRST_WIDTH>(shared + T::FIRST, place, 3, first, shifted);
    }
}

// A layer's B fragments, in registers for all of its pixels.
struct LayerWeights {
    unsigned word[9][2][2];

    __device__ __forceinline__ LayerWeights(const unsigned char* shared, int layer) {
        const uint2* packed = reinterpret_cast<const uint2*>(shared + BODY_WEIGHTS + layer * LAYER_BYTES);
#pragma unroll
        for (int tap = 0; tap < 9; ++tap)
#pragma unroll
            for (int part = 0; part < 2; ++part) {
                const uint2 two = packed[(tap * 2 + part) * 32 + (threadIdx.x & 31)];
                word[tap][part][0] = two.x;
                word[tap][part][1] = two.y;
            }
    }
};

// Sums of a 3x3 layer for 16 pixels of an output WIDTH wide, on features that are 2 wider.
template <int WIDTH, int PIXELS>
__device__ __forceinline__ void convolve(float (&sum)[2][4], const unsigned char* features, const LayerWeights& weights,
                                         int first) {
    const int lane = threadIdx.x & 31;
    const int pixel = min(first + (lane & 15), PIXELS - 1);
    const int corner = pixel / WIDTH * (WIDTH + 2) + pixel % WIDTH;
#pragma unroll
    for (int tap = 0; tap < 9; ++tap) {
        unsigned a[4];
        load_matrices(a, features + feature_offset(corner + tap / 3 * (WIDTH + 2) + tap % 3, lane >> 4));
#pragma unroll
        for (int part = 0; part < 2; ++part)
            multiply_16x8x16(sum[part], a, weights.word[tap][part][0], weights.word[tap][part][1]);
    }
}

template <class T>
__device__ __forceinline__ void first_layer(unsigned char* shared, const Place& place) {
    constexpr int PIXELS = T::SECOND_HEIGHT * T::SECOND_WIDTH;
    const LayerWeights weights(shared, 0);
    for (int first = threadIdx.x / 32 * 16; first < PIXELS; first += T::WARPS * 16) {
        float sum[2][4];
        start_sums(sum, biases(shared) + CHANNELS);
        convolve<T::SECOND_WIDTH, PIXELS>(sum, shared + T::FIRST, weights, first);
        store_features<T::SECOND_HEIGHT, T::SECOND_WIDTH>(shared + T::SECOND, place, 2, first, sum);
    }
}

// Second layer, head and sigmoid: the accumulators of the one product are the A fragments of the next.
template <class T>
__device__ __forceinline__ void gains(unsigned char* shared) {
    constexpr int PIXELS = T::GAIN_HEIGHT * T::GAIN_WIDTH;
    const LayerWeights weights(shared, 1);
    const int lane = threadIdx.x & 31;
    const uint2 head = reinterpret_cast<const uint2*>(shared + HEAD_WEIGHTS)[lane];
    const float* bias = biases(shared) + 3 * CHANNELS;
    for (int first = threadIdx.x / 32 * 16; first < PIXELS; first += T::WARPS * 16) {
        float sum[2][4], both[4] = {};
        start_sums(sum, biases(shared) + 2 * CHANNELS);
        convolve<T::GAIN_WIDTH, PIXELS>(sum, shared + T::SECOND, weights, first);
        unsigned a[4];
#pragma unroll
        for (int part = 0; part < 2; ++part)
#pragma unroll
            for (int half = 0; half < 2; ++half)
                a[2 * part + half] = pack_halves(fmaxf(sum[part][2 * half], 0.f), fmaxf(sum[part][2 * half + 1], 0.f));
        multiply_16x8x16(both, a, head.x, head.y);
        if ((lane & 3) == 0) {  // these have columns 0 and 1, which are all
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int pixel = first + lane / 4 + 8 * half;
                if (pixel < PIXELS)
                    *gain_at<T>(shared, pixel) = make_float2(gain_of(shared, both[2 * half] + bias[0]),
                                                             gain_of(shared, both[2 * half + 1] + bias[1]));
            }
        }
    }
}

#else

template <int HEIGHT, int WIDTH>
__device__ __forceinline__ void store_features(unsigned char* features, const Place& place, int above, int pixel,
                                               const float (&sum)[CHANNELS]) {
    const bool there = place.holds(place.row - above + pixel / WIDTH, place.column - above + pixel % WIDTH);
#pragma unroll
    for (int channel = 0; channel < CHANNELS; channel += 2) {
        const unsigned both = pack_halves(fmaxf(sum[channel], 0.f), fmaxf(sum[channel + 1], 0.f));
        unsigned char* at = features + feature_offset(pixel, channel / 8) + channel % 8 * 2;
        *reinterpret_cast<unsigned*>(at) = there ? both : 0u;
    }
}

template <class T>
__device__ __forceinline__ void stem(unsigned char* shared, const Place& place) {
    for (int pixel = threadIdx.x; pixel < T::FIRST_HEIGHT * T::FIRST_WIDTH; pixel += T::THREADS) {
        const int corner = 2 * (pixel / T::FIRST_WIDTH) * T::INPUT_WIDTH + 2 * (pixel % T::FIRST_WIDTH);
        float sum[CHANNELS] = {};
#pragma unroll 1
        for (int tap = 0; tap < 9; ++tap) {
            const unsigned char* pair = shared + T::INPUT + 2 * (corner + tap / 3 * T::INPUT_WIDTH + tap % 3);
            const float infrared = pair[0], visible = pair[1];
#pragma unroll
            for (int channel = 0; channel < CHANNELS; ++channel) {
                const int lane = (channel & 7) * 4 + tap % 4, part = channel >> 3;
                const unsigned both =
                    tap < 8 ? reinterpret_cast<const unsigned*>(shared + STEM_WEIGHTS)[(part * 32 + lane) * 2 + tap / 4]
                            : reinterpret_cast<const unsigned*>(shared + STEM_LAST)[part * 32 + lane];
                sum[channel] = fmaf(low_half(both), infrared, fmaf(high_half(both), visible, sum[channel]));
            }
        }
#pragma unroll
        for (int channel = 0; channel < CHANNELS; ++channel)
            sum[channel] = fmaf(sum[channel], 1.f / 255.f, biases(shared)[channel]);
        store_features<T::FIRST_HEIGHT, T::FIRST_WIDTH>(shared + T::FIRST, place, 3, pixel, sum);
    }
}

template <int WIDTH>
__device__ __forceinline__ void convolve(float (&sum)[CHANNELS], const unsigned char* features,
                                         const unsigned char* weights, const float* bias, int pixel) {
    const int corner = pixel / WIDTH * (WIDTH + 2) + pixel % WIDTH;
#pragma unroll
    for (int channel = 0; channel < CHANNELS; ++channel) sum[channel] = bias[channel];
#pragma unroll 1
    for (int tap = 0; tap < 9; ++tap) {
        const int source = corner + tap / 3 * (WIDTH + 2) + tap % 3;
        const uint2* packed = reinterpret_cast<const uint2*>(weights) + tap * 2 * 32;
#pragma unroll
        for (int from = 0; from < 8; from += 2) {  // with `from + 8`, whose weights stand beside them
            const unsigned low = *reinterpret_cast<const unsigned*>(features + feature_offset(source, 0) + from * 2);
            const unsigned high = *reinterpret_cast<const unsigned*>(features + feature_offset(source, 1) + from * 2);
#pragma unroll
            for (int to = 0; to < CHANNELS; ++to) {
                const uint2 two = packed[(to >> 3) * 32 + (to & 7) * 4 + from / 2];
                sum[to] = fmaf(low_half(two.x), low_half(low), fmaf(high_half(two.x), high_half(low), sum[to]));
                sum[to] = fmaf(low_half(two.y), low_half(high), fmaf(high_half(two.y), high_half(high), sum[to]));
            }
        }
    }
}

template <class T>
__device__ __forceinline__ void first_layer(unsigned char* shared, const Place& place) {
    for (int pixel = threadIdx.x; pixel < T::SECOND_HEIGHT * T::SECOND_WIDTH; pixel += T::THREADS) {
        float sum[CHANNELS];
        convolve<T::SECOND_WIDTH>(sum, shared + T::FIRST, shared + BODY_WEIGHTS, biases(shared) + CHANNELS, pixel);
        store_features<T::SECOND_HEIGHT, T::SECOND_WIDTH>(shared + T::SECOND, place, 2, pixel, sum);
    }
}

template <class T>
__device__ __forceinline__ void gains(unsigned char* shared) {
    for (int pixel = threadIdx.x; pixel < T::GAIN_HEIGHT * T::GAIN_WIDTH; pixel += T::THREADS) {
        float sum[CHANNELS];
        convolve<T::GAIN_WIDTH>(sum, shared + T::SECOND, shared + BODY_WEIGHTS + LAYER_BYTES,
                                biases(shared) + 2 * CHANNELS, pixel);
        float both[2] = {biases(shared)[3 * CHANNELS], biases(shared)[3 * CHANNELS + 1]};
#pragma unroll
        for (int channel = 0; channel < CHANNELS; channel += 2) {
            const unsigned two = pack_halves(fmaxf(sum[channel], 0.f), fmaxf(sum[channel + 1], 0.f));
#pragma unroll
            for (int gain = 0; gain < 2; ++gain) {
                both[gain] = fmaf(packed_weight(shared + HEAD_WEIGHTS, gain, channel), low_half(two), both[gain]);
                both[gain] = fmaf(packed_weight(shared + HEAD_WEIGHTS, gain, channel + 1), high_half(two), both[gain]);
            }
        }
        *gain_at<T>(shared, pixel) = make_float2(gain_of(shared, both[0]), gain_of(shared, both[1]));
    }
}

#endif

}  // namespace tdfusion
