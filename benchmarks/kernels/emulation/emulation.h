// The kernels' GPU on a CPU: every thread of a block is a fibre, and a warp's instructions happen when all 32 are there.
//
// What portable.h has of CUDA stands here under the same names. Halves are rounded in integers, products of matrices
// follow the fragments that the PTX ISA draws. Loads and stores of global memory are counted.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define DYNAMIC_SHARED(name) unsigned char* name = emulation::shared_memory()
#define ITERATION() emulation::next_iteration()
#define LOAD(pointer) emulation::load(pointer, __COUNTER__)
#define LOAD_FRESH(pointer) emulation::load(pointer, __COUNTER__)
#define STORE(pointer, value) emulation::store(pointer, value, __COUNTER__)
#define ATOMIC_ADD(pointer, value) emulation::count_and_add(pointer, value, __COUNTER__)

#ifndef TENSOR_CORES
#define TENSOR_CORES 1
#endif

struct uchar2 { unsigned char x, y; } __attribute__((aligned(2)));
struct uchar4 { unsigned char x, y, z, w; } __attribute__((aligned(4)));
struct uint2 { unsigned x, y; } __attribute__((aligned(8)));
struct uint4 { unsigned x, y, z, w; } __attribute__((aligned(16)));
struct float2 { float x, y; } __attribute__((aligned(8)));
struct uint3 { unsigned x, y, z; };

inline uchar2 make_uchar2(int x, int y) { return {static_cast<unsigned char>(x), static_cast<unsigned char>(y)}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }

namespace emulation {

enum class Operation { NONE, BARRIER, WARP_BARRIER, SHUFFLE, SHUFFLE_UP, BALLOT, MULTIPLY_16, MULTIPLY_8, LOAD_MATRICES };

struct Exchange {  // what a lane brings to an operation of its warp, and what it takes from it
    unsigned word[6];
    float* sums;
    const unsigned char* row;
    unsigned value, result, argument;
    unsigned matrices[4];
};

enum class Access { LOAD, STORE };

unsigned char* shared_memory();
const uint3& thread_index();
const uint3& block_index();
const uint3& grid_size();
void next_iteration();
void meet(Operation operation, Exchange* exchange);
void touch(Access access, const void* address, unsigned bytes, unsigned site);

template <class Value>
inline Value load(const Value* pointer, unsigned site) {
    touch(Access::LOAD, pointer, sizeof(Value), site);
    return *pointer;
}

template <class Value, class Given>
inline void store(Value* pointer, Given value, unsigned site) {
    touch(Access::STORE, pointer, sizeof(Value), site);
    *pointer = value;
}

inline unsigned count_and_add(unsigned* pointer, unsigned value, unsigned site) {
    touch(Access::STORE, pointer, sizeof(unsigned), site);
    const unsigned before = *pointer;
    *pointer = before + value;
    return before;
}

// A half's 16 bits from a float: nearest, ties to even.
inline std::uint16_t half_bits(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const std::uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
    if (bits >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
    const int exponent = static_cast<int>(bits >> 23) - 112;  // of a half; below 1 it is subnormal
    const std::uint32_t mantissa = (bits & 0x7fffffu) | 0x800000u;
    const int shift = exponent >= 1 ? 13 : 14 - exponent;
    if (shift > 25) return static_cast<std::uint16_t>(sign);
    const std::uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
    std::uint32_t result = exponent >= 1 ? (static_cast<std::uint32_t>(exponent - 1) << 10) + kept : kept;
    result += rest > half || (rest == half && (result & 1));
    return static_cast<std::uint16_t>(sign | result);
}

inline float half_value(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    const int exponent = half >> 10 & 31;
    const std::uint32_t mantissa = half & 0x3ffu;
    if (exponent == 0) {
        const float value = static_cast<float>(mantissa) * 0x1p-24f;
        return sign ? -value : value;
    }
    const std::uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : static_cast<std::uint32_t>(exponent + 112) << 23) | mantissa << 13;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

}  // namespace emulation

#define threadIdx (emulation::thread_index())
#define blockIdx (emulation::block_index())
#define gridDim (emulation::grid_size())

inline void __syncthreads() { emulation::meet(emulation::Operation::BARRIER, nullptr); }
inline void __syncwarp() { emulation::meet(emulation::Operation::WARP_BARRIER, nullptr); }
inline void __threadfence() {}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }

inline unsigned atomicAdd(unsigned* pointer, unsigned value) {
    const unsigned before = *pointer;
    *pointer = before + value;
    return before;
}

template <class Value>
inline Value atomicMin(Value* pointer, Value value) {
    const Value before = *pointer;
    if (value < before) *pointer = value;
    return before;
}

template <class Value>
inline Value atomicMax(Value* pointer, Value value) {
    const Value before = *pointer;
    if (value > before) *pointer = value;
    return before;
}

inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

template <class Value>
inline Value emulated_shuffle(emulation::Operation operation, Value value, unsigned argument) {
    static_assert(sizeof(Value) == 4, "a shuffle moves a word");
    emulation::Exchange exchange = {};
    std::memcpy(&exchange.value, &value, 4);
    exchange.argument = argument;
    emulation::meet(operation, &exchange);
    std::memcpy(&value, &exchange.result, 4);
    return value;
}

template <class Value>
inline Value __shfl_sync(unsigned, Value value, int lane) {
    return emulated_shuffle(emulation::Operation::SHUFFLE, value, static_cast<unsigned>(lane));
}

template <class Value>
inline Value __shfl_xor_sync(unsigned mask, Value value, int step) {
    return __shfl_sync(mask, value, static_cast<int>(threadIdx.x & 31) ^ step);
}

template <class Value>
inline Value __shfl_up_sync(unsigned, Value value, unsigned step) {
    return emulated_shuffle(emulation::Operation::SHUFFLE_UP, value, step);
}

inline unsigned __ballot_sync(unsigned, bool set) {
    return emulated_shuffle(emulation::Operation::BALLOT, static_cast<unsigned>(set), 0u);
}

namespace tdfusion {

inline unsigned pack_halves(float low, float high) {
    return emulation::half_bits(low) | static_cast<unsigned>(emulation::half_bits(high)) << 16;
}
inline float low_half(unsigned both) { return emulation::half_value(static_cast<std::uint16_t>(both)); }
inline float high_half(unsigned both) { return emulation::half_value(static_cast<std::uint16_t>(both >> 16)); }
inline float exponential(float x) { return std::exp(x); }
inline float error_function(float x) { return std::erf(x); }

inline void multiply_16x8x16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    emulation::Exchange exchange = {};
    std::memcpy(exchange.word, a, sizeof a);
    exchange.word[4] = b0;
    exchange.word[5] = b1;
    exchange.sums = d;
    emulation::meet(emulation::Operation::MULTIPLY_16, &exchange);
}

inline void multiply_16x8x8(float (&d)[4], const unsigned (&a)[2], unsigned b0) {
    emulation::Exchange exchange = {};
    std::memcpy(exchange.word, a, sizeof a);
    exchange.word[4] = b0;
    exchange.sums = d;
    emulation::meet(emulation::Operation::MULTIPLY_8, &exchange);
}

inline void load_matrices(unsigned (&a)[4], const unsigned char* row) {
    emulation::Exchange exchange = {};
    exchange.row = row;
    emulation::meet(emulation::Operation::LOAD_MATRICES, &exchange);
    std::memcpy(a, exchange.matrices, sizeof a);
}

}  // namespace tdfusion
