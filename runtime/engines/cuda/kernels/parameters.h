// What the kernels are launched with. runtime/engines/cuda/parameters.py has the same fields in the same order,
// and tests compare the two.
#pragma once

namespace tdfusion {

enum PictureFormat : int { GREY = 0, BGR = 1, NV12 = 2, YUYV = 3 };

// One launch of `edge`: two camera pictures in, one fused picture out. Pitches are bytes from row to row.
struct EdgeParameters {
    const unsigned char* infrared;  // uint8 or uint16 (infrared_height, infrared_width)
    const unsigned char* visible;   // uint8: grey, B G R, Y0 U Y1 V, or the lumas of NV12
    const unsigned char* chroma;    // NV12's pairs U V, one for 2x2 pixels; else null
    const unsigned char* share;     // uint8 (height, width): how much of the fused luma counts at the border of
                                    // infrared's view, 0 where infrared does not see; null where it sees everything
    const unsigned char* weights;   // as weights.py packs them
    const float* thermal;           // gain and offset: level = gain * count + offset; null: counts are levels
    const float* limits;            // fused lumas that are shown as 0 and as 255
    unsigned char* fused;           // grey, B G R, or the lumas of NV12; null: none
    unsigned char* fused_chroma;    // NV12's pairs
    float* luma;                    // float32 (height, width), the fused luma before the stretch; null: none
    unsigned char* aligned;         // uint8 (height, width), the infrared levels that were fused, at a border passing
                                    // into the visible luma; null: none
    unsigned* histogram;            // BINS counts and one more of finished blocks, zero at first; null: no limits measured
    float* measured;                // the limits that this picture alone would have
    float inverse[9];               // homography from visible pixels to infrared ones
    int width, height;              // of the visible picture
    int infrared_width, infrared_height;
    int infrared_pitch, visible_pitch, chroma_pitch, share_pitch;
    int fused_pitch, fused_chroma_pitch;
    int infrared_bytes;             // 1 or 2 a count
    int visible_format, fused_format;
    int warped;                     // 0: infrared has the visible picture's size and pixels, and `inverse` is not used
    int limited_range;              // 1: the lumas of NV12 and YUYV are 16..235, the chromas 16..240
    int sample_step;                // every so many rows and columns a pixel is counted in `histogram`
};

// One launch of `gram`: sums over a picture of one or two streams of features, for the attention of a block of F.
// Features are halves, a pixel's channels side by side; its pixels lie row by row.
struct GramParameters {
    const unsigned char* source;
    const unsigned char* weights;   // as restormer/pack.py packs them, stream by stream
    float* partial;                 // sums of each block
    long long stream_bytes;         // from a stream's features to the next one's
    int width, height, streams;
    int pixel_bytes;                // from pixel to pixel
};

// One launch of `fold`, a block a stream: attention and projection as the one matrix that `apply` takes.
struct FoldParameters {
    const float* partial;
    const float* weights;           // temperatures and projection, stream by stream
    unsigned char* mixing;          // halves, as B fragments
    float share;                    // one over the picture's pixels
    int blocks, streams;            // of `gram`: blocks a stream
};

// One launch of `apply`: a block of F, whose attention is known.
struct ApplyParameters {
    const unsigned char* source;
    const unsigned char* weights;
    const unsigned char* mixing;
    unsigned char* target;
    long long stream_bytes, target_stream_bytes;
    int width, height, streams;
    int pixel_bytes, target_pixel_bytes;
};

// One launch of `stem`: lumas of 8 bits become the first features of both streams.
struct StemParameters {
    const unsigned char* infrared;  // uint8 (height, width)
    const unsigned char* visible;
    const float* weights;           // stream, tap, channel
    unsigned char* target;          // both streams' features, one behind the other
    int width, height;
    int infrared_pitch, visible_pitch;
};

// One launch of `head`: features of 32 channels become the fused luma.
struct HeadParameters {
    const unsigned char* source;
    const unsigned char* weights;
    float* luma;                    // float32 (height, width)
    int width, height;
};

// One launch of `thermal`: how the next infrared picture's counts become levels.
struct ThermalParameters {
    const unsigned char* infrared;  // uint8 or uint16 (height, width)
    float* state;                   // 22 floats (limits, begun, profile) that live from picture to picture, zero at first
    float* thermal;                 // gain and offset, for EdgeParameters::thermal
    const float* elapsed_share;     // share of the way to its target that a limit covers since the last picture
    float least_span;               // narrowest limits, counts
    int width, height, pitch, bytes;
    int sample_step;
    int low_rank, high_rank;        // of the wanted percentiles among the samples in order
    int profile_ranks[19];          // of the percentiles 5, 10, ... 95
};

// One launch of `edge_unit`: the fusion network alone, as a node of a graph that another library runs.
struct UnitParameters {
    const float* infrared;          // float32 (height, width), whole levels of 8 bits divided by 255
    const float* visible;           // likewise
    const unsigned char* weights;   // as weights.py packs them, at a multiple of 16
    float* fused;                   // float32 (height, width)
    int height, width;
};

// One launch of `shrink`: the fused luma, the visible picture's chroma and infrared, at the size that a detector sees.
// Every row and column of what it sees is a sum of `*_taps` neighbouring ones of the picture.
struct ShrinkParameters {
    const float* luma;              // float32 (height, width), the fused luma
    const unsigned char* visible;   // uint8 B G R; null: no colours
    const unsigned char* aligned;   // uint8 (height, width), as `edge` stores it; read where `seen_infrared` is wanted
    const int* row_first;           // of each row that is seen, the first row of the picture that counts
    const float* row_weights;       // and the weights from there on, (seen_height, row_taps)
    const int* column_first;
    const float* column_weights;
    float* seen;                    // float32 (seen_height, seen_width)
    float* seen_chroma;             // float32 (2, seen_height, seen_width), Cr then Cb in [0, 1]; null: none is wanted
    float* seen_infrared;           // float32 (seen_height, seen_width) in [0, 1]; null: none is wanted
    int width, visible_pitch;
    int seen_width, seen_height;
    int row_taps, column_taps;
};

// One launch of `boxes`: what a detector proposes, in pixels of the picture, as far as its score is high enough.
struct BoxesParameters {
    const float* boxes;             // float32 (anchors, 4), x1 y1 x2 y2 in pixels of what the detector saw
    const float* scores;            // float32 (anchors, classes)
    const float* threshold;         // only scores above it count
    unsigned* found;                // FOUND_HEAD words, then FOUND_ROW words a proposal
    float scale_x, scale_y;         // from those pixels to the picture's
    float picture_width, picture_height;
    int anchors, classes;
    int most;                       // proposals that there is room for; of more the best are taken
};

}  // namespace tdfusion
