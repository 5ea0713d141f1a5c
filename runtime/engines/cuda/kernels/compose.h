// From gains to the fused picture: bilinear interpolation, border, stretch, colour, and the limits of the next stretch.
#pragma once

#include "camera.h"
#include "convolve.h"

namespace tdfusion {

constexpr int BINS = 4096;  // of the fused luma; a limit is exact to 1/8190 of its range

// A camera's chroma as a difference from grey, and back.
__device__ __forceinline__ float chroma_in(const EdgeParameters& p, int chroma) {
    return (chroma - 128) * (p.limited_range ? 255.f / 224.f : 1.f);
}

__device__ __forceinline__ int chroma_out(const EdgeParameters& p, float chroma) {
    return level(chroma * (p.limited_range ? 224.f / 255.f : 1.f) + 128.f);
}

// U and V of the cell's four pixels in the visible camera's colours, for NV12.
__device__ __forceinline__ uchar2 cell_chroma(const EdgeParameters& p, const unsigned char* colour, int pitch, int y, int x) {
    if (p.visible_format == NV12) {
        const unsigned char* row = p.chroma + static_cast<long long>(y >> 1) * p.chroma_pitch;
        return LOAD(reinterpret_cast<const uchar2*>(row) + (x >> 1));
    }
    if (p.visible_format == GREY) return make_uchar2(128, 128);
    float u = 0.f, v = 0.f;
    int count = 0;
    for (int pixel = 0; pixel < 4; ++pixel) {
        if (y + pixel / 2 >= p.height || x + pixel % 2 >= p.width) continue;
        const unsigned char* at = colour + pixel / 2 * pitch + pixel % 2 * 3;
        if (p.visible_format == BGR) {
            const int luma = luma_of(at[0], at[1], at[2]);
            u += 0.564f * (at[0] - luma);
            v += 0.713f * (at[2] - luma);
        } else {
            u += chroma_in(p, at[1]);
            v += chroma_in(p, at[2]);
        }
        ++count;
    }
    return make_uchar2(chroma_out(p, u / count), chroma_out(p, v / count));
}

// B G R of a luma in the visible camera's colours. BGR: visible's own difference between a channel and luma is its
// chroma, as in the one-pass graph.
__device__ __forceinline__ void paint(const EdgeParameters& p, const unsigned char* colour, int shown, int visible,
                                      uchar2 chroma, unsigned char* to) {
    float blue = shown, green = shown, red = shown;
    if (p.visible_format == BGR) {
        blue += colour[0] - visible;
        green += colour[1] - visible;
        red += colour[2] - visible;
    } else if (p.visible_format != GREY) {
        const float u = chroma_in(p, chroma.x), v = chroma_in(p, chroma.y);
        blue += 1.773f * u;
        green -= 0.344f * u + 0.714f * v;
        red += 1.403f * v;
    }
    to[0] = static_cast<unsigned char>(level(blue));
    to[1] = static_cast<unsigned char>(level(green));
    to[2] = static_cast<unsigned char>(level(red));
}

// The fused lumas of one cell's pixels that are in the picture. Where it is asked for, the infrared of these pixels is
// stored as it goes by, for whoever is to see it beside them.
template <class T>
__device__ __forceinline__ void fuse_cell(const EdgeParameters& p, const Place& place, unsigned char* shared, int i, int j,
                                          float (&fused)[4]) {
    float2 around[3][3];
#pragma unroll
    for (int index = 0; index < 9; ++index) {
        const int row = clamped(place.row + i + index / 3 - 1, 0, place.cell_rows - 1) - place.row + 1;
        const int column = clamped(place.column + j + index % 3 - 1, 0, place.cell_columns - 1) - place.column + 1;
        around[index / 3][index % 3] = *gain_at<T>(shared, row * T::GAIN_WIDTH + column);
    }
#pragma unroll
    for (int pixel = 0; pixel < 4; ++pixel) {
        const int down = pixel / 2, right = pixel % 2;
        const int y = 2 * (place.row + i) + down, x = 2 * (place.column + j) + right;
        if (y >= p.height || x >= p.width) continue;
        const float2 a = around[down][right], b = around[down][right + 1];
        const float2 c = around[down + 1][right], d = around[down + 1][right + 1];
        const float over = down ? 0.75f : 0.25f, before = right ? 0.75f : 0.25f;  // shares of the first row and column
        const float infrared_gain = over * (before * a.x + (1.f - before) * b.x) + (1.f - over) * (before * c.x + (1.f - before) * d.x);
        const float visible_gain = over * (before * a.y + (1.f - before) * b.y) + (1.f - over) * (before * c.y + (1.f - before) * d.y);
        const unsigned char* pair = shared + T::INPUT + 2 * ((2 * i + down + T::BEFORE) * T::INPUT_WIDTH + 2 * j + right + T::BEFORE);
        const float visible = pair[1] * (1.f / 255.f);
        float infrared = pair[0] * (1.f / 255.f);
        float value = fminf(infrared_gain * infrared + visible_gain * visible, 1.f);
        if (p.share) {
            const float share = LOAD(p.share + static_cast<long long>(y) * p.share_pitch + x) * (1.f / 255.f);
            value = value * share + visible * (1.f - share);
            infrared = infrared * share + visible * (1.f - share);
        }
        if (p.aligned)
            STORE(p.aligned + static_cast<long long>(y) * p.width + x, static_cast<unsigned char>(level(255.f * infrared)));
        fused[pixel] = value;
    }
}

// A tile's pixels into shared memory, densely, as they will stand in the picture; the rest goes out from here.
template <class T>
__device__ __forceinline__ void compose(const EdgeParameters& p, const Place& place, unsigned char* shared) {
    const float low = p.fused ? LOAD_FRESH(p.limits) : 0.f, high = p.fused ? LOAD_FRESH(p.limits + 1) : 1.f;
    const float scale = 255.f / (high - low);
    constexpr int PITCH = 6 * T::WIDTH;
    for (int index = threadIdx.x; index < T::HEIGHT * T::WIDTH; index += T::THREADS) {
        ITERATION();
        const int i = index / T::WIDTH, j = index % T::WIDTH;
        const int top = 2 * (place.row + i), left = 2 * (place.column + j);
        if (top >= p.height || left >= p.width) continue;
        float fused[4] = {};
        fuse_cell<T>(p, place, shared, i, j, fused);
        const unsigned char* colour = shared + T::COLOUR + 2 * i * PITCH + 6 * j;
        uchar2 chroma = make_uchar2(128, 128);
        if (p.fused_format == NV12) {
            chroma = cell_chroma(p, colour, PITCH, top, left);
            *reinterpret_cast<uchar2*>(shared + T::PICTURE + 4 * T::HEIGHT * T::WIDTH + 2 * index) = chroma;
        } else if (p.fused_format == BGR && p.visible_format == NV12) {
            chroma = cell_chroma(p, colour, PITCH, top, left);
        }
#pragma unroll
        for (int pixel = 0; pixel < 4; ++pixel) {
            const int row = 2 * i + pixel / 2, column = 2 * j + pixel % 2;
            const int y = top + pixel / 2, x = left + pixel % 2;
            if (y >= p.height || x >= p.width) continue;
            if (p.luma) STORE(p.luma + static_cast<long long>(y) * p.width + x, fused[pixel]);
            if (p.histogram && y % p.sample_step == 0 && x % p.sample_step == 0)
                ATOMIC_ADD(p.histogram + static_cast<int>(rintf(clamped(fused[pixel], 0.f, 1.f) * (BINS - 1))), 1u);
            int shown = level((fused[pixel] - low) * scale);
            if (p.fused_format == BGR) {
                const unsigned char* own = colour + pixel / 2 * PITCH + pixel % 2 * 3;
                if (p.visible_format == YUYV) chroma = make_uchar2(own[1], own[2]);
                const int visible = shared[T::INPUT + 2 * ((row + T::BEFORE) * T::INPUT_WIDTH + column + T::BEFORE) + 1];
                paint(p, own, shown, visible, chroma, shared + T::PICTURE + row * PITCH + 3 * column);
            } else {
                if (p.fused_format == NV12 && p.limited_range) shown = level(16.f + shown * (219.f / 255.f));
                shared[T::PICTURE + row * 2 * T::WIDTH + column] = static_cast<unsigned char>(shown);
            }
        }
    }
}

// Rows of bytes from shared to global memory, by whole words where the plane allows it.
template <class T>
__device__ __forceinline__ void copy_rows(const unsigned char* from, int from_pitch, unsigned char* to, int to_pitch,
                                          int rows, int bytes) {
    const bool words = by_words(to, to_pitch);
    const int whole = words ? bytes >> 2 : 0, units = whole + bytes - 4 * whole;
    for (int index = threadIdx.x; index < rows * units; index += T::THREADS) {
        ITERATION();
        const int row = index / units, unit = index % units;
        const unsigned char* source = from + row * from_pitch;
        unsigned char* target = to + static_cast<long long>(row) * to_pitch;
        if (unit < whole)
            STORE(reinterpret_cast<unsigned*>(target) + unit, reinterpret_cast<const unsigned*>(source)[unit]);
        else
            STORE(target + 3 * whole + unit, source[3 * whole + unit]);
    }
}

template <class T>
__device__ __forceinline__ void store_tile(const EdgeParameters& p, const Place& place, const unsigned char* shared) {
    if (!p.fused) return;
    const int top = 2 * place.row, left = 2 * place.column;
    const int rows = min(2 * T::HEIGHT, p.height - top), columns = min(2 * T::WIDTH, p.width - left);
    const int bytes = p.fused_format == BGR ? 3 : 1;
    copy_rows<T>(shared + T::PICTURE, 2 * T::WIDTH * bytes, p.fused + static_cast<long long>(top) * p.fused_pitch + left * bytes,
                 p.fused_pitch, rows, columns * bytes);
    if (p.fused_format == NV12)
        copy_rows<T>(shared + T::PICTURE + 4 * T::HEIGHT * T::WIDTH, 2 * T::WIDTH,
                     p.fused_chroma + static_cast<long long>(place.row) * p.fused_chroma_pitch + left,
                     p.fused_chroma_pitch, (rows + 1) / 2, (columns + 1) / 2 * 2);
}

// The last block to finish reads the two percentiles out of the histogram and empties it for the next picture.
template <class T>
__device__ __forceinline__ void measure(const EdgeParameters& p, unsigned char* shared) {
    int* last = reinterpret_cast<int*>(shared + T::LAST);
    __threadfence();  // this thread's counts are there before its block is counted
    __syncthreads();
    if (threadIdx.x == 0) *last = ATOMIC_ADD(p.histogram + BINS, 1u) == gridDim.x - 1;
    __syncthreads();
    if (!*last) return;
    __threadfence();
    constexpr int OWN = BINS / T::THREADS;
    static_assert(OWN * T::THREADS == BINS && OWN % 4 == 0, "every thread has as many bins");
    uint4* bins = reinterpret_cast<uint4*>(p.histogram + threadIdx.x * OWN);
    const int lane = threadIdx.x & 31;
    unsigned counts[OWN], own = 0;
#pragma unroll
    for (int index = 0; index < OWN; index += 4) {
        ITERATION();
        const uint4 four = LOAD_FRESH(bins + index / 4);
        STORE(bins + index / 4, make_uint4(0u, 0u, 0u, 0u));
        counts[index] = four.x;
        counts[index + 1] = four.y;
        counts[index + 2] = four.z;
        counts[index + 3] = four.w;
        own += four.x + four.y + four.z + four.w;
    }
    unsigned upto_lane = own;
    for (int step = 1; step < 32; step *= 2) {
        const unsigned other = __shfl_up_sync(0xffffffffu, upto_lane, step);
        if (lane >= step) upto_lane += other;
    }
    unsigned* sums = reinterpret_cast<unsigned*>(shared + T::FIRST);
    if (lane == 31) sums[threadIdx.x / 32] = upto_lane;
    __syncthreads();
    unsigned below = upto_lane - own;
    for (int warp = 0; warp < static_cast<int>(threadIdx.x / 32); ++warp) below += sums[warp];
    const unsigned count = ((p.height - 1) / p.sample_step + 1) * ((p.width - 1) / p.sample_step + 1);
    const unsigned rank = (count - 1 + 500) / 1000;  // nearest rank of 0.1 %
#pragma unroll
    for (int index = 0; index < OWN; ++index) {
        ITERATION();
        const unsigned upto = below + counts[index];
        const float value = (threadIdx.x * OWN + index) * (1.f / (BINS - 1));
        if (below <= rank && rank < upto) STORE(p.measured, value);
        if (below <= count - 1 - rank && count - 1 - rank < upto) STORE(p.measured + 1, value);
        below = upto;
    }
    if (threadIdx.x == 0) STORE(p.histogram + BINS, 0u);
}

}  // namespace tdfusion
