// The first pass over a block: how alike its channels are over the whole picture. Nothing of a pixel is written.
//
// q and k of every head are made tile by tile, and only sums leave the registers: q k, q q and k k over all pixels, in
// float32 (restormer.py says why). Then one small launch makes of them the matrix that the second pass applies.
#pragma once

#include "product.h"

namespace tdfusion::restormer {

template <class Kind>
struct Attention {
    static constexpr int OF_HEAD = Kind::CHANNELS / Kind::HEADS;
    static constexpr int SUMS = OF_HEAD * OF_HEAD + 2 * OF_HEAD;  // of a head: q k, q q, k k
    static constexpr int QK_BYTES = 4 * Kind::CHANNELS;           // of a pixel: head by head its q, then its k
    using Matrix = Dense<Kind::CHANNELS / 4, Kind::CHANNELS / 16>;
    // Weights as restormer/pack.py packs them.
    static constexpr int DEPTHWISE = Matrix::BYTES;                  // halves, tap by tap
    static constexpr int BIASES = DEPTHWISE + 9 * QK_BYTES;          // floats, what LayerNorm's shift becomes
    static constexpr int WEIGHT_BYTES = BIASES + 2 * QK_BYTES;
    static_assert(WEIGHT_BYTES % 16 == 0, "weights are staged 16 bytes at a time");
    // For the small launch: temperatures of all heads, and the projection (out, in of the same stream), floats.
    static constexpr int INPUTS = Kind::APART ? 16 : Kind::CHANNELS;
    static constexpr int FOLD_FLOATS = Kind::HEADS + Kind::CHANNELS * INPUTS;
    using Mixing = typename Chosen<Kind::APART, Diagonal<Kind::CHANNELS / 8, Kind::CHANNELS / 16>,
                                   Dense<Kind::CHANNELS / 8, Kind::CHANNELS / 16>>::Type;
};

template <class Kind, int HEIGHT, int WIDTH>
struct GramTile {
    using A = Attention<Kind>;
    static constexpr int AROUND = 1, RUN = 4;
    static constexpr int ALL_HEIGHT = HEIGHT + 2, ALL_WIDTH = WIDTH + 2, PIXELS = ALL_HEIGHT * ALL_WIDTH;
    static constexpr int FEATURES = A::WEIGHT_BYTES, QK = FEATURES + PIXELS * 2 * Kind::CHANNELS;
    static constexpr int ENDS = QK + PIXELS * A::QK_BYTES;
    // Behind the last tile each thread's sums lie where the features lay.
    static constexpr int NEEDED = FEATURES + 4 * THREADS * A::SUMS;
    static constexpr int BYTES = ENDS > NEEDED ? ENDS : NEEDED;
    static_assert(HEIGHT % RUN == 0 && THREADS % Kind::HEADS == 0, "a thread stays with one head");
};

// Adds RUN pixels of one head.
template <int OF_HEAD, int RUN>
__device__ __forceinline__ void add_alike(float (&sums)[OF_HEAD * OF_HEAD + 2 * OF_HEAD], const float (&q)[RUN][4],
                                          const float (&k)[RUN][4], int q_first, int k_first, int rows) {
#pragma unroll
    for (int row = 0; row < RUN; ++row) {
        if (row >= rows) continue;
#pragma unroll
        for (int i = 0; i < OF_HEAD; ++i) {
            const float one = q[row][q_first + i], other = k[row][k_first + i];
#pragma unroll
            for (int j = 0; j < OF_HEAD; ++j)
                sums[i * OF_HEAD + j] = fmaf(one, k[row][k_first + j], sums[i * OF_HEAD + j]);
            sums[OF_HEAD * OF_HEAD + i] = fmaf(one, one, sums[OF_HEAD * OF_HEAD + i]);
            sums[OF_HEAD * OF_HEAD + OF_HEAD + i] = fmaf(other, other, sums[OF_HEAD * OF_HEAD + OF_HEAD + i]);
        }
    }
}

template <class Kind, class T>
__device__ __forceinline__ void add_tile(float (&sums)[Attention<Kind>::SUMS], const Place& place, int height, int width,
                                         const unsigned char* shared) {
    using A = Attention<Kind>;
    constexpr int RUN = T::RUN;
    const int head = threadIdx.x % Kind::HEADS;
    for (int index = threadIdx.x / Kind::HEADS; index < height / RUN * width; index += THREADS / Kind::HEADS) {
        const int row = index / width * RUN, column = index % width;
        const int rows = place.column + column < place.width ? place.height - place.row - row : 0;
        const int corner = row * T::ALL_WIDTH + column;
        const unsigned char* weights = shared + A::DEPTHWISE;
        if constexpr (A::OF_HEAD == 2) {
            float both[RUN][4];
            depthwise<RUN, A::QK_BYTES, T::ALL_WIDTH, A::QK_BYTES>(both, shared + T::QK, corner, 8 * head,
                                                                   weights + 8 * head);
            add_alike<2, RUN>(sums, both, both, 0, 2, rows);
        } else {
            static_assert(A::OF_HEAD == 4, "a head has two or four channels");
            float q[RUN][4], k[RUN][4];
            depthwise<RUN, A::QK_BYTES, T::ALL_WIDTH, A::QK_BYTES>(q, shared + T::QK, corner, 16 * head,
                                                                   weights + 16 * head);
            depthwise<RUN, A::QK_BYTES, T::ALL_WIDTH, A::QK_BYTES>(k, shared + T::QK, corner, 16 * head + 8,
                                                                   weights + 16 * head + 8);
            add_alike<4, RUN>(sums, q, k, 0, 0, rows);
        }
    }
}

// Sums of a block's tiles, written to its place; in one order, whatever the threads do.
template <class Kind, class T>
__device__ __forceinline__ void write_sums(const float (&sums)[Attention<Kind>::SUMS], float* target,
                                           unsigned char* shared) {
    constexpr int SUMS = Attention<Kind>::SUMS, HEADS = Kind::HEADS;
    float* all = reinterpret_cast<float*>(shared + T::FEATURES);
    __syncthreads();
#pragma unroll
    for (int index = 0; index < SUMS; ++index) all[index * THREADS + threadIdx.x] = sums[index];
    __syncthreads();
    for (int index = threadIdx.x; index < HEADS * SUMS; index += THREADS) {
        ITERATION();
        const float* first = all + index % SUMS * THREADS + index / SUMS;
        float sum = 0.f;
        for (int thread = 0; thread < THREADS; thread += HEADS) sum += first[thread];
        STORE(target + index, sum);
    }
}

template <class Kind, int HEIGHT, int WIDTH>
__device__ __forceinline__ void gram(const GramParameters& p) {
    using A = Attention<Kind>;
    using T = GramTile<Kind, HEIGHT, WIDTH>;
    DYNAMIC_SHARED(shared);
    const int stream = blockIdx.x % p.streams, blocks = gridDim.x / p.streams, block = blockIdx.x / p.streams;
    stage(shared, p.weights + stream * A::WEIGHT_BYTES, A::WEIGHT_BYTES);
    const unsigned char* source = p.source + stream * p.stream_bytes;
    const float* biases = reinterpret_cast<const float*>(shared + A::BIASES);
    Place place = {0, 0, p.height, p.width};
    const int across = (p.width + WIDTH - 1) / WIDTH, tiles = across * ((p.height + HEIGHT - 1) / HEIGHT);
    float sums[A::SUMS] = {};
    for (int tile = block; tile < tiles; tile += blocks) {
        place.row = tile / across * HEIGHT;
        place.column = tile % across * WIDTH;
        load<Kind::CHANNELS, Kind::NORMAL, T::ALL_HEIGHT, T::ALL_WIDTH>(source, p.pixel_bytes, place, T::AROUND,
                                                                       shared + T::FEATURES, shared + T::FEATURES);
        __syncthreads();
        multiply<typename A::Matrix, T::PIXELS>(
            shared,
            [&](int pixel, int step, int half) {
                return shared + T::FEATURES + at<2 * Kind::CHANNELS>(pixel, 32 * step + 16 * half);
            },
            [&](int pixel, bool mine, int t, const float(&value)[A::Matrix::TILES][2]) {
                const bool there = place.holds(place.row - T::AROUND + pixel / T::ALL_WIDTH,
                                               place.column - T::AROUND + pixel % T::ALL_WIDTH);
                if (!mine) return;
#pragma unroll
                for (int part = 0; part < A::Matrix::TILES; ++part) {
                    const float* bias = biases + 8 * part + 2 * t;
                    const unsigned both = pack_halves(value[part][0] + bias[0], value[part][1] + bias[1]);
                    *reinterpret_cast<unsigned*>(shared + T::QK + at<A::QK_BYTES>(pixel, 16 * part + 4 * t)) =
                        there ? both : 0u;
                }
            });
        __syncthreads();
        add_tile<Kind, T>(sums, place, HEIGHT, WIDTH, shared);
    }
    write_sums<Kind, T>(sums, p.partial + static_cast<long long>(blockIdx.x) * Kind::HEADS * A::SUMS, shared);
}

constexpr float LEAST_SQUARE = 1e-12f;  // of a mean: what `channel_attention` clamps at

// Softmax of a head's row of cosines, and what the projection makes of it.
template <class Kind>
__device__ __forceinline__ void fold(const FoldParameters& p) {
    using A = Attention<Kind>;
    constexpr int N = A::OF_HEAD, SUMS = Kind::HEADS * A::SUMS;
    DYNAMIC_SHARED(shared);
    float* sums = reinterpret_cast<float*>(shared);
    float* weights = sums + SUMS;                        // of channel j in channel i of a head
    float* given = weights + Kind::HEADS * N * N;
    const int stream = blockIdx.x;
    const float* source = p.weights + stream * A::FOLD_FLOATS;
    for (int index = threadIdx.x; index < A::FOLD_FLOATS; index += THREADS) {
        ITERATION();
        given[index] = LOAD(source + index);
    }
    for (int index = threadIdx.x; index < SUMS; index += THREADS) {
        float sum = 0.f;
        for (int block = 0; block < p.blocks; ++block) {
            ITERATION();
            sum += LOAD(p.partial + (static_cast<long long>(block) * p.streams + stream) * SUMS + index);
        }
        sums[index] = sum * p.share;
    }
    __syncthreads();
    for (int index = threadIdx.x; index < Kind::HEADS * N; index += THREADS) {
        const int head = index / N, i = index % N;
        const float* alike = sums + head * A::SUMS;
        const float own = sqrtf(fmaxf(alike[N * N + i], LEAST_SQUARE));
        float value[N], most = -3.4e38f, total = 0.f;
#pragma unroll
        for (int j = 0; j < N; ++j) {
            value[j] = given[head] * alike[i * N + j] / (own * sqrtf(fmaxf(alike[N * N + N + j], LEAST_SQUARE)));
            most = fmaxf(most, value[j]);
        }
#pragma unroll
        for (int j = 0; j < N; ++j) {
            value[j] = exponential(value[j] - most);
            total += value[j];
        }
#pragma unroll
        for (int j = 0; j < N; ++j) weights[index * N + j] = value[j] / total;
    }
    __syncthreads();
    unsigned* target = reinterpret_cast<unsigned*>(p.mixing + stream * A::Mixing::BYTES);
    const float* projection = given + Kind::HEADS;
    for (int index = threadIdx.x; index < A::Mixing::BYTES / 4; index += THREADS) {
        ITERATION();
        const int word = index % 2, lane = index / 2 % 32, slot = index / 64;
        const int step = Kind::APART ? slot / 2 : slot / A::Mixing::TILES, tile = slot % A::Mixing::TILES;
        const int output = 8 * tile + lane / 4, input = 16 * step + 8 * word + lane % 4 * 2;
        float mixed[2] = {};
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int head = (input + half) / N, j = (input + half) % N;
#pragma unroll
            for (int i = 0; i < N; ++i)
                mixed[half] = fmaf(projection[output * A::INPUTS + (head * N + i) % A::INPUTS],
                                   weights[(head * N + i) * N + j], mixed[half]);
        }
        STORE(target + index, pack_halves(mixed[0], mixed[1]));
    }
}

template <class Kind>
struct FoldShared {
    using A = Attention<Kind>;
    static constexpr int BYTES =
        4 * (Kind::HEADS * (A::SUMS + A::OF_HEAD * A::OF_HEAD) + A::FOLD_FLOATS);
};

}  // namespace tdfusion::restormer
