// The second pass over a block: values, attention and projection as one matrix, residual; then LayerNorm, the gated
// feed-forward and its residual. Features come in once and go out once; the values are made again rather than kept.
#pragma once

#include "attention.h"

namespace tdfusion::restormer {

constexpr int CHUNK = 16;  // hidden channels at a time, with as many gates

template <class Kind>
struct Feeding {
    static constexpr int CHUNKS = Kind::HIDDEN / CHUNK;
    using Values = typename Attention<Kind>::Mixing;                        // laid out alike
    using Expand = Dense<4, Kind::CHANNELS / 16>;                           // 16 gates, 16 values
    using Project = Dense<Kind::CHANNELS / 8, 1>;
    // Weights as restormer/pack.py packs them.
    static constexpr int VALUE_DEPTHWISE = Values::BYTES;
    static constexpr int VALUE_BIASES = VALUE_DEPTHWISE + 9 * 2 * Kind::CHANNELS;
    static constexpr int EXPAND = VALUE_BIASES + 4 * Kind::CHANNELS;        // chunk by chunk, and so below
    static constexpr int DEPTHWISE_BYTES = 9 * 4 * CHUNK, BIAS_BYTES = 4 * 2 * CHUNK;
    static constexpr int DEPTHWISE = EXPAND + CHUNKS * Expand::BYTES;       // by tap: two gates, their two values
    static constexpr int BIASES = DEPTHWISE + CHUNKS * DEPTHWISE_BYTES;
    static constexpr int PROJECT = BIASES + CHUNKS * BIAS_BYTES;
    static constexpr int WEIGHT_BYTES = PROJECT + CHUNKS * Project::BYTES;
    static_assert(WEIGHT_BYTES % 16 == 0, "weights are staged 16 bytes at a time");
};

template <class Kind_, int HEIGHT_, int WIDTH_>
struct ApplyTile {
    using Kind = Kind_;
    using F = Feeding<Kind>;
    static constexpr int HEIGHT = HEIGHT_, WIDTH = WIDTH_, PIXELS = HEIGHT * WIDTH;
    static constexpr int NEAR_HEIGHT = HEIGHT + 2, NEAR_WIDTH = WIDTH + 2, NEAR = NEAR_HEIGHT * NEAR_WIDTH;
    static constexpr int ALL_HEIGHT = HEIGHT + 4, ALL_WIDTH = WIDTH + 4, ALL_PIXELS = ALL_HEIGHT * ALL_WIDTH;
    static constexpr int ROW = 2 * Kind::CHANNELS, HIDDEN_ROW = 4 * CHUNK, GATED_ROW = 2 * CHUNK;
    static constexpr int RUN = 4, NEAR_RUN = NEAR_HEIGHT % 5 == 0 ? 5 : 6;
    static constexpr int most(int one, int other) { return one > other ? one : other; }

    static constexpr int MIXING = F::WEIGHT_BYTES;
    static constexpr int FEATURES = MIXING + F::Values::BYTES;        // in, behind attention, out; all pixels
    // LayerNorm's of all pixels, then values of the near ones, then a chunk's hidden features of these.
    static constexpr int FIRST = FEATURES + ALL_PIXELS * ROW;
    static constexpr int FIRST_BYTES = most(most(Kind::NORMAL ? ALL_PIXELS * ROW : 0, NEAR * ROW), NEAR * HIDDEN_ROW);
    // Values before their depth-wise convolution, of all pixels; then the second LayerNorm's of the near ones.
    static constexpr int SECOND = FIRST + FIRST_BYTES;
    static constexpr int GATED = SECOND + ALL_PIXELS * ROW;
    static constexpr int BYTES = GATED + PIXELS * GATED_ROW;
    static_assert(HEIGHT % RUN == 0 && NEAR_HEIGHT % NEAR_RUN == 0, "runs fill the tile");

    __device__ static __forceinline__ bool near_is_there(const Place& place, int pixel) {
        return place.holds(place.row - 1 + pixel / NEAR_WIDTH, place.column - 1 + pixel % NEAR_WIDTH);
    }
    // The same pixel among all.
    __device__ static __forceinline__ int near_among_all(int pixel) {
        return (pixel / NEAR_WIDTH + 1) * ALL_WIDTH + pixel % NEAR_WIDTH + 1;
    }
    __device__ static __forceinline__ int among_all(int pixel) {
        return (pixel / WIDTH + 2) * ALL_WIDTH + pixel % WIDTH + 2;
    }
};

// Values of the near pixels: 1x1 on all, depth-wise 3x3.
template <class T>
__device__ __forceinline__ void make_values(const Place& place, unsigned char* shared) {
    using Kind = typename T::Kind;
    using F = typename T::F;
    const float* biases = reinterpret_cast<const float*>(shared + F::VALUE_BIASES);
    multiply<typename F::Values, T::ALL_PIXELS>(
        shared,
        [&](int pixel, int step, int half) {
            return shared + (Kind::NORMAL ? T::FIRST : T::FEATURES) + at<T::ROW>(pixel, 32 * step + 16 * half);
        },
        [&](int pixel, bool mine, int t, const float(&value)[F::Values::TILES][2]) {
            if (!mine) return;
            const bool there = place.holds(place.row - 2 + pixel / T::ALL_WIDTH, place.column - 2 + pixel % T::ALL_WIDTH);
#pragma unroll
            for (int part = 0; part < F::Values::TILES; ++part) {
                const float* bias = biases + 8 * part + 2 * t;
                const unsigned both = pack_halves(value[part][0] + bias[0], value[part][1] + bias[1]);
                *reinterpret_cast<unsigned*>(shared + T::SECOND + at<T::ROW>(pixel, 16 * part + 4 * t)) =
                    there ? both : 0u;
            }
        });
    __syncthreads();
    constexpr int GROUPS = Kind::CHANNELS / 4;
    for (int index = threadIdx.x; index < GROUPS * T::NEAR_WIDTH * (T::NEAR_HEIGHT / T::NEAR_RUN); index += THREADS) {
        const int group = index % GROUPS, column = index / GROUPS % T::NEAR_WIDTH;
        const int row = index / GROUPS / T::NEAR_WIDTH * T::NEAR_RUN;
        float value[T::NEAR_RUN][4];
        depthwise<T::NEAR_RUN, T::ROW, T::ALL_WIDTH, T::ROW>(value, shared + T::SECOND, row * T::ALL_WIDTH + column,
                                                             8 * group, shared + F::VALUE_DEPTHWISE + 8 * group);
#pragma unroll
        for (int step = 0; step < T::NEAR_RUN; ++step) {
            uint2 four;
            four.x = pack_halves(value[step][0], value[step][1]);
            four.y = pack_halves(value[step][2], value[step][3]);
            *reinterpret_cast<uint2*>(shared + T::FIRST + at<T::ROW>((row + step) * T::NEAR_WIDTH + column, 8 * group)) =
                four;
        }
    }
    __syncthreads();
}

// features + mixing * values at the near pixels, and LayerNorm of that.
template <class T>
__device__ __forceinline__ void attend(unsigned char* shared) {
    using Kind = typename T::Kind;
    using F = typename T::F;
    multiply<typename F::Values, T::NEAR>(
        shared + T::MIXING,
        [&](int pixel, int step, int half) { return shared + T::FIRST + at<T::ROW>(pixel, 32 * step + 16 * half); },
        [&](int pixel, bool mine, int t, const float(&given)[F::Values::TILES][2]) {
            float value[F::Values::TILES][2], sum = 0.f;
#pragma unroll
            for (int part = 0; part < F::Values::TILES; ++part) {
                unsigned* place = reinterpret_cast<unsigned*>(
                    shared + T::FEATURES + at<T::ROW>(T::near_among_all(pixel), 16 * part + 4 * t));
                value[part][0] = given[part][0] + low_half(*place);
                value[part][1] = given[part][1] + high_half(*place);
                if (mine) *place = pack_halves(value[part][0], value[part][1]);
                sum += value[part][0] + value[part][1];
            }
            if (!Kind::NORMAL) return;
            const float mean = together<4>(sum) * (1.f / Kind::CHANNELS);
            float squares = 0.f;
#pragma unroll
            for (int part = 0; part < F::Values::TILES; ++part)
#pragma unroll
                for (int one = 0; one < 2; ++one) {
                    value[part][one] -= mean;
                    squares = fmaf(value[part][one], value[part][one], squares);
                }
            const float scale = 1.f / sqrtf(together<4>(squares) * (1.f / Kind::CHANNELS) + NORM_EPSILON);
            if (!mine) return;
#pragma unroll
            for (int part = 0; part < F::Values::TILES; ++part)
                *reinterpret_cast<unsigned*>(shared + T::SECOND + at<T::ROW>(pixel, 16 * part + 4 * t)) =
                    pack_halves(value[part][0] * scale, value[part][1] * scale);
        });
    __syncthreads();
}

// Hidden features of the near pixels: 16 gates and 16 values, in pairs side by side.
template <class T>
__device__ __forceinline__ void expand(const Place& place, int chunk, unsigned char* shared) {
    using Kind = typename T::Kind;
    using F = typename T::F;
    const float* biases = reinterpret_cast<const float*>(shared + F::BIASES + chunk * F::BIAS_BYTES);
    multiply<typename F::Expand, T::NEAR>(
        shared + F::EXPAND + chunk * F::Expand::BYTES,
        [&](int pixel, int step, int half) {
            return shared + (Kind::NORMAL ? T::SECOND + at<T::ROW>(pixel, 32 * step + 16 * half)
                                          : T::FEATURES + at<T::ROW>(T::near_among_all(pixel), 32 * step + 16 * half));
        },
        [&](int pixel, bool mine, int t, const float(&value)[4][2]) {
            if (!mine) return;
            const bool there = T::near_is_there(place, pixel);
#pragma unroll
            for (int part = 0; part < 2; ++part) {
                const float *gate = biases + 8 * part + 2 * t, *other = gate + CHUNK;
                uint2 four;
                four.x = there ? pack_halves(value[part][0] + gate[0], value[part][1] + gate[1]) : 0u;
                four.y = there ? pack_halves(value[part + 2][0] + other[0], value[part + 2][1] + other[1]) : 0u;
                *reinterpret_cast<uint2*>(shared + T::FIRST + at<T::HIDDEN_ROW>(pixel, 32 * part + 8 * t)) = four;
            }
        });
    __syncthreads();
}

__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.f + error_function(x * 0.70710678f)); }

// Depth-wise 3x3 of a chunk, and gates times values.
template <class T>
__device__ __forceinline__ void gate(int chunk, unsigned char* shared) {
    using F = typename T::F;
    constexpr int PAIRS = CHUNK / 2;
    const unsigned char* weights = shared + F::DEPTHWISE + chunk * F::DEPTHWISE_BYTES;
    for (int index = threadIdx.x; index < PAIRS * T::WIDTH * (T::HEIGHT / T::RUN); index += THREADS) {
        const int pair = index % PAIRS, column = index / PAIRS % T::WIDTH, row = index / PAIRS / T::WIDTH * T::RUN;
        float value[T::RUN][4];
        depthwise<T::RUN, T::HIDDEN_ROW, T::NEAR_WIDTH, T::HIDDEN_ROW>(
            value, shared + T::FIRST, row * T::NEAR_WIDTH + column, 8 * pair, weights + 8 * pair);
#pragma unroll
        for (int step = 0; step < T::RUN; ++step)
            *reinterpret_cast<unsigned*>(shared + T::GATED +
                                         at<T::GATED_ROW>((row + step) * T::WIDTH + column, 4 * pair)) =
                pack_halves(gelu(value[step][0]) * value[step][2], gelu(value[step][1]) * value[step][3]);
    }
    __syncthreads();
}

template <class T>
__device__ __forceinline__ void feed_forward(const Place& place, unsigned char* shared) {
    using F = typename T::F;
    Sums<typename F::Project, T::PIXELS> sums;
#pragma unroll 1
    for (int chunk = 0; chunk < F::CHUNKS; ++chunk) {
        expand<T>(place, chunk, shared);
        gate<T>(chunk, shared);
        sums.add(shared + F::PROJECT + chunk * F::Project::BYTES, [&](int pixel, int, int half) {
            return shared + T::GATED + at<T::GATED_ROW>(pixel, 16 * half);
        });
    }
    sums.finish([&](int pixel, bool mine, int t, const float(&value)[F::Project::TILES][2]) {
        if (!mine) return;
#pragma unroll
        for (int part = 0; part < F::Project::TILES; ++part) {
            unsigned* word = reinterpret_cast<unsigned*>(shared + T::FEATURES +
                                                         at<T::ROW>(T::among_all(pixel), 16 * part + 4 * t));
            *word = pack_halves(value[part][0] + low_half(*word), value[part][1] + high_half(*word));
        }
    });
    __syncthreads();
}

template <class T>
__device__ __forceinline__ void store(unsigned char* target, int pixel_bytes, const Place& place,
                                      const unsigned char* shared) {
    constexpr int LANES = T::ROW / 16;
    for (int index = threadIdx.x; index < T::PIXELS * LANES; index += THREADS) {
        ITERATION();
        const int pixel = index / LANES, part = index % LANES;
        const int y = place.row + pixel / T::WIDTH, x = place.column + pixel % T::WIDTH;
        if (!place.holds(y, x)) continue;
        const long long number = static_cast<long long>(y) * place.width + x;
        STORE(reinterpret_cast<uint4*>(target + number * pixel_bytes) + part,
              *reinterpret_cast<const uint4*>(shared + T::FEATURES + at<T::ROW>(T::among_all(pixel), 16 * part)));
    }
}

template <class Kind, int HEIGHT, int WIDTH>
__device__ __forceinline__ void apply(const ApplyParameters& p) {
    using T = ApplyTile<Kind, HEIGHT, WIDTH>;
    using F = typename T::F;
    DYNAMIC_SHARED(shared);
    const int stream = blockIdx.x % p.streams, blocks = gridDim.x / p.streams;
    stage(shared, p.weights + stream * F::WEIGHT_BYTES, F::WEIGHT_BYTES);
    stage(shared + T::MIXING, p.mixing + stream * F::Values::BYTES, F::Values::BYTES);
    const unsigned char* source = p.source + stream * p.stream_bytes;
    unsigned char* target = p.target + stream * p.target_stream_bytes;
    Place place = {0, 0, p.height, p.width};
    const int across = (p.width + WIDTH - 1) / WIDTH, tiles = across * ((p.height + HEIGHT - 1) / HEIGHT);
    for (int tile = blockIdx.x / p.streams; tile < tiles; tile += blocks) {
        place.row = tile / across * HEIGHT;
        place.column = tile % across * WIDTH;
        load<Kind::CHANNELS, Kind::NORMAL, T::ALL_HEIGHT, T::ALL_WIDTH>(source, p.pixel_bytes, place, 2,
                                                                       shared + T::FEATURES, shared + T::FIRST);
        __syncthreads();
        make_values<T>(place, shared);
        attend<T>(shared);
        feed_forward<T>(place, shared);
        store<T>(target, p.target_pixel_bytes, place, shared);
        __syncthreads();
    }
}

}  // namespace tdfusion::restormer
