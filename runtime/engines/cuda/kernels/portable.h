// What the kernels need of a GPU, in one place: halves, tensor cores, loads and stores of global memory.
//
// nvcc sees CUDA here. Any other compiler sees "emulation.h", which has the same names on a CPU, so that one
// source is compiled for the GPU, checked under sanitizers and asked how many bytes it moves.
#pragma once

#ifdef __CUDACC__

#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#define ITERATION()
#define LOAD(pointer) __ldg(pointer)
#define STORE(pointer, value) (*(pointer) = (value))
#define LOAD_FRESH(pointer) __ldcg(pointer)
#define ATOMIC_ADD(pointer, value) atomicAdd(pointer, value)

#if __CUDA_ARCH__ >= 800
#define TENSOR_CORES 1
#else
#define TENSOR_CORES 0
#endif

namespace tdfusion {

// Two floats as halves in one word, rounded to nearest even; `low` takes the lower 16 bits.
__device__ __forceinline__ unsigned pack_halves(float low, float high) {
    unsigned both;
#if TENSOR_CORES
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
#else
    asm("{.reg .b16 l, h; cvt.rn.f16.f32 l, %1; cvt.rn.f16.f32 h, %2; mov.b32 %0, {l, h};}"
        : "=r"(both) : "f"(low), "f"(high));
#endif
    return both;
}

__device__ __forceinline__ float low_half(unsigned both) {
    float value;
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, l;}" : "=f"(value) : "r"(both));
    return value;
}

__device__ __forceinline__ float high_half(unsigned both) {
    float value;
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, h;}" : "=f"(value) : "r"(both));
    return value;
}

__device__ __forceinline__ float exponential(float x) { return __expf(x); }
__device__ __forceinline__ float error_function(float x) { return erff(x); }

#if TENSOR_CORES
// d += a b for a 16x16 and a 16x8 matrix of halves, accumulated in float (PTX ISA, mma.m16n8k16).
// Lane l has g = l / 4 and t = l % 4. a: rows g, g+8, g, g+8, columns 2t, 2t, 2t+8, 2t+8 (and the next one);
// b: rows 2t and 2t+8 (and the next one), column g; d: rows g, g, g+8, g+8, columns 2t, 2t+1, 2t, 2t+1.
__device__ __forceinline__ void multiply_16x8x16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same for 16x8 and 8x8: a: rows g and g+8, columns 2t; b: row 2t, column g.
__device__ __forceinline__ void multiply_16x8x8(float (&d)[4], const unsigned (&a)[2], unsigned b0) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b0));
}

// Four 8x8 matrices of halves; lane l gives the address of row l % 8 of matrix l / 8, 16 bytes of shared memory.
__device__ __forceinline__ void load_matrices(unsigned (&a)[4], const unsigned char* row) {
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(address)
                 : "memory");
}
#endif

}  // namespace tdfusion

#else
#include "emulation.h"
#endif
