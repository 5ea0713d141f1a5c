// The fusion network `edge` and all that is around it, from the cameras' memory to the fused picture, in one launch.
//
// Source: our own network (train/models/edge.py). A block works on one tile after another: both pictures come into
// shared memory once, features and gains never leave it, and the picture goes out by whole words. The weights are
// staged once a block, so that as few blocks as fill the GPU are launched. Nothing is allocated and nothing waits.
#pragma once

#include "compose.h"

namespace tdfusion {

// All tiles of a picture; `load` brings the two pictures of one into shared memory.
template <class T, class Load>
__device__ __forceinline__ void edge_tiles(const EdgeParameters& p, unsigned char* shared, const Load& load) {
    for (int index = threadIdx.x; index < WEIGHT_BYTES / 16; index += T::THREADS) {
        ITERATION();
        reinterpret_cast<uint4*>(shared)[index] = LOAD(reinterpret_cast<const uint4*>(p.weights) + index);
    }
    Place place;
    place.cell_rows = (p.height + 1) / 2;
    place.cell_columns = (p.width + 1) / 2;
    const int across = (place.cell_columns + T::WIDTH - 1) / T::WIDTH;
    const int tiles = across * ((place.cell_rows + T::HEIGHT - 1) / T::HEIGHT);
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        place.row = tile / across * T::HEIGHT;
        place.column = tile % across * T::WIDTH;
        load(place);
        __syncthreads();
        stem<T>(shared, place);
        __syncthreads();
        first_layer<T>(shared, place);
        __syncthreads();
        gains<T>(shared);
        __syncthreads();
        compose<T>(p, place, shared);
        __syncthreads();
        store_tile<T>(p, place, shared);
    }
}

template <class T>
struct FromCameras {
    const EdgeParameters& p;
    unsigned char* shared;
    __device__ __forceinline__ void operator()(const Place& place) const { load_tile<T>(p, place, shared); }
};

template <class T>
__device__ __forceinline__ void edge(const EdgeParameters& p) {
    DYNAMIC_SHARED(shared);
    edge_tiles<T>(p, shared, FromCameras<T>{p, shared});
    if (p.histogram) measure<T>(p, shared);
}

}  // namespace tdfusion

// A kernel a tile: rows and columns of cells, and blocks that should fit one multiprocessor together.
#define EDGE(HEIGHT, WIDTH, WARPS, BLOCKS)                                                     \
    extern "C" __global__ void __launch_bounds__(32 * WARPS, BLOCKS)                           \
        edge_##HEIGHT##x##WIDTH(const tdfusion::EdgeParameters p) {                            \
        tdfusion::edge<tdfusion::Tile<HEIGHT, WIDTH, WARPS>>(p);                               \
    }

EDGE(16, 16, 8, 2)
EDGE(8, 32, 8, 2)
EDGE(16, 32, 8, 1)
