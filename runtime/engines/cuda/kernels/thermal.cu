// The limits of the thermal range, from an infrared picture's counts: percentiles that follow the scene slowly and the
// steps of a camera's shutter at once. It is tdfusion_edge/runtime/picture/range.py for the modes `percentile` and
// `auto` of 16 bits, in one block; what it remembers stays on the device.
#include "parameters.h"
#include "portable.h"
#include "ranks.h"

namespace tdfusion {

constexpr int THERMAL_THREADS = 512, THERMAL_WARPS = THERMAL_THREADS / 32;
constexpr int PROFILE = 19, RANKS = PROFILE + 2;
// Where a state's floats stand; there are 3 + PROFILE.
constexpr int LOW = 0, HIGH = 1, BEGUN = 2, BEFORE = 3;
constexpr float SNAP_FRACTION = 0.5f, JUMP = 1.f / 128.f, LEAST_JUMP = 4.f, UNIFORM = 0.8f, UNIFORM_WITHIN = 0.2f;

struct Samples {
    const ThermalParameters& p;
    int across, count;

    __device__ __forceinline__ explicit Samples(const ThermalParameters& parameters)
        : p(parameters), across((p.width - 1) / p.sample_step + 1), count(across * ((p.height - 1) / p.sample_step + 1)) {}

    __device__ __forceinline__ int at(int index) const {
        const long long y = index / across * p.sample_step;
        const int x = index % across * p.sample_step;
        const unsigned char* row = p.infrared + y * p.pitch;
        if (p.bytes == 1) return LOAD(row + x);
        return LOAD(reinterpret_cast<const unsigned short*>(row) + x);
    }
};

struct Shared {
    unsigned coarse[256];
    unsigned fine[RANKS][256];
    int slot[256];             // which of `fine` counts a coarse bin
    int bin[RANKS];
    unsigned within[RANKS];
    float value[RANKS];        // low, high, profile
    float moved[PROFILE];
    float shift, low, high;    // limits after the shift
    unsigned outside;
};

// By how much all of the picture became warmer: the middle difference, where most are near it.
__device__ __forceinline__ void find_shift(const ThermalParameters& p, Shared& s) {
    const int lane = threadIdx.x & 31;
    const bool mine = lane < PROFILE;
    const float moved = mine ? s.value[2 + lane] - LOAD_FRESH(p.state + BEFORE + lane) : 0.f;
    if (mine) s.moved[lane] = moved;
    __syncwarp();
    int rank = 0;
    for (int other = 0; other < PROFILE; ++other)
        rank += s.moved[other] < moved || (s.moved[other] == moved && other < lane);
    const int middle = __ffs(__ballot_sync(0xffffffffu, mine && rank == PROFILE / 2)) - 1;
    const float shift = __shfl_sync(0xffffffffu, moved, middle);
    const unsigned near = __ballot_sync(0xffffffffu, mine && fabsf(moved - shift) <= UNIFORM_WITHIN * fabsf(shift));
    if (lane == 0) {
        const float low = LOAD_FRESH(p.state + LOW), high = LOAD_FRESH(p.state + HIGH);
        const float least = fmaxf(JUMP * (high - low), LEAST_JUMP);
        const bool jumps = fabsf(shift) >= least && __popc(near) >= UNIFORM * PROFILE;
        s.low = low + (jumps ? shift : 0.f);
        s.high = high + (jumps ? shift : 0.f);
        s.outside = 0;
    }
}

__device__ __forceinline__ void finish(const ThermalParameters& p, Shared& s, int count, bool begun) {
    const float grow = fmaxf(0.f, p.least_span - (s.value[1] - s.value[0])) / 2.f;
    float low = s.value[0] - grow, high = s.value[1] + grow;
    if (begun && s.outside <= SNAP_FRACTION * count) {
        const float share = LOAD_FRESH(p.elapsed_share);
        low = s.low + share * (low - s.low);
        high = s.high + share * (high - s.high);
    }
    STORE(p.state + LOW, low);
    STORE(p.state + HIGH, high);
    STORE(p.state + BEGUN, 1.f);
    for (int index = 0; index < PROFILE; ++index) {
        ITERATION();
        STORE(p.state + BEFORE + index, s.value[2 + index]);
    }
    const float gain = 255.f / (high - low);
    STORE(p.thermal, gain);
    STORE(p.thermal + 1, -low * gain);
}

__device__ __forceinline__ void thermal_limits(const ThermalParameters& p) {
    DYNAMIC_SHARED(memory);
    Shared& s = *reinterpret_cast<Shared*>(memory);
    const Samples samples(p);
    const int warp = threadIdx.x / 32;
    const bool begun = LOAD_FRESH(p.state + BEGUN) != 0.f;  // read here: behind the last barrier it is written
    for (int index = threadIdx.x; index < 256; index += THERMAL_THREADS) {
        s.coarse[index] = 0;
        s.slot[index] = RANKS;
    }
    for (int index = threadIdx.x; index < RANKS * 256; index += THERMAL_THREADS) s.fine[index / 256][index % 256] = 0;
    __syncthreads();
    for (int index = threadIdx.x; index < samples.count; index += THERMAL_THREADS) {
        ITERATION();
        atomicAdd(&s.coarse[samples.at(index) >> 8], 1u);
    }
    __syncthreads();
    for (int index = warp; index < RANKS; index += THERMAL_WARPS) {
        const int rank = index == 0 ? p.low_rank : index == 1 ? p.high_rank : p.profile_ranks[index - 2];
        int bin;
        unsigned within;
        find(s.coarse, rank, bin, within);
        if ((threadIdx.x & 31) == 0) {
            s.bin[index] = bin;
            s.within[index] = within;
            atomicMin(&s.slot[bin], index);
        }
    }
    __syncthreads();
    for (int index = threadIdx.x; index < samples.count; index += THERMAL_THREADS) {
        ITERATION();
        const int value = samples.at(index), slot = s.slot[value >> 8];
        if (slot < RANKS) atomicAdd(&s.fine[slot][value & 255], 1u);
    }
    __syncthreads();
    for (int index = warp; index < RANKS; index += THERMAL_WARPS) {
        int bin;
        unsigned within;
        find(s.fine[s.slot[s.bin[index]]], s.within[index], bin, within);
        if ((threadIdx.x & 31) == 0) s.value[index] = static_cast<float>(s.bin[index] * 256 + bin);
    }
    __syncthreads();
    if (begun) {
        if (warp == 0) find_shift(p, s);
        __syncthreads();
        unsigned outside = 0;
        for (int index = threadIdx.x; index < samples.count; index += THERMAL_THREADS) {
            ITERATION();
            const float value = static_cast<float>(samples.at(index));
            outside += value < s.low || value > s.high;
        }
        atomicAdd(&s.outside, outside);
        __syncthreads();
    }
    if (threadIdx.x == 0) finish(p, s, samples.count, begun);
}

}  // namespace tdfusion

extern "C" __global__ void __launch_bounds__(tdfusion::THERMAL_THREADS) thermal(const tdfusion::ThermalParameters p) {
    tdfusion::thermal_limits(p);
}
