// Switching between the stacks of a block's threads, told to the address sanitizer where it looks on.
#pragma once

#include <cstddef>
#include <cstdlib>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#ifdef __x86_64__

// Registers that a call preserves go onto the one stack and come from the other.
extern "C" void switch_stacks(void** save, void* load);
asm(R"(
.text
.globl switch_stacks
.hidden switch_stacks
.type switch_stacks, @function
switch_stacks:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size switch_stacks, .-switch_stacks
)");

struct Stack {
    void* pointer = nullptr;
    void prepare(unsigned char* memory, std::size_t size, void (*start)()) {
        void** top = reinterpret_cast<void**>(memory + size) - 3;
        *--top = reinterpret_cast<void*>(start);  // where the first switch returns to: a multiple of 16, as before a call
        pointer = top - 6;
        for (int index = 0; index < 6; ++index) top[index - 6] = nullptr;
    }
    static void change(Stack& from, Stack& to) { switch_stacks(&from.pointer, to.pointer); }
};

#else

#include <ucontext.h>

struct Stack {
    ucontext_t context;
    void prepare(unsigned char* memory, std::size_t size, void (*start)()) {
        getcontext(&context);
        context.uc_stack.ss_sp = memory;
        context.uc_stack.ss_size = size;
        context.uc_link = nullptr;
        makecontext(&context, start, 0);
    }
    static void change(Stack& from, Stack& to) { swapcontext(&from.context, &to.context); }
};

#endif

struct Fibre {
    static constexpr std::size_t SIZE = 256 * 1024;
    Stack stack;
    unsigned char* memory = nullptr;
    void* sanitizer = nullptr;

    void prepare(void (*start)()) {
        if (!memory) memory = static_cast<unsigned char*>(std::aligned_alloc(4096, SIZE));
        sanitizer = nullptr;
        stack.prepare(memory, SIZE, start);
    }
};

// The thread that schedules, and the fibre that runs.
struct Switch {
    Stack main;
    void* main_sanitizer = nullptr;
    const void* main_bottom = nullptr;
    std::size_t main_size = 0;

    void enter(Fibre& fibre) {
#ifdef __SANITIZE_ADDRESS__
        __sanitizer_start_switch_fiber(&main_sanitizer, fibre.memory, Fibre::SIZE);
#endif
        Stack::change(main, fibre.stack);
#ifdef __SANITIZE_ADDRESS__
        __sanitizer_finish_switch_fiber(main_sanitizer, nullptr, nullptr);
#endif
    }
    void entered(Fibre& fibre) {
#ifdef __SANITIZE_ADDRESS__
        __sanitizer_finish_switch_fiber(fibre.sanitizer, &main_bottom, &main_size);
#else
        (void)fibre;
#endif
    }
    void leave(Fibre& fibre, bool for_ever) {
#ifdef __SANITIZE_ADDRESS__
        __sanitizer_start_switch_fiber(for_ever ? nullptr : &fibre.sanitizer, main_bottom, main_size);
#else
        (void)for_ever;
#endif
        Stack::change(fibre.stack, main);
        entered(fibre);
    }
};
