// The fusion network `edge` between tensors of another library: two float32 lumas in, the fused one out.
//
// A plugin of TensorRT launches it. There are two of the same: one takes its parameters as the rest of our kernels do,
// the other side by side, as TensorRT passes them where it launches by itself. One tile shape, whose shared memory no
// GPU has to be asked for.
#include "edge.cu"

namespace tdfusion {

using UnitTile = Tile<16, 16, 8>;

struct FromUnits {
    const UnitParameters& p;
    unsigned char* shared;

    __device__ __forceinline__ void operator()(const Place& place) const {
        using T = UnitTile;
        const int top = 2 * place.row - T::BEFORE, left = 2 * place.column - T::BEFORE;
        for (int index = threadIdx.x; index < T::INPUT_HEIGHT * T::INPUT_WIDTH; index += T::THREADS) {
            ITERATION();
            const int y = top + index / T::INPUT_WIDTH, x = left + index % T::INPUT_WIDTH;
            int infrared = 0, visible = 0;
            if (y >= 0 && y < p.height && x >= 0 && x < p.width) {
                const long long at = static_cast<long long>(y) * p.width + x;
                infrared = level(255.f * LOAD_FRESH(p.infrared + at));
                visible = level(255.f * LOAD_FRESH(p.visible + at));
            }
            shared[T::INPUT + 2 * index] = static_cast<unsigned char>(infrared);
            shared[T::INPUT + 2 * index + 1] = static_cast<unsigned char>(visible);
        }
    }
};

__device__ __forceinline__ void fuse_units(const UnitParameters& p) {
    DYNAMIC_SHARED(shared);
    EdgeParameters whole = {};
    whole.width = p.width;
    whole.height = p.height;
    whole.weights = p.weights;
    whole.luma = p.fused;
    edge_tiles<UnitTile>(whole, shared, FromUnits{p, shared});
}

}  // namespace tdfusion

extern "C" __global__ void __launch_bounds__(256, 2) edge_unit(const tdfusion::UnitParameters p) {
    tdfusion::fuse_units(p);
}

extern "C" __global__ void __launch_bounds__(256, 2)
    edge_unit_plain(const float* infrared, const float* visible, const unsigned char* weights, int height, int width,
                    float* fused) {
    tdfusion::fuse_units({infrared, visible, weights, fused, height, width});
}
