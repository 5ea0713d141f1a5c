// What a detector sees of the fused picture: luma, the visible picture's chroma, and infrared, at the detector's size.
//
// The weights come from the CPU, which has them from the one way in which this project makes pictures smaller
// (tdfusion_edge/resize.py). Chroma is rounded to 8 bits a pixel as in tdfusion_edge/color.py, and never after that.
#include "camera.h"

namespace tdfusion {

constexpr int SHRINK_THREADS = 256;
constexpr float NEUTRAL_CHROMA = 128.f / 255.f;

// Cr and Cb around 128 as OpenCV rounds them: 0.713 and 0.564 in 1/16384, against a luma in 1/16384.
__device__ __forceinline__ void chroma_of(const unsigned char* pixel, float& cr, float& cb) {
    const int blue = LOAD(pixel), green = LOAD(pixel + 1), red = LOAD(pixel + 2);
    const int coarse = (1868 * blue + 9617 * green + 4899 * red + 8192) >> 14;
    cr = static_cast<float>(clamped(((red - coarse) * 11682 + (128 << 14) + 8192) >> 14, 0, 255));
    cb = static_cast<float>(clamped(((blue - coarse) * 9241 + (128 << 14) + 8192) >> 14, 0, 255));
}

__device__ __forceinline__ void shrink_picture(const ShrinkParameters& p) {
    const int count = p.seen_width * p.seen_height;
    for (int index = blockIdx.x * SHRINK_THREADS + threadIdx.x; index < count; index += gridDim.x * SHRINK_THREADS) {
        ITERATION();
        const int row = index / p.seen_width, column = index % p.seen_width;
        const int top = LOAD(p.row_first + row), left = LOAD(p.column_first + column);
        float luma = 0.f, cr = 0.f, cb = 0.f, infrared = 0.f;
        for (int i = 0; i < p.row_taps; ++i) {
            const float down = LOAD(p.row_weights + row * p.row_taps + i);
            for (int j = 0; j < p.column_taps; ++j) {
                ITERATION();
                const float weight = down * LOAD(p.column_weights + column * p.column_taps + j);
                const long long y = top + i, x = left + j;
                luma += weight * LOAD(p.luma + y * p.width + x);
                if (p.seen_infrared) infrared += weight * static_cast<float>(LOAD(p.aligned + y * p.width + x));
                if (p.seen_chroma && p.visible) {
                    float own_cr, own_cb;
                    chroma_of(p.visible + y * p.visible_pitch + 3 * x, own_cr, own_cb);
                    cr += weight * own_cr;
                    cb += weight * own_cb;
                }
            }
        }
        STORE(p.seen + index, luma);
        if (p.seen_infrared) STORE(p.seen_infrared + index, infrared * (1.f / 255.f));
        if (p.seen_chroma) {
            STORE(p.seen_chroma + index, p.visible ? cr * (1.f / 255.f) : NEUTRAL_CHROMA);
            STORE(p.seen_chroma + count + index, p.visible ? cb * (1.f / 255.f) : NEUTRAL_CHROMA);
        }
    }
}

}  // namespace tdfusion

extern "C" __global__ void __launch_bounds__(tdfusion::SHRINK_THREADS) shrink(const tdfusion::ShrinkParameters p) {
    tdfusion::shrink_picture(p);
}
