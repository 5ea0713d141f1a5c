// Runs blocks of fibres, and counts what they move. Built with the kernels as one library, or as one program.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fibres.h"
// What one build holds: compilers take their time.
#if RESTORMER
#include "restormer.cu"
#else
#include "kernels.cu"
#endif

namespace emulation {

constexpr unsigned WARP = 32, SECTOR = 32, POISON = 0xff;

struct Lane {
    Fibre fibre;
    uint3 index;
    Operation operation;
    Exchange* exchange;
    bool finished;
    unsigned long long iteration;
};

struct Traffic {
    unsigned long long bytes[2], sectors[2], once[2];  // loads, stores
    unsigned long long matrices, passes;               // of load_matrices, and how often its banks had to be asked
};

struct Run {
    std::vector<Lane> lanes;
    Lane* current = nullptr;
    Switch switching;
    std::vector<unsigned char> guard;
    unsigned char* shared = nullptr;
    uint3 block, grid;
    void (*body)() = nullptr;
    std::string failure;
    unsigned long long phase = 0;
    Traffic traffic = {};
    std::unordered_set<unsigned long long> seen[2];
    std::unordered_map<unsigned long long, std::unordered_set<unsigned long long>> requests[2];
};

static Run run;

unsigned char* shared_memory() { return run.shared; }
const uint3& thread_index() { return run.current->index; }
const uint3& block_index() { return run.block; }
const uint3& grid_size() { return run.grid; }
void next_iteration() { ++run.current->iteration; }

void meet(Operation operation, Exchange* exchange) {
    Lane& lane = *run.current;
    lane.operation = operation;
    lane.exchange = exchange;
    run.switching.leave(lane.fibre, false);
}

// An instruction of a warp moves every sector once, whichever lanes ask for it.
void touch(Access access, const void* address, unsigned bytes, unsigned site) {
    const int kind = static_cast<int>(access);
    const unsigned long long first = reinterpret_cast<unsigned long long>(address);
    const unsigned long long key =
        (run.current->iteration * 4096 + site) * 64 + run.current->index.x / WARP;
    run.traffic.bytes[kind] += bytes;
    for (unsigned long long sector = first / SECTOR; sector <= (first + bytes - 1) / SECTOR; ++sector) {
        run.requests[kind][key].insert(sector);
        run.seen[kind].insert(sector);
    }
}

static void end_phase() {
    for (int kind = 0; kind < 2; ++kind) {
        for (const auto& request : run.requests[kind]) run.traffic.sectors[kind] += request.second.size();
        run.requests[kind].clear();
    }
    run.phase += 1ull << 20;
    for (Lane& lane : run.lanes) lane.iteration = run.phase;
}

static float half_of(unsigned word, unsigned part) { return half_value(static_cast<std::uint16_t>(word >> (16 * part))); }

// mma.m16n8k16 and .m16n8k8: what lane l holds of A, B and D follows PTX ISA, "Matrix Fragments for mma".
static void multiply(Lane* warp, unsigned depth) {
    float a[16][16], b[16][8];
    for (unsigned lane = 0; lane < WARP; ++lane) {
        const Exchange& given = *warp[lane].exchange;
        const unsigned group = lane / 4, thread = lane % 4;
        for (unsigned part = 0; part < 2; ++part) {
            for (unsigned word = 0; word < depth / 4; ++word)
                a[group + 8 * (word % 2)][2 * thread + part + 8 * (word / 2)] = half_of(given.word[word], part);
            for (unsigned word = 0; word < depth / 8; ++word)
                b[2 * thread + part + 8 * word][group] = half_of(given.word[4 + word], part);
        }
    }
    for (unsigned lane = 0; lane < WARP; ++lane)
        for (unsigned index = 0; index < 4; ++index) {
            const unsigned row = lane / 4 + 8 * (index / 2), column = lane % 4 * 2 + index % 2;
            double sum = warp[lane].exchange->sums[index];
            for (unsigned k = 0; k < depth; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
            warp[lane].exchange->sums[index] = static_cast<float>(sum);
        }
}

// Shared memory gives 32 banks of 4 bytes at a time: eight rows of 16 bytes, if each lies in banks of its own.
static void count_passes(Lane* warp) {
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
        std::unordered_set<const unsigned char*> rows[8];
        std::size_t most = 0;
        for (unsigned row = 0; row < 8; ++row) {
            const unsigned char* at = warp[matrix * 8 + row].exchange->row;
            auto& same = rows[(at - run.shared) / 16 % 8];
            same.insert(at);
            most = same.size() > most ? same.size() : most;
        }
        ++run.traffic.matrices;
        run.traffic.passes += most;
    }
}

static void load_matrices(Lane* warp) {
    count_passes(warp);
    for (unsigned lane = 0; lane < WARP; ++lane)
        for (unsigned matrix = 0; matrix < 4; ++matrix)
            std::memcpy(&warp[lane].exchange->matrices[matrix],
                        warp[matrix * 8 + lane / 4].exchange->row + lane % 4 * 4, 4);
}

static void shuffle(Lane* warp, Operation operation) {
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < WARP; ++lane) ballot |= (warp[lane].exchange->value != 0) << lane;
    for (unsigned lane = 0; lane < WARP; ++lane) {
        Exchange& own = *warp[lane].exchange;
        const unsigned step = own.argument;
        if (operation == Operation::BALLOT)
            own.result = ballot;
        else if (operation == Operation::SHUFFLE)
            own.result = warp[step % WARP].exchange->value;
        else
            own.result = lane < step ? own.value : warp[lane - step].exchange->value;
    }
}

static void together(Lane* warp) {
    const Operation operation = warp[0].operation;
    for (unsigned lane = 0; lane < WARP; ++lane)
        if (warp[lane].finished || warp[lane].operation != operation)
            throw std::runtime_error("the lanes of a warp wait for different things, or have ended");
    if (operation == Operation::MULTIPLY_16) multiply(warp, 16);
    if (operation == Operation::MULTIPLY_8) multiply(warp, 8);
    if (operation == Operation::LOAD_MATRICES) load_matrices(warp);
    if (operation >= Operation::SHUFFLE && operation <= Operation::BALLOT) shuffle(warp, operation);
    for (unsigned lane = 0; lane < WARP; ++lane) warp[lane].operation = Operation::NONE;
}

static void start_lane() {
    run.switching.entered(run.current->fibre);
    run.body();
    run.current->finished = true;
    run.switching.leave(run.current->fibre, true);
}

// One warp until it waits for the block or is done.
static void run_warp(Lane* warp, bool backwards) {
    for (;;) {
        unsigned finished = 0, waiting = 0;
        for (unsigned step = 0; step < WARP; ++step) {
            Lane& lane = warp[backwards ? WARP - 1 - step : step];
            if (!lane.finished && lane.operation == Operation::NONE) {
                run.current = &lane;
                run.switching.enter(lane.fibre);
            }
            finished += lane.finished;
            waiting += !lane.finished && lane.operation == Operation::BARRIER;
        }
        if (finished == WARP || waiting == WARP) return;
        together(warp);
    }
}

// All warps from barrier to barrier; in the other order a missing barrier gives another picture.
static void run_block(bool backwards) {
    const unsigned warps = run.lanes.size() / WARP;
    for (Lane& lane : run.lanes) {
        lane.finished = false;
        lane.operation = Operation::NONE;
        lane.fibre.prepare(start_lane);
    }
    for (;;) {
        unsigned finished = 0;
        for (unsigned step = 0; step < warps; ++step)
            run_warp(&run.lanes[(backwards ? warps - 1 - step : step) * WARP], backwards);
        for (const Lane& lane : run.lanes) finished += lane.finished;
        end_phase();
        if (finished == run.lanes.size()) return;
        if (finished) throw std::runtime_error("a part of the block waits at a barrier, the rest has finished");
        for (Lane& lane : run.lanes) lane.operation = Operation::NONE;
    }
}

struct Kernel {
    const char* name;
    std::size_t parameters;
    unsigned threads, shared;
    void (*body)();
};

static const void* given;

#if RESTORMER

#define BLOCK_KERNEL(PASS, PARAMETERS, TILE, NAME, KIND, HEIGHT, WIDTH)                                       \
    {#PASS "_" #NAME "_" #HEIGHT "x" #WIDTH, sizeof(tdfusion::PARAMETERS), tdfusion::restormer::THREADS,     \
     tdfusion::restormer::TILE<tdfusion::restormer::KIND, HEIGHT, WIDTH>::BYTES,                             \
     [] { PASS##_##NAME##_##HEIGHT##x##WIDTH(*static_cast<const tdfusion::PARAMETERS*>(given)); }}
#define GRAM_KERNEL(NAME, KIND, HEIGHT, WIDTH) BLOCK_KERNEL(gram, GramParameters, GramTile, NAME, KIND, HEIGHT, WIDTH)
#define APPLY_KERNEL(NAME, KIND, HEIGHT, WIDTH) BLOCK_KERNEL(apply, ApplyParameters, ApplyTile, NAME, KIND, HEIGHT, WIDTH)
#define FOLD_KERNEL(NAME, KIND)                                                        \
    {"fold_" #NAME, sizeof(tdfusion::FoldParameters), tdfusion::restormer::THREADS,    \
     tdfusion::restormer::FoldShared<tdfusion::restormer::KIND>::BYTES,                \
     [] { fold_##NAME(*static_cast<const tdfusion::FoldParameters*>(given)); }}

static const Kernel KERNELS[] = {
    GRAM_KERNEL(encoder, Encoder, 16, 16),
    GRAM_KERNEL(decoder, Decoder, 8, 16),
    GRAM_KERNEL(merge, Merge, 8, 16),
    APPLY_KERNEL(encoder, Encoder, 8, 16),
    APPLY_KERNEL(encoder, Encoder, 16, 16),
    APPLY_KERNEL(decoder, Decoder, 8, 8),
    APPLY_KERNEL(decoder, Decoder, 8, 16),
    APPLY_KERNEL(merge, Merge, 8, 8),
    APPLY_KERNEL(merge, Merge, 8, 16),
    FOLD_KERNEL(encoder, Encoder),
    FOLD_KERNEL(decoder, Decoder),
    FOLD_KERNEL(merge, Merge),
    {"stem", sizeof(tdfusion::StemParameters), tdfusion::restormer::THREADS, 8 * tdfusion::restormer::STEM_FLOATS,
     [] { stem(*static_cast<const tdfusion::StemParameters*>(given)); }},
    {"head_8x16", sizeof(tdfusion::HeadParameters), tdfusion::restormer::THREADS,
     tdfusion::restormer::HeadTile<8, 16>::BYTES,
     [] { head_8x16(*static_cast<const tdfusion::HeadParameters*>(given)); }},
};

#else

#define EDGE_KERNEL(HEIGHT, WIDTH)                                                                         \
    {"edge_" #HEIGHT "x" #WIDTH, sizeof(tdfusion::EdgeParameters), tdfusion::Tile<HEIGHT, WIDTH, 8>::THREADS, \
     tdfusion::Tile<HEIGHT, WIDTH, 8>::BYTES,                                                              \
     [] { edge_##HEIGHT##x##WIDTH(*static_cast<const tdfusion::EdgeParameters*>(given)); }}

static const Kernel KERNELS[] = {
    EDGE_KERNEL(16, 16),
    EDGE_KERNEL(8, 32),
    EDGE_KERNEL(16, 32),
    {"thermal", sizeof(tdfusion::ThermalParameters), tdfusion::THERMAL_THREADS, sizeof(tdfusion::Shared),
     [] { thermal(*static_cast<const tdfusion::ThermalParameters*>(given)); }},
    {"edge_unit", sizeof(tdfusion::UnitParameters), tdfusion::UnitTile::THREADS, tdfusion::UnitTile::BYTES,
     [] { edge_unit(*static_cast<const tdfusion::UnitParameters*>(given)); }},
    {"edge_unit_plain", sizeof(tdfusion::UnitParameters), tdfusion::UnitTile::THREADS, tdfusion::UnitTile::BYTES,
     [] {
         const auto& p = *static_cast<const tdfusion::UnitParameters*>(given);
         edge_unit_plain(p.infrared, p.visible, p.weights, p.height, p.width, p.fused);
     }},
    {"shrink", sizeof(tdfusion::ShrinkParameters), tdfusion::SHRINK_THREADS, 0,
     [] { shrink(*static_cast<const tdfusion::ShrinkParameters*>(given)); }},
    {"boxes", sizeof(tdfusion::BoxesParameters), tdfusion::BOXES_THREADS, sizeof(tdfusion::BoxesShared),
     [] { boxes(*static_cast<const tdfusion::BoxesParameters*>(given)); }},
};

#endif

static void launch(const char* name, unsigned blocks, unsigned threads, unsigned shared, const void* parameters,
                   std::size_t size, bool backwards) {
    const Kernel* kernel = nullptr;
    for (const Kernel& one : KERNELS)
        if (!std::strcmp(one.name, name)) kernel = &one;
    if (!kernel) throw std::runtime_error("named symbol not found");
    if (size != kernel->parameters || threads != kernel->threads || shared != kernel->shared || !blocks)
        throw std::runtime_error("invalid argument: " + std::to_string(size) + " bytes of parameters, " + std::to_string(threads) +
                                 " threads, " + std::to_string(shared) + " bytes shared; the kernel has " +
                                 std::to_string(kernel->parameters) + ", " + std::to_string(kernel->threads) + ", " +
                                 std::to_string(kernel->shared));
    given = parameters;
    run.body = kernel->body;
    run.grid = {blocks, 1, 1};
    run.lanes.resize(threads);
    for (unsigned thread = 0; thread < threads; ++thread) run.lanes[thread].index = {thread, 0, 0};
    run.traffic = {};
    for (auto& seen : run.seen) seen.clear();
    for (unsigned step = 0; step < blocks; ++step) {
        run.block = {backwards ? blocks - 1 - step : step, 0, 0};
        // As much as was asked for and no more, and no zeros in it.
        run.shared = static_cast<unsigned char*>(std::aligned_alloc(16, (shared + 15) / 16 * 16));
        std::memset(run.shared, POISON, shared);
        run_block(backwards);
        std::free(run.shared);
    }
    for (int kind = 0; kind < 2; ++kind) run.traffic.once[kind] = run.seen[kind].size();
}

}  // namespace emulation

extern "C" int emulated_launch(const char* name, unsigned blocks, unsigned threads, unsigned shared, const void* parameters,
                               std::size_t size, int backwards, char* error, std::size_t error_size) {
    try {
        emulation::launch(name, blocks, threads, shared, parameters, size, backwards != 0);
        return 0;
    } catch (const std::exception& failure) {
        std::snprintf(error, error_size, "%s", failure.what());
        return 1;
    }
}

// Bytes that instructions asked for, sectors of 32 bytes that warps asked for, sectors that the launch touched at all;
// each of loads and of stores. Then matrices that were loaded from shared memory, and in how many passes.
extern "C" void emulated_traffic(unsigned long long* figures) {
    std::memcpy(figures, &emulation::run.traffic, sizeof emulation::run.traffic);
}

extern "C" unsigned emulated_half(float value) { return emulation::half_bits(value); }
extern "C" float emulated_value(unsigned half) { return emulation::half_value(static_cast<std::uint16_t>(half)); }

#ifdef PROGRAM
// Launches that stand in a file: each buffer is as long as it is and lies alone, so that the sanitizers see its end.
static bool read_all(std::FILE* file, void* to, std::size_t size) { return std::fread(to, 1, size, file) == size; }

struct Header {
    char name[32];
    unsigned blocks, threads, shared, backwards, size, buffers;
};

struct Buffer {
    unsigned field;  // where in the parameters its address stands
    unsigned size;
};

int main(int count, char** arguments) {
    if (count != 3) return 2;
    std::FILE* input = std::fopen(arguments[1], "rb");
    std::FILE* output = std::fopen(arguments[2], "wb");
    if (!input || !output) return 2;
    Header header;
    while (read_all(input, &header, sizeof header)) {
        std::vector<unsigned char> parameters(header.size);
        if (!read_all(input, parameters.data(), header.size)) return 2;
        std::vector<std::pair<unsigned char*, unsigned>> buffers;
        for (unsigned index = 0; index < header.buffers; ++index) {
            Buffer buffer;
            if (!read_all(input, &buffer, sizeof buffer)) return 2;
            unsigned char* memory = static_cast<unsigned char*>(std::malloc(buffer.size));
            if (!read_all(input, memory, buffer.size)) return 2;
            std::memcpy(parameters.data() + buffer.field, &memory, sizeof memory);
            buffers.emplace_back(memory, buffer.size);
        }
        char error[256] = "";
        if (emulated_launch(header.name, header.blocks, header.threads, header.shared, parameters.data(), header.size,
                            static_cast<int>(header.backwards), error, sizeof error)) {
            std::fprintf(stderr, "%s: %s\n", header.name, error);
            return 1;
        }
        unsigned long long figures[8];
        emulated_traffic(figures);
        std::fwrite(figures, 1, sizeof figures, output);
        for (auto& buffer : buffers) {
            std::fwrite(buffer.first, 1, buffer.second, output);
            std::free(buffer.first);
        }
    }
    std::fclose(input);
    std::fclose(output);
    for (emulation::Lane& lane : emulation::run.lanes) std::free(lane.fibre.memory);
    return 0;
}
#endif
