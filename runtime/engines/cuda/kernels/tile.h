// How a block's part of the picture lies in shared memory.
//
// A block makes the gains of HEIGHT x WIDTH cells, and so 2 HEIGHT x 2 WIDTH pixels. Interpolation, either 3x3
// convolution and the stem reach one cell further each, so that the stem's features are wanted 3 cells around.
#pragma once

#include "portable.h"

namespace tdfusion {

constexpr int CHANNELS = 16;
constexpr int PIXEL_BYTES = 2 * CHANNELS;

// Weights as weights.py packs them: B fragments of the tensor cores, a lane's words side by side.
constexpr int STEM_WEIGHTS = 0;                                      // 2 x 32 lanes x 2 words: taps 0 to 7
constexpr int STEM_LAST = STEM_WEIGHTS + 2 * 32 * 8;                 // 2 x 32 lanes x 1 word: tap 8
constexpr int BODY_WEIGHTS = STEM_LAST + 2 * 32 * 4;                 // 2 layers x 9 taps x 2 x 32 lanes x 2 words
constexpr int LAYER_BYTES = 9 * 2 * 32 * 8;
constexpr int HEAD_WEIGHTS = BODY_WEIGHTS + 2 * LAYER_BYTES;         // 32 lanes x 2 words
constexpr int BIASES = HEAD_WEIGHTS + 32 * 8;                        // floats: stem, two layers, head's 2, largest gain
constexpr int BIAS_FLOATS = 3 * CHANNELS + 4;
constexpr int WEIGHT_BYTES = BIASES + 4 * BIAS_FLOATS;
static_assert(WEIGHT_BYTES % 16 == 0, "weights are staged 16 bytes at a time");

template <int HEIGHT_, int WIDTH_, int WARPS_>
struct Tile {
    static constexpr int HEIGHT = HEIGHT_, WIDTH = WIDTH_, THREADS = 32 * WARPS_, WARPS = WARPS_;
    static constexpr int FIRST_HEIGHT = HEIGHT + 6, FIRST_WIDTH = WIDTH + 6;      // the stem's features
    static constexpr int SECOND_HEIGHT = HEIGHT + 4, SECOND_WIDTH = WIDTH + 4;    // those behind the first layer
    static constexpr int GAIN_HEIGHT = HEIGHT + 2, GAIN_WIDTH = WIDTH + 2;
    static constexpr int INPUT_HEIGHT = 2 * FIRST_HEIGHT + 1, INPUT_WIDTH = 2 * FIRST_WIDTH + 1;
    static constexpr int BEFORE = 7;  // pixels of the input above and left of the tile

    static constexpr int aligned(int bytes) { return (bytes + 15) / 16 * 16; }
    static constexpr int INPUT = aligned(WEIGHT_BYTES);  // infrared and visible luma, a byte each
    static constexpr int FIRST = INPUT + aligned(2 * INPUT_HEIGHT * INPUT_WIDTH);
    static constexpr int GAINS = FIRST;  // behind the second layer nobody reads the stem's features any more
    static constexpr int SECOND = FIRST + FIRST_HEIGHT * FIRST_WIDTH * PIXEL_BYTES;
    static constexpr int PICTURE = SECOND;  // nor, behind the gains, those of the first layer
    static constexpr int COLOUR = SECOND + SECOND_HEIGHT * SECOND_WIDTH * PIXEL_BYTES;
    static constexpr int LAST = COLOUR + 3 * 4 * HEIGHT * WIDTH;  // whether this block is the last one
    static constexpr int BYTES = LAST + 16;
};

// Where half `part` (8 channels) of a pixel's features lies. Neighbours four apart swap their halves, so that the
// 8 rows of a matrix lie in 32 different banks.
__device__ __forceinline__ int feature_offset(int pixel, int part) {
    return pixel * PIXEL_BYTES + ((part ^ ((pixel >> 2) & 1)) << 4);
}

// Which part of the picture a block works on.
struct Place {
    int row, column;                     // of the tile's first cell
    int cell_rows, cell_columns;         // of the picture
    __device__ __forceinline__ bool holds(int y, int x) const {
        return y >= 0 && y < cell_rows && x >= 0 && x < cell_columns;
    }
};

}  // namespace tdfusion
