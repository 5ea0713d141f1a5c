// The paper's fusion network F (tdfusion), block by block: two passes over memory a block and one small launch between.
//
// Source: TDFusion, CVPR 2025 (arXiv 2412.03240), section 3.3, whose blocks are Restormer's (arXiv 2111.09881). `gram`
// sums what attention needs over the picture, `fold` makes one small matrix of attention and projection, `apply` does
// the rest of the block. A block reads its features twice and writes them once. Both encoders go through one launch.
#include "apply.h"
#include "ends.h"

// KIND of block, rows and columns of a tile, blocks that should fit one multiprocessor together.
#define GRAM(NAME, KIND, HEIGHT, WIDTH, BLOCKS)                                                               \
    extern "C" __global__ void __launch_bounds__(256, BLOCKS)                                                 \
        gram_##NAME##_##HEIGHT##x##WIDTH(const tdfusion::GramParameters p) {                                  \
        tdfusion::restormer::gram<tdfusion::restormer::KIND, HEIGHT, WIDTH>(p);                               \
    }
#define APPLY(NAME, KIND, HEIGHT, WIDTH, BLOCKS)                                                              \
    extern "C" __global__ void __launch_bounds__(256, BLOCKS)                                                 \
        apply_##NAME##_##HEIGHT##x##WIDTH(const tdfusion::ApplyParameters p) {                                \
        tdfusion::restormer::apply<tdfusion::restormer::KIND, HEIGHT, WIDTH>(p);                              \
    }
#define FOLD(NAME, KIND)                                                                                      \
    extern "C" __global__ void __launch_bounds__(256) fold_##NAME(const tdfusion::FoldParameters p) {         \
        tdfusion::restormer::fold<tdfusion::restormer::KIND>(p);                                              \
    }

GRAM(encoder, Encoder, 16, 16, 2)
GRAM(decoder, Decoder, 8, 16, 2)
GRAM(merge, Merge, 8, 16, 2)
FOLD(encoder, Encoder)
FOLD(decoder, Decoder)
FOLD(merge, Merge)
APPLY(encoder, Encoder, 8, 16, 2)
APPLY(encoder, Encoder, 16, 16, 2)
APPLY(decoder, Decoder, 8, 16, 2)
APPLY(decoder, Decoder, 8, 8, 2)
APPLY(merge, Merge, 8, 16, 2)
APPLY(merge, Merge, 8, 8, 2)

extern "C" __global__ void __launch_bounds__(256) stem(const tdfusion::StemParameters p) {
    tdfusion::restormer::stem(p);
}
extern "C" __global__ void __launch_bounds__(256, 2) head_8x16(const tdfusion::HeadParameters p) {
    tdfusion::restormer::head<8, 16>(p);
}
