// From the cameras' memory to lumas and levels of 8 bits: colour formats, thermal range, registration.
//
// The arithmetic is that of the runtime's Python: tdfusion_edge/color.py, picture/range.py, picture/registration.py.
#pragma once

#include "parameters.h"
#include "tile.h"

namespace tdfusion {

__device__ __forceinline__ float clamped(float value, float low, float high) { return fminf(fmaxf(value, low), high); }
__device__ __forceinline__ int clamped(int value, int low, int high) { return min(max(value, low), high); }
__device__ __forceinline__ int level(float value) { return static_cast<int>(rintf(clamped(value, 0.f, 255.f))); }

// BT.601 in 1/32768, as OpenCV rounds it.
__device__ __forceinline__ int luma_of(int blue, int green, int red) {
    return (3735 * blue + 19235 * green + 9798 * red + 16384) >> 15;
}

// A camera's luma in 0..255.
__device__ __forceinline__ int full_range(const EdgeParameters& p, int luma) {
    return p.limited_range ? level((luma - 16) * (255.f / 219.f)) : luma;
}

// 8 bits of an infrared count.
struct ThermalRange {
    float gain, offset;
    bool changes;

    __device__ __forceinline__ explicit ThermalRange(const EdgeParameters& p) : gain(1.f), offset(0.f), changes(p.thermal) {
        if (changes) {
            gain = LOAD_FRESH(p.thermal);
            offset = LOAD_FRESH(p.thermal + 1);
        }
    }
    __device__ __forceinline__ int level_of(int count) const {
        return changes ? level(fmaf(static_cast<float>(count), gain, offset)) : min(count, 255);
    }
};

__device__ __forceinline__ int infrared_count(const EdgeParameters& p, int y, int x) {
    const unsigned char* row = p.infrared + static_cast<long long>(y) * p.infrared_pitch;
    if (p.infrared_bytes == 1) return LOAD(row + x);
    return LOAD(reinterpret_cast<const unsigned short*>(row) + x);
}

// The infrared level at a visible pixel: bilinear between levels, its border repeated.
__device__ __forceinline__ int infrared_level(const EdgeParameters& p, const ThermalRange& range, int y, int x) {
    if (!p.warped) return range.level_of(infrared_count(p, y, x));
    const float column = static_cast<float>(x), row = static_cast<float>(y);
    const float* m = p.inverse;
    const float depth = fmaxf(fmaf(m[6], column, fmaf(m[7], row, m[8])), 1e-12f);
    const float wide = static_cast<float>(p.infrared_width - 1), high = static_cast<float>(p.infrared_height - 1);
    const float at_x = clamped(fmaf(m[0], column, fmaf(m[1], row, m[2])) / depth, 0.f, wide);
    const float at_y = clamped(fmaf(m[3], column, fmaf(m[4], row, m[5])) / depth, 0.f, high);
    const int left = static_cast<int>(at_x), top = static_cast<int>(at_y);
    const int right = min(left + 1, p.infrared_width - 1), bottom = min(top + 1, p.infrared_height - 1);
    const float dx = at_x - left, dy = at_y - top;
    const float a = range.level_of(infrared_count(p, top, left));
    const float b = range.level_of(infrared_count(p, top, right));
    const float c = range.level_of(infrared_count(p, bottom, left));
    const float d = range.level_of(infrared_count(p, bottom, right));
    return static_cast<int>(rintf((1.f - dy) * ((1.f - dx) * a + dx * b) + dy * ((1.f - dx) * c + dx * d)));
}

// A visible pixel: its luma, and what the fused picture needs of its colour: B G R, or U V in the last two.
struct Visible {
    int luma;
    unsigned char colour[3];
};

__device__ __forceinline__ Visible visible_at(const EdgeParameters& p, int y, int x) {
    const unsigned char* row = p.visible + static_cast<long long>(y) * p.visible_pitch;
    Visible seen = {0, {0, 0, 0}};
    if (p.visible_format == BGR) {
        for (int channel = 0; channel < 3; ++channel) seen.colour[channel] = LOAD(row + 3 * x + channel);
        seen.luma = luma_of(seen.colour[0], seen.colour[1], seen.colour[2]);
    } else if (p.visible_format == YUYV) {
        const uchar4 two = LOAD(reinterpret_cast<const uchar4*>(row) + (x >> 1));
        seen.luma = full_range(p, x & 1 ? two.z : two.x);
        seen.colour[1] = two.y;
        seen.colour[2] = two.w;
    } else {
        seen.luma = LOAD(row + x);
        if (p.visible_format == NV12) seen.luma = full_range(p, seen.luma);
    }
    return seen;
}

// Four neighbours in a row, whose first column is a multiple of 4, by whole words; all are in the picture.
__device__ __forceinline__ void visible_quad(const EdgeParameters& p, int y, int x, Visible (&seen)[4]) {
    const unsigned char* row = p.visible + static_cast<long long>(y) * p.visible_pitch;
    if (p.visible_format == BGR) {
        const unsigned* words = reinterpret_cast<const unsigned*>(row + 3 * x);
        const unsigned word[3] = {LOAD(words), LOAD(words + 1), LOAD(words + 2)};
#pragma unroll
        for (int index = 0; index < 12; ++index)
            seen[index / 3].colour[index % 3] = static_cast<unsigned char>(word[index / 4] >> (index % 4 * 8));
#pragma unroll
        for (int pixel = 0; pixel < 4; ++pixel)
            seen[pixel].luma = luma_of(seen[pixel].colour[0], seen[pixel].colour[1], seen[pixel].colour[2]);
    } else if (p.visible_format == YUYV) {
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
            const uchar4 two = LOAD(reinterpret_cast<const uchar4*>(row + 2 * x) + pair);
            seen[2 * pair] = {full_range(p, two.x), {0, two.y, two.w}};
            seen[2 * pair + 1] = {full_range(p, two.z), {0, two.y, two.w}};
        }
    } else {
        const unsigned word = LOAD(reinterpret_cast<const unsigned*>(row + x));
#pragma unroll
        for (int pixel = 0; pixel < 4; ++pixel) {
            const int luma = (word >> (8 * pixel)) & 255;
            seen[pixel] = {p.visible_format == NV12 ? full_range(p, luma) : luma, {0, 0, 0}};
        }
    }
}

// The infrared levels of the same four where nothing is warped.
__device__ __forceinline__ void infrared_quad(const EdgeParameters& p, const ThermalRange& range, int y, int x,
                                              int (&levels)[4]) {
    const unsigned char* row = p.infrared + static_cast<long long>(y) * p.infrared_pitch + x * p.infrared_bytes;
    const unsigned* words = reinterpret_cast<const unsigned*>(row);
    if (p.infrared_bytes == 1) {
        const unsigned word = LOAD(words);
#pragma unroll
        for (int pixel = 0; pixel < 4; ++pixel) levels[pixel] = range.level_of((word >> (8 * pixel)) & 255);
    } else {
        const unsigned word[2] = {LOAD(words), LOAD(words + 1)};
#pragma unroll
        for (int pixel = 0; pixel < 4; ++pixel) levels[pixel] = range.level_of((word[pixel / 2] >> (pixel % 2 * 16)) & 65535);
    }
}

// Whether rows can be read by whole words: where they begin on one.
__device__ __forceinline__ bool by_words(const void* plane, int pitch) {
    return ((reinterpret_cast<unsigned long long>(plane) | static_cast<unsigned>(pitch)) & 3) == 0;
}

// Infrared and visible of a tile and what is around it into shared memory; outside of the picture both are 0, which
// is what the stem's padding is.
template <class T>
__device__ __forceinline__ void load_tile(const EdgeParameters& p, const Place& place, unsigned char* shared) {
    const ThermalRange range(p);
    const int top = 2 * place.row - T::BEFORE, left = 2 * place.column - T::BEFORE;
    // Columns of groups of four that begin at multiples of 4 in the picture: 2 WIDTH is one, so all tiles do alike.
    constexpr int GROUPS = (T::INPUT_WIDTH + 3) / 4 + 1;
    const int from = (left >> 2) * 4;  // rounds down, below 0 as well
    const bool words = by_words(p.visible, p.visible_pitch) && by_words(p.infrared, p.infrared_pitch);
    for (int index = threadIdx.x; index < T::INPUT_HEIGHT * GROUPS; index += T::THREADS) {
        ITERATION();
        const int row = index / GROUPS, y = top + row, x = from + index % GROUPS * 4;
        if (x >= left + T::INPUT_WIDTH) continue;
        Visible seen[4] = {};
        int infrared[4] = {};
        const bool inside = y >= 0 && y < p.height;
        if (inside && words && x >= 0 && x + 3 < p.width) {
            visible_quad(p, y, x, seen);
            if (!p.warped) infrared_quad(p, range, y, x, infrared);
        } else if (inside) {
            for (int pixel = 0; pixel < 4; ++pixel) {
                if (x + pixel < 0 || x + pixel >= p.width) continue;
                seen[pixel] = visible_at(p, y, x + pixel);
                if (!p.warped) infrared[pixel] = infrared_level(p, range, y, x + pixel);
            }
        }
#pragma unroll
        for (int pixel = 0; pixel < 4; ++pixel) {
            const int column = x + pixel - left;
            if (column < 0 || column >= T::INPUT_WIDTH) continue;
            const bool there = inside && x + pixel >= 0 && x + pixel < p.width;
            if (there && p.warped) infrared[pixel] = infrared_level(p, range, y, x + pixel);
            // Where infrared does not see, both inputs are the visible luma: no network is to see an edge to nothing.
            if (there && p.share && LOAD(p.share + static_cast<long long>(y) * p.share_pitch + x + pixel) == 0)
                infrared[pixel] = seen[pixel].luma;
            unsigned char* pair = shared + T::INPUT + 2 * (row * T::INPUT_WIDTH + column);
            pair[0] = static_cast<unsigned char>(infrared[pixel]);
            pair[1] = static_cast<unsigned char>(seen[pixel].luma);
            const int own_row = row - T::BEFORE, own_column = column - T::BEFORE;
            if (own_row >= 0 && own_row < 2 * T::HEIGHT && own_column >= 0 && own_column < 2 * T::WIDTH)
                for (int channel = 0; channel < 3; ++channel)
                    shared[T::COLOUR + 3 * (own_row * 2 * T::WIDTH + own_column) + channel] = seen[pixel].colour[channel];
        }
    }
}

}  // namespace tdfusion
